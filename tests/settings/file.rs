//! One whole file of named templates.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use fusebox::circuit_breaker::OverrideKind;
use fusebox::settings::Settings;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, ManualClock, Registry, State};
use tower::{Layer, Service, ServiceExt};

use super::{read, refusal};

/// The format as it is documented.
const WHOLE: &str = r#"
[defaults]
cooldown = "30s"

[breakers.payments]
detector = { type = "failure_rate", rate = 0.5, of_last = 100, min_calls = 20 }

[registries.hosts]
max = 10_000
idle = "1h"
cooldown = { min = "5s", max = "5m" }
[registries.hosts.keys."slow.example"]
detector = { type = "slow_call_rate", rate = 0.8, slower_than = "5s", within = "1m" }

[retries.outbound]
max_retries = 2
backoff = { type = "exponential", min = "100ms", max = "2s", factor = 2.0, jitter = "full" }
deadline = "10s"
attempt_timeout = "2s"
budget = "outbound"
when_rejected = "return"

[retries.reads]
budget = "outbound"

[budgets.outbound]
type = "ratio"
ratio = 0.2
reserve_per_second = 10
"#;

#[test]
fn a_field_given_nearer_wins_whole() {
    let clock = ManualClock::new();
    let of = clock.clone();
    let settings = read::<Settings>(
        "[defaults]\ncooldown = '1s'\ndetector = { type = 'consecutive_failures', count = 1 }\nprobes = { needed = 2, concurrent = 2 }
         [breakers.a]\n[breakers.b]\ncooldown = '2s'
         [registries.r]\ncooldown = '3s'\nprobes = { needed = 3 }
         [registries.r.keys.k]\ncooldown = '4s'",
    )
    .each(move |breaker| breaker.clock(of.clone()));
    let registry = settings.registry("r").expect("it is there");
    let config = |name: &str| CircuitBreaker::new(settings.breaker(name).expect("it is there"));
    let key = |name: &str| registry.breaker(name).expect("the template works");
    // Tables are not merged: `concurrent` of the defaults is not the registry's.
    for (breaker, cooldown, concurrent) in
        [(config("a"), 1, 2), (config("b"), 2, 2), (key("other"), 3, 1), (key("k"), 4, 1)]
    {
        breaker.acquire().expect("closed").failure();
        assert_eq!(breaker.state(), State::Open, "{}: the detector of the defaults", breaker.name());
        assert_eq!(breaker.retry_after(), Some(Duration::from_secs(cooldown)), "{}", breaker.name());
        clock.advance(Duration::from_secs(cooldown));
        let probes: Vec<_> = std::iter::from_fn(|| breaker.acquire().ok()).collect();
        assert_eq!(probes.len(), concurrent, "{}", breaker.name());
    }
}

#[test]
fn the_documented_file_is_read() {
    let settings: Settings = read(WHOLE);
    assert_eq!(settings.breakers().collect::<Vec<_>>(), ["payments"]);
    assert_eq!(settings.registries().collect::<Vec<_>>(), ["hosts"]);
    assert_eq!(settings.retries().collect::<Vec<_>>(), ["outbound", "reads"]);
    assert_eq!(settings.budgets().collect::<Vec<_>>(), ["outbound"]);
    let payments = settings.breaker("payments").expect("it is there");
    assert_eq!(payments.name(), "payments");
    let hosts = settings.registry("hosts").expect("it is there");
    assert_eq!(&*hosts.name(), "hosts");
    let slow = hosts.breaker("slow.example").expect("the template works");
    assert_eq!(slow.snapshot().detectors[0].rule, "slow_call_rate(0.8).slower_than(5s).within(60s).min_calls(5)");
    let other = hosts.breaker("other.example").expect("the template works");
    assert_eq!(other.snapshot().detectors[0].rule, "failures(5).within(60s)");
    assert_eq!(hosts.breaker("").expect_err("no name").field(), "name");
}

/// A registry as a service has it: what all breakers begin with, the template of its hosts, and hosts that need otherwise.
const HOSTS: &str = r#"
[defaults]
cooldown = "30s"
probes = { needed = 2, concurrent = 2 }

[registries.hosts]
max = 5
detector = { type = "failure_rate", rate = "50%", of_last = 10, min_calls = 4 }

