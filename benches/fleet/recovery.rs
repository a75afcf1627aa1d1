//! How many calls it takes to close a circuit where they come far apart, on a real server and in real time.

use std::thread::sleep;
use std::time::Duration;

use fusebox::{CircuitBreakerConfigBuilder, Probes, State};
use tokio::runtime::Runtime;

use super::Connect;
use super::measure::Instances;
use super::report::Report;

const COOLDOWN: Duration = Duration::from_secs(1);

/// Instances whose calls take turns close within three calls of each for each probe that is asked for.
pub(crate) fn recovery(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    for gap in [300, 1_100, 5_000].map(Duration::from_millis) {
        for (count, needed) in [(1_u32, 1_u32), (2, 1), (2, 3)] {
            let name = format!("recovery {gap:?} {count} {needed}");
            let settings =
                |config: CircuitBreakerConfigBuilder| config.cooldown(COOLDOWN).probes(Probes::consecutive(needed));
            let instances = Instances::start(runtime, connect, (&name, count as usize, true), settings);
            // All have calls, before the circuit opens.
            instances.breakers.iter().for_each(|breaker| breaker.acquire().expect("closed").success());
            instances.breakers[0].trip().expect("no override stands");
            instances.until_all(State::Open, Duration::from_secs(10));
            sleep(COOLDOWN);
            let most = 3 * count * needed;
            let mut calls = 0;
            for breaker in instances.breakers.iter().cycle() {
                sleep(gap);
                if calls > most || instances.breakers.iter().all(|breaker| breaker.state() == State::Closed) {
                    break;
                }
                calls += 1;
                if let Ok(permit) = breaker.acquire() {
                    permit.success();
                }
            }
            let what = format!("calls to close {count} instances, {needed} probes, {gap:?} apart");
            report.most(&what, f64::from(calls), f64::from(most));
        }
    }
}
