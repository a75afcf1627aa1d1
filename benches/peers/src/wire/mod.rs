//! Calls from end to end over the loopback, with and without layers around both ends. The client, the server and the
//! system's part of both share the machine's cores, so the time of a processor is that of all three.

mod grpc;
mod http;
mod load;
#[expect(dead_code, reason = "what a generator would make has streams, too")]
#[path = "../../../../examples/grpc/prices.rs"]
mod prices;

use crate::measure::{median, ratio};
use load::{Load, Seen};
use tokio::runtime::{Builder, Runtime};

pub struct Wire {
    pub name: &'static str,
    /// Its row without layers.
    pub plain: Option<usize>,
    load: Load,
    seen: Vec<Seen>,
}

/// What a row shows of its rounds.
pub struct Ends {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub cpu_us: f64,
    /// Times the row without layers, by rounds.
    pub cpu_ratio: Option<f64>,
}

impl Wire {
    fn new(name: &'static str, plain: Option<usize>, load: Load) -> Wire {
        Wire { name, plain, load, seen: Vec::new() }
    }

    fn each(&self, of: fn(&Seen) -> f64) -> Vec<f64> {
        self.seen.iter().map(of).collect()
    }

    fn ends(&self, all: &[Wire]) -> Ends {
        let middle = |of| median(self.each(of).into_iter());
        let cpu = |wire: &Wire| wire.each(|seen| seen.cpu_us);
        Ends {
            per_second: middle(|seen| seen.per_second),
            p50_us: middle(|seen| seen.p50_us),
            p99_us: middle(|seen| seen.p99_us),
            cpu_us: middle(|seen| seen.cpu_us),
            cpu_ratio: self.plain.map(|plain| ratio(&cpu(self), &cpu(&all[plain]))),
        }
    }
}

/// A runtime for both ends, as a service has one for what it serves and what it calls.
fn runtime() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The rows of both protocols, each measured once a round.
pub fn measure(rounds: usize) -> Vec<(&'static str, Ends)> {
    let runtime = runtime();
    let mut rows = runtime.block_on(async {
        vec![
            Wire::new("axum and hyper, no layers", None, http::plain().await),
            Wire::new("a breaker for each route, `SafetyNet::http` at the client", Some(0), http::layered().await),
            Wire::new("tonic, no layers", None, grpc::plain().await),
            Wire::new("a breaker at the server, `SafetyNet::grpc` at the client", Some(2), grpc::layered().await),
        ]
    });
    for wire in &rows {
        runtime.block_on((wire.load)());
    }
    for round in 1..=rounds {
        eprintln!("loopback: round {round} of {rounds}");
        for wire in &mut rows {
            wire.seen.push(runtime.block_on((wire.load)()));
        }
    }
    rows.iter().map(|wire| (wire.name, wire.ends(&rows))).collect()
}
