//! The thread that looks after engines: it starts those that could not be started or have ended, and lets nothing wait
//! for one that does not run.

use std::sync::{Mutex, Weak};
use std::time::Duration;

use crate::clock::sleep_blocking;
use crate::guard::guarded;
use crate::sync::unpoisoned;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The engines of this process, and the process that the thread runs in, if it does.
static WATCHED: Mutex<Watched> = Mutex::new(Watched { engines: Vec::new(), process: None });

struct Watched {
    engines: Vec<Weak<dyn Ward>>,
    process: Option<u32>,
}

/// What is looked after.
pub(super) trait Ward: Send + Sync {
    /// Starts what should run, and ends what waits for what does not.
    fn look_after(&self);
}

/// Looks after an engine from now on, for as long as there is one.
pub(super) fn look_after(engine: Weak<dyn Ward>) {
    let mut watched = unpoisoned(WATCHED.lock());
    watched.engines.retain(|engine| engine.strong_count() > 0);
    if !watched.engines.iter().any(|known| std::ptr::addr_eq(known.as_ptr(), engine.as_ptr())) {
        watched.engines.push(engine);
    }
    let here = std::process::id();
    if watched.process != Some(here) {
        // Where no thread can be had, it is tried again with the next breaker.
        let spawned = std::thread::Builder::new().name("fusebox-watch".to_owned()).spawn(watch);
        watched.process = spawned.is_ok().then_some(here);
    }
}

fn watch() {
    loop {
        sleep_blocking(INTERVAL);
        let engines: Vec<_> = {
            let mut watched = unpoisoned(WATCHED.lock());
            watched.engines.retain(|engine| engine.strong_count() > 0);
            if watched.engines.is_empty() {
                watched.process = None;
                return;
            }
            watched.engines.iter().filter_map(Weak::upgrade).collect()
        };
        for engine in engines {
            guarded(|| engine.look_after());
            // With the last reference to it goes a store, which may be a user's.
            guarded(|| drop(engine));
        }
    }
}