[registries.hosts.keys."slow.example"]          # opens sooner, and longer each time
detector = { type = "consecutive_failures", count = 2 }
cooldown = { min = "1m", max = "4m", jitter = 0 }
probes = { needed = 1 }

[registries.hosts.keys."legacy.example"]        # lets every call through
enabled = false

[registries.hosts.keys."moving.example"]        # open while it moves
override = { kind = "forced_open", reason = "it moves", expires_after = "10m" }
"#;

/// Answers where the request says so.
#[derive(Clone)]
struct Host;

impl Service<(&'static str, bool)> for Host {
    type Response = ();
    type Error = io::Error;
    type Future = Ready<io::Result<()>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (_, answers): (&'static str, bool)) -> Self::Future {
        ready(if answers { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) })
    }
}

/// What calls of hosts come to, behind the layer that a service would have.
async fn calls(hosts: &Registry, name: &'static str, answers: &[bool]) -> String {
    let client =
        CircuitBreakerLayer::keyed(hosts.clone(), |request: &(&'static str, bool)| Some(request.0)).layer(Host);
    let mut seen = String::new();
    for answer in answers {
        seen.push(match client.clone().oneshot((name, *answer)).await {
            Ok(()) => 'S',
            Err(error) if error.is::<io::Error>() => 'F',
            Err(_) => 'R',
        });
    }
    seen
}

#[tokio::test]
async fn c69_breakers_of_a_registry_behave_as_the_templates_in_a_file_say() {
    let path = std::env::temp_dir().join(format!("fusebox-hosts-{}.toml", std::process::id()));
    std::fs::write(&path, HOSTS).expect("written");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::remove_file(&path).expect("removed");
    let (clock, s) = (ManualClock::new(), Duration::from_secs);
    let of = clock.clone();
    let hosts = read::<Settings>(&text).each(move |breaker| breaker.clock(of.clone())).registry("hosts");
    let hosts = hosts.expect("it is in the file");
    let breaker = |name: &str| hosts.breaker(name).expect("the template works");

    // The template: half of at least four calls, each host for itself.
    assert_eq!(calls(&hosts, "a.example", &[true, false, false, true]).await, "SFFS", "the good one opens nothing");
    assert_eq!(calls(&hosts, "a.example", &[false, true]).await, "FR", "three of five");
    assert_eq!(calls(&hosts, "b.example", &[false, false, false, true]).await, "FFFS", "three calls are too few");
    assert_eq!((breaker("a.example").state(), breaker("b.example").state()), (State::Open, State::Closed));
    // The defaults: 30 s, and two probes at once that must both succeed.
    clock.advance(s(30).checked_sub(Duration::from_nanos(1)).expect("more than none"));
    assert_eq!(calls(&hosts, "a.example", &[true]).await, "R");
    clock.advance(Duration::from_nanos(1));
    let probes: Vec<_> = std::iter::from_fn(|| breaker("a.example").acquire().ok()).collect();
    assert_eq!(probes.len(), 2);
    for probe in probes {
        assert_eq!(breaker("a.example").state(), State::HalfOpen);
        probe.success();
    }
    assert_eq!(breaker("a.example").state(), State::Closed);

    // One host otherwise: two in a row, one probe, a minute, then two.
    assert_eq!(calls(&hosts, "slow.example", &[false, true, false, false, true]).await, "FSFFR");
    for minutes in [1, 2, 4, 4] {
        assert_eq!(breaker("slow.example").retry_after(), Some(s(60 * minutes)));
        clock.advance(s(60 * minutes));
        let probes: Vec<_> = std::iter::from_fn(|| breaker("slow.example").acquire().ok()).collect();
        assert_eq!(probes.len(), 1, "not those of the defaults");
        probes.into_iter().for_each(|probe| probe.failure());
    }

    // Held by the file: one lets all through, one none until that is over.
    assert_eq!(calls(&hosts, "legacy.example", &[false; 20]).await, "F".repeat(20));
    assert_eq!(calls(&hosts, "moving.example", &[true]).await, "R");
    let held = |name: &str| breaker(name).snapshot().overridden.map(|standing| standing.kind());
    assert_eq!(held("legacy.example"), Some(OverrideKind::Disabled));
    assert_eq!(held("moving.example"), Some(OverrideKind::ForcedOpen));
    clock.advance(s(600));
    assert_eq!(calls(&hosts, "moving.example", &[true, false, false, false, true]).await, "SFFFR", "the template's");
    assert_eq!(held("a.example"), None);

    // Each has the name of its key, and there are no more than the file allows.
    let mut names: Vec<_> = hosts.iter().map(|breaker| breaker.name().to_string()).collect();
    names.sort();
    assert_eq!(names, ["a.example", "b.example", "legacy.example", "moving.example", "slow.example"]);
    assert_eq!((&*hosts.name(), hosts.overflowed()), ("hosts", 0));
    assert_eq!(calls(&hosts, "c.example", &[true]).await, "S");
    assert_eq!((hosts.len(), hosts.overflowed()), (5, 1));
}

/// With the feature the registry's clock is Tokio's.
#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_registry_forgets_after_the_time_that_the_file_says() {
    let settings: Settings = read("[registries.hosts]\nmax = 1\nidle = '10s'");
    let hosts = settings.registry("hosts").expect("it is there");
    for (seconds, name, overflowed) in [(0, "a", 0), (8, "b", 1), (3, "c", 1)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let breaker = hosts.breaker(name).expect("the template works");
        assert_eq!((&*breaker.name() == name, hosts.overflowed()), (name != "b", overflowed), "{}", breaker.name());
    }
}

#[test]
fn every_breaker_registry_key_and_retry_is_explained_below_its_path() {
    let settings: Settings = read(WHOLE);
    let explained = settings.explain().expect("all can be built");
    let mut expected = Vec::new();
    let mut below = |path: &str, explained: &dyn std::fmt::Display| {
        expected.push(path.to_owned());
        expected.extend(explained.to_string().lines().map(|line| format!("  {line}")));
    };
    below("breakers.payments", &settings.breaker("payments").expect("it is there").explain());
    let template = "cooldown = { min = '5s', max = '5m' }";
    let slow = "detector = { type = 'slow_call_rate', rate = 0.8, slower_than = '5s', within = '1m' }";
    below("registries.hosts", &read::<CircuitBreakerConfig>(template).explain());
    below(
        "registries.hosts.keys.\"slow.example\"",
        &read::<CircuitBreakerConfig>(&format!("{template}\n{slow}")).explain(),
    );
    for name in ["outbound", "reads"] {
        below(&format!("retries.{name}"), &settings.retry(name).expect("it is there").explain());
    }
    assert_eq!(explained.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn retries_that_name_one_budget_share_it() {
    let settings: Settings = read(WHOLE);
    let budget = settings.budget("outbound").expect("it is there");
    (0..10).for_each(|_| budget.request());
    let reads = settings.retry("reads").expect("it is there");
    assert!(budget.withdraw());
    let shown = format!("{reads:?}");
    assert!(shown.contains(&format!("{} available", budget.available())), "{shown} of {budget:?}");
    assert_eq!(budget.available(), 101, "ten seconds' reserve, and two of ten requests, less one");
}

#[test]
fn a_name_that_the_file_lacks_is_told_with_those_it_has() {
    let settings: Settings = read(WHOLE);
    assert_eq!(
        settings.breaker("payment").expect_err("there is none").to_string(),
        "`breakers` is \"payment\", allowed is \"payments\"; did you mean `payments`?"
    );
    assert_eq!(
        settings.retry("outbond").expect_err("there is none").to_string(),
        "`retries` is \"outbond\", allowed is \"outbound\" or \"reads\"; did you mean `outbound`?"
    );
    assert_eq!(
        read::<Settings>("").registry("hosts").expect_err("there is none").to_string(),
        "`registries` is \"hosts\", allowed is none"
    );
}

#[test]
fn what_a_file_cannot_say_is_added_to_each_breaker() {
    let clock = ManualClock::new();
    let (told, hear) = std::sync::mpsc::channel();
    let of = clock.clone();
    let settings = read::<Settings>(WHOLE).each(move |breaker| {
        let told = told.clone();
        breaker.clock(of.clone()).on_state_change(move |breaker, _, to| told.send((breaker.name(), to)).expect("heard"))
    });
    let payments = CircuitBreaker::new(settings.breaker("payments").expect("it is there"));
    let slow = settings.registry("hosts").and_then(|hosts| hosts.breaker("slow.example")).expect("it is there");
    payments.trip().expect("no override");
    slow.trip().expect("no override");
    clock.advance(Duration::from_secs(29));
    assert_eq!(payments.retry_after(), Some(Duration::from_secs(1)));
    let heard: Vec<_> = hear.try_iter().map(|(name, to)| (name.to_string(), to)).collect();
    assert_eq!(heard, [("payments".to_owned(), State::Open), ("slow.example".to_owned(), State::Open)]);
}

#[test]
fn mistakes_are_told_by_their_path_from_the_top() {
    let long = "k".repeat(300);
    for (text, message) in [
        (
            "[registries.hosts.keys.\"slow.example\"]\ndetector = { all = [{ type = 'failures', count = 1, of_last = 2 }, { any = [{ type = 'failure_rate', rate = 0.0, of_last = 5 }] }] }",
            "`registries.hosts.keys.\"slow.example\".detector.all[1].any[0].rate` is 0.0, allowed is a number above 0",
        ),
        ("[breaker.payments]", "`breaker` is unknown; did you mean `breakers`? a file of settings has `defaults`, "),
        ("[breakers.payments]\nname = 'x'", "`breakers.payments.name` is unknown: a breaker has `detector`, "),
        ("[breakers.'']", "`breakers.\"\"` is an empty name"),
        ("[breakers.a]\nmax = 3", "`breakers.a.max` is unknown"),
        ("[registries.a.keys.b]\nmax = 3", "`registries.a.keys.b.max` is unknown"),
        ("[defaults]\nidle = '1h'", "`defaults.idle` is unknown"),
        ("breakers = 3", "`breakers` is 3, allowed is a table of breakers by name"),
        ("[breakers]\npayments = 'x'", "`breakers.payments` is \"x\", allowed is a table of "),
        (
            "[retries.a]\nbudget = 'sharde'\n[budgets.shared]\ntype = 'ratio'\nratio = 1",
            "`retries.a.budget` is \"sharde\", allowed is the name of one of `budgets` (\"shared\"), or a table; did you mean `shared`?",
        ),
        (
            &format!("[breakers.{long}]"),
            "`breakers.kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk` is a name of 300 bytes, allowed are 255",
        ),
    ] {
        let told = refusal::<Settings>(text);
        assert!(told.starts_with(message), "{text}\nsays {told}\nnot  {message}");
    }
}

#[test]
fn the_format_says_where_beside_the_path() {
    let text = "[retries.a]\nmax_retries = 2\nbackoff = { min = \"1s\",\n  max = \"2 s econds\" }";
    let error = toml::from_str::<Settings>(text).expect_err("no duration").to_string();
    assert!(
        error.contains("line 4, column 9") && error.contains("`retries.a.backoff.max` is \"2 s econds\""),
        "{error}"
    );
    let text = "{\n  \"breakers\": {\n    \"a\": { \"cooldown\": \"1s\",\n      \"probs\": {} }\n  }\n}";
    let error = serde_json::from_str::<Settings>(text).expect_err("no field").to_string();
    assert!(
        error.contains("`breakers.a.probs` is unknown; did you mean `probes`?")
            && error.contains("at line 4 column 13"),
        "{error}"
    );
    let text = "{\n  \"breakers\": {\n    \"a\": {},\n    \"a\": {}\n  }\n}";
    let error = serde_json::from_str::<Settings>(text).expect_err("twice").to_string();
    assert!(error.contains("`breakers.a` is given twice") && error.contains("at line 4 column 7"), "{error}");
    let error = serde_json::from_str::<Settings>("{\"defaults\":{\"cooldown\":\"1s\",\"cooldown\":\"2s\"}}")
        .expect_err("twice");
    assert!(error.to_string().contains("`defaults.cooldown` is given twice"), "{error}");
}

/// The section may stand before the name or behind it: a reader is told the line of whichever is read last. Where there is none,
/// only the end of the file shows that.
#[test]
fn a_name_that_stands_for_nothing_has_a_line() {
    let before = "[budgets.shared]\ntype = 'ratio'\nratio = 1\n\n[retries.a]\nmax_retries = 2\nbudget = 'sharde'";
    let told = toml::from_str::<Settings>(before).expect_err("a typo").to_string();
    assert!(told.contains("line 7, column 10") && told.contains("did you mean `shared`?"), "{told}");

    let budgets = "\"budgets\": {\n\"shared\": { \"type\": \"ratio\", \"ratio\": 1 }\n}";
    let retries = "\"retries\": {\n\"a\": { \"budget\":\n\"sharde\" }\n}";
    for (text, place) in [
        (format!("{{\n{budgets},\n{retries}\n}}\n\n"), "at line 7 column 8"),
        (format!("{{\n{retries},\n{budgets}\n}}\n\n"), "at line 8 column 1"),
        (format!("{{\n{retries}\n}}\n\n"), "`budgets` (none), or a table"),
    ] {
        let told = serde_json::from_str::<Settings>(&text).expect_err("a typo").to_string();
        assert!(told.starts_with("`retries.a.budget` is \"sharde\", allowed is the name of"), "{text}\n{told}");
        assert!(told.ends_with(place), "{text}\n{told}");
    }
}

#[cfg(feature = "fleet")]
#[test]
fn the_name_of_a_fleet_that_is_not_there_has_a_line() {
    for (fields, path) in [
        ("[registries.r]\nmax = 3\nfleet = 'our'", "registries.r.fleet"),
        ("[registries.r.keys.k]\n\nfleet = 'our'", "registries.r.keys.k.fleet"),
    ] {
        let text = format!("[fleets.ours]\nvotes = 2\n{fields}");
        let told = toml::from_str::<Settings>(&text).expect_err("a typo").to_string();
        assert!(told.contains("line 5, column 9") && told.contains(&format!("`{path}` is \"our\"")), "{text}\n{told}");
    }
    for fields in ["[defaults]\nfleet = 'our'", "[breakers.a]\nfleet = 'our'"] {
        let text = format!("{fields}\n\n[fleets]\nours = {{ votes = 2 }}");
        let told = toml::from_str::<Settings>(&text).expect_err("a typo").to_string();
        assert!(told.contains("line 4, column 1") && told.contains("did you mean `ours`?"), "{text}\n{told}");
    }
    let text = "{ \"fleets\": {},\n\"breakers\": { \"a\": { \"fleet\": \"our\" } } }";
    let told = serde_json::from_str::<Settings>(text).expect_err("no such fleet").to_string();
    assert!(told.contains("allowed is the name of one of `fleets` (\"pooled\")") && told.contains("line 2"), "{told}");
}

#[cfg(feature = "fleet")]
#[test]
fn fleets_have_names_and_take_a_store() {
    use std::sync::Arc;

    use fusebox::fleet::{Fleet, WhenDown};
    use fusebox::store::MemoryStore;

    let text = "[defaults]\nfleet = 'pooled'\n[breakers.a]\n[breakers.b]\nfleet = 'ours'\n[registries.r]\nfleet = { votes = 2 }
         [registries.r.keys.k]\nfleet = 'ours'
         [fleets.ours]\nmode = 'pooled'\nwhen_down = 'reject'";
    let settings: Settings = read(text);
    assert_eq!(settings.fleets().collect::<Vec<_>>(), ["ours"]);
    assert_eq!(settings.fleet("ours"), Ok(Fleet::pooled().when_down(WhenDown::Reject)));
    for (error, path) in [(settings.breaker("a").err(), "breakers.a"), (settings.registry("r").err(), "registries.r")] {
        let expected = format!("`{path}.fleet` is set, allowed is only together with `store`");
        assert_eq!(error.map(|error| error.to_string()), Some(expected));
    }
    let settings = settings.store(Arc::new(MemoryStore::new()));
    for (name, fleet) in [("a", Fleet::pooled()), ("b", Fleet::pooled().when_down(WhenDown::Reject))] {
        let shown = format!("{:?}", settings.breaker(name).expect("it has a store"));
        assert!(shown.contains(&format!("fleet: {fleet:?}")), "{shown}");
    }
    let registry = settings.registry("r").expect("it has a store");
    assert_eq!(&*registry.name(), "r");
    let votes = |key: &str| registry.breaker(key).expect("it works").snapshot().fleet.expect("it is shared").votes;
    assert_eq!((votes("other"), votes("k")), (Some(0), None), "two votes, and pooled");
    let local = read::<Settings>("[breakers.a]").store(Arc::new(MemoryStore::new()));
    assert!(CircuitBreaker::new(local.breaker("a").expect("it works")).snapshot().fleet.is_none(), "it names no fleet");
    let missing = refusal::<Settings>("[breakers.a]\nfleet = 'our'\n[fleets.ours]");
    assert_eq!(
        missing,
        "`breakers.a.fleet` is \"our\", allowed is the name of one of `fleets` (\"ours\" or \"pooled\"), or a table; did you mean `ours`?"
    );
}
