//! What the crate promises itself. Times are reported here, never asserted: a busy machine must not fail a build. What a
//! build may fail of has its figures in `budgets.toml`.

use crate::results::Results;
use crate::rows::Column::{
    self, Closed, Cycle, Eight, FirstTry, Keyed, Open, Stacked, Tenth, Two, TwoRetries, TwoWaits,
};
use crate::rows::{OURS, floor};
use crate::table::Table;

const HONEST: &str = "fusebox-honest";
const RECLOSER: &str = "recloser";
const TOWER_RESILIENCE: &str = "tower-resilience";
const RETRY: &str = "fusebox-retry";
const STACK: &str = "fusebox-both";
const TOWER_RETRY: &str = "tower-retry";
const BACKON: &str = "backon";
const BACKON_RECLOSER: &str = "backon-recloser";
const PEERS: [&str; 3] = [RECLOSER, "failsafe", TOWER_RESILIENCE];

enum Allowed {
    AtMost(f64),
    AtLeast(f64),
    Within(f64, f64),
}
use Allowed::{AtLeast, AtMost, Within};

impl Allowed {
    fn holds(&self, measured: f64) -> bool {
        match *self {
            AtMost(limit) => measured <= limit,
            AtLeast(limit) => measured >= limit,
            Within(low, high) => (low..=high).contains(&measured),
        }
    }

    fn show(&self) -> String {
        match *self {
            AtMost(limit) => format!("<= {limit}"),
            AtLeast(limit) => format!(">= {limit}"),
            Within(low, high) => format!("{low} to {high}"),
        }
    }
}

/// The budget for memory excludes the name, which every map of breakers has to hold.
pub fn beyond_the_name(results: &Results, id: &str) -> Option<f64> {
    Some(results.bytes(id, 0)? - results.bytes("names", 0)?)
}

fn timings(r: &Results) -> Vec<(&'static str, Option<f64>, Allowed)> {
    let ours = |to: &str, column: Column| r.ratio(OURS, to, column);
    let fastest = |column: Column| ours(r.fastest(&PEERS, column)?, column);
    vec![
        ("closed, success / the fastest peer", fastest(Closed), AtMost(1.0)),
        ("10 % failures / the fastest peer", fastest(Tenth), AtMost(0.9)),
        ("rejection / the fastest peer", fastest(Open), AtMost(1.0)),
        ("trip + probe + close / the fastest peer", fastest(Cycle), AtMost(0.9)),
        ("two threads / the fastest peer", fastest(Two), AtMost(1.0)),
        ("eight threads / the fastest peer", fastest(Eight), AtMost(1.0)),
        ("1,000 keyed / the fastest peer", fastest(Keyed), AtMost(1.0)),
        ("retry, two without delay / backon", r.ratio(RETRY, BACKON, TwoRetries), AtMost(1.0)),
        ("breaker inside retry / backon over recloser", r.ratio(STACK, BACKON_RECLOSER, Stacked), AtMost(0.9)),
        ("honest set-up beyond its two looks at the clock, ns", r.beyond(HONEST, floor::CLOCK, Closed), AtMost(60.0)),
        ("closed, success / recloser", ours(RECLOSER, Closed), AtMost(0.3)),
        ("the same, stretch", ours(RECLOSER, Closed), AtMost(0.2)),
        ("closed, success / tower-resilience", ours(TOWER_RESILIENCE, Closed), AtMost(0.04)),
        ("the same, stretch", ours(TOWER_RESILIENCE, Closed), AtMost(0.025)),
        ("two threads, one breaker: throughput of 2 / 1", r.scaling(OURS), AtLeast(1.8)),
        ("10 % failures / recloser", ours(RECLOSER, Tenth), AtMost(0.6)),
        ("rejection / recloser", ours(RECLOSER, Open), AtMost(0.3)),
        ("trip + probe + close / recloser", ours(RECLOSER, Cycle), AtMost(0.8)),
        ("60 s window: 100,000 calls in it / 100", r.grown(OURS, 100_000, 100), Within(0.9, 1.1)),
        ("honest set-up / last 100, one breaker each", r.ratio(HONEST, OURS, Closed), AtMost(3.0)),
        ("honest set-up / last 100, both 1,000 keyed", r.ratio(HONEST, OURS, Keyed), AtMost(3.0)),
        ("retry, first try ok / tower::retry", r.ratio(RETRY, TOWER_RETRY, FirstTry), AtMost(1.5)),
        ("the same / tower-resilience-retry", r.ratio(RETRY, "tower-resilience-retry", FirstTry), AtMost(0.15)),
        ("two retries with waits / tower::retry and `Sleep`", r.ratio(RETRY, TOWER_RETRY, TwoWaits), AtMost(1.1)),
        (
            "the same, for processors with dear locked instructions",
            r.ratio(STACK, BACKON_RECLOSER, Stacked),
            AtMost(0.3),
        ),
        (
            "breaker inside retry / tower-resilience's pair",
            r.ratio(STACK, "tower-resilience-both", Stacked),
            AtMost(0.04),
        ),
    ]
}

fn counts(r: &Results) -> Vec<(&'static str, Option<f64>, Allowed)> {
    let instructions = |id| r.counted(id).and_then(|counted| counted.instructions);
    let retry_instructions = |id| r.instructions(id, FirstTry);
    let locked = |id| r.counted(id).and_then(|counted| counted.locked);
    vec![
        ("heap allocations, closed", r.allocations(OURS, Closed), AtMost(0.0)),
        ("instructions, closed", instructions("fusebox/closed"), AtMost(100.0)),
        ("instructions, rejected", instructions("fusebox/open"), AtMost(110.0)),
        ("locked instructions, closed", locked("fusebox/closed"), AtMost(0.0)),
        ("locked instructions, rejected", locked("fusebox/open"), AtMost(0.0)),
        ("bytes beyond the name, last 100", beyond_the_name(r, "fusebox"), AtMost(256.0)),
        ("bytes beyond the name, 60 s", beyond_the_name(r, "fusebox-60s"), AtMost(512.0)),
        ("the same, one of 1,000,000 (last 100)", beyond_the_name(r, "fusebox-million"), AtMost(256.0)),
        ("heap allocations, retry, first try ok", r.allocations(RETRY, FirstTry), AtMost(0.0)),
        ("heap allocations, breaker inside retry", r.allocations(STACK, Stacked), AtMost(0.0)),
        (
            "instructions, retry, first try ok / tower::retry",
            retry_instructions(RETRY).zip(retry_instructions(TOWER_RETRY)).map(|(ours, theirs)| ours / theirs),
            AtMost(2.0),
        ),
        // That column runs outside a runtime, where Tokio's timer panics: had there been one, there
        // would be no time.
        ("timers in two retries without delay", r.ns(RETRY, TwoRetries).map(|_| 0.0), AtMost(0.0)),
    ]
}

pub fn table(results: &Results) -> String {
    let mut table = Table::new("", ["measured", "allowed", ""]);
    for (what, measured, allowed) in timings(results).into_iter().chain(counts(results)) {
        let (measured, verdict) = match measured {
            Some(x) if allowed.holds(x) => (format!("{}", (x * 1_000.0).round() / 1_000.0), "ok"),
            Some(x) => (format!("{}", (x * 1_000.0).round() / 1_000.0), "**over**"),
            None => ("not measured".into(), ""),
        };
        table.row(what, [measured, allowed.show(), verdict.into()]);
    }
    format!("## Goals\n\n{table}")
}
