//! Bytes per breaker. Each case runs in a process of its own: a breaker whose memory was recycled
//! from an earlier row would look free.

use crate::alloc::count;
use crate::caller::{ByHost, Caller, Req, hosts};
use std::time::Instant;

#[derive(Clone, Copy)]
pub struct Cost {
    pub bytes: f64,
    pub ns: f64,
}

pub struct Memory {
    pub id: &'static str,
    pub name: &'static str,
    /// Calls made through every breaker before its bytes are counted.
    pub calls: &'static [u64],
    /// Has an entry in a map.
    pub keyed: bool,
    measure: Box<dyn Fn(u64) -> Cost>,
}

impl Memory {
    pub fn keyed<C: Caller>(id: &'static str, name: &'static str, build: impl Fn(&[&str]) -> C + 'static) -> Memory {
        let measure = Box::new(move |calls| {
            cost(&hosts(10_000), |hosts| {
                let mut caller = build(hosts);
                for host in 0..hosts.len() {
                    for i in 1..=calls {
                        let req = if i % 10 == 0 { Req::failing(i) } else { Req::ok(i) };
                        caller.call(req.to(host));
                    }
                }
                caller
            })
        });
        Memory { id, name, calls: &[0, 200], measure, keyed: true }
    }

    pub fn by_host<C: Caller + Sync>(id: &'static str, name: &'static str, build: impl Fn() -> C + 'static) -> Memory {
        Memory::keyed(id, name, move |hosts| ByHost::new(hosts, &build))
    }

    /// Breakers that have no name in a map, each with its handle.
    pub fn alone<T>(id: &'static str, name: &'static str, build: impl Fn() -> T + 'static) -> Memory {
        let measure =
            Box::new(move |_| cost(&hosts(10_000), |hosts| hosts.iter().map(|_| build()).collect::<Vec<_>>()));
        Memory { id, name, calls: &[0], measure, keyed: false }
    }

    /// Breakers that `build` makes of their names, all of them at once.
    #[cfg(feature = "parts")]
    pub fn named<T>(id: &'static str, name: &'static str, build: impl Fn(&[&str]) -> T + 'static) -> Memory {
        let measure = Box::new(move |_| cost(&hosts(10_000), &build));
        Memory { id, name, calls: &[0], measure, keyed: false }
    }

    #[cfg_attr(not(feature = "ours"), allow(dead_code))]
    pub fn million<T>(id: &'static str, name: &'static str, build: impl Fn(&[&str]) -> T + 'static) -> Memory {
        let measure = Box::new(move |_| {
            let names: Vec<String> = (0..1_000_000).map(|k| format!("tenant-{k:06}.example.com")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            cost(&names, &build)
        });
        Memory { id, name, calls: &[0], measure, keyed: true }
    }

    pub fn print(&self, calls: u64) {
        let cost = (self.measure)(calls);
        println!("{} {}", cost.bytes, cost.ns);
    }

    pub fn in_own_process(&self, calls: u64) -> Option<Cost> {
        let output = std::process::Command::new(std::env::current_exe().ok()?)
            .args(["--memory", self.id, &calls.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse);
        Some(Cost { bytes: numbers.next()?.ok()?, ns: numbers.next()?.ok()? })
    }
}

fn cost<T>(names: &[&str], build: impl Fn(&[&str]) -> T) -> Cost {
    let start = Instant::now();
    let (_, bytes, kept) = count(|| build(names));
    let spent = start.elapsed();
    drop(kept);
    let each = names.len() as f64;
    Cost { bytes: bytes as f64 / each, ns: spent.as_nanos() as f64 / each }
}
