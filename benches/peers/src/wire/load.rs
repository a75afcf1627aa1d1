//! Callers that call again as soon as they are answered.

use rustix::time::{ClockId, clock_gettime};
use std::pin::Pin;
use std::time::{Duration, Instant};

pub trait Client: Clone + Send + Sync + 'static {
    /// `false`: the call did not go well.
    fn call(&mut self) -> impl Future<Output = bool> + Send;
}

/// One burst of calls, as often as it is asked for.
pub type Load = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Seen>>>>;

pub struct Seen {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Of all cores, for one request.
    pub cpu_us: f64,
}

const CALLERS: usize = 16;
const LASTS: Duration = Duration::from_millis(400);

/// What this process has had of all cores.
fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

async fn calls<C: Client>(mut client: C, until: Instant) -> Vec<Duration> {
    let mut took = Vec::with_capacity(1 << 16);
    let mut now = Instant::now();
    while now < until {
        assert!(client.call().await, "calls over the loopback go well");
        let then = std::mem::replace(&mut now, Instant::now());
        took.push(now - then);
    }
    took
}

async fn burst<C: Client>(client: C) -> Seen {
    let (start, cpu_before) = (Instant::now(), cpu());
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(calls(client.clone(), start + LASTS))).collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.unwrap());
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu() - cpu_before);
    took.sort_unstable();
    let (count, us) = (took.len() as f64, |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e6);
    Seen { per_second: count / wall, p50_us: us(50), p99_us: us(99), cpu_us: cpu.as_secs_f64() * 1e6 / count }
}

pub fn load<C: Client>(client: C) -> Load {
    Box::new(move || Box::pin(burst(client.clone())))
}
