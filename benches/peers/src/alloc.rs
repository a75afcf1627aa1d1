//! A counting allocator: allocations per call and live bytes per breaker.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

pub struct Counting;

// Off while times are taken, so that a peer that allocates does not also pay for being counted.
static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

fn note(allocations: u64, bytes: i64) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        LIVE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call is forwarded unchanged to `System`, which keeps the contract.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size as i64 - layout.size() as i64);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// What `f` allocated (times) and left allocated (bytes); its value is returned to stay alive.
pub fn count<T>(f: impl FnOnce() -> T) -> (u64, i64, T) {
    let (times, live) = (ALLOCATIONS.load(Relaxed), LIVE.load(Relaxed));
    ON.store(true, Relaxed);
    let value = f();
    ON.store(false, Relaxed);
    (ALLOCATIONS.load(Relaxed) - times, LIVE.load(Relaxed) - live, value)
}
