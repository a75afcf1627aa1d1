//! Configuration from files and the environment.
#![cfg(feature = "serde")]
#![expect(clippy::expect_used, reason = "test code")]

use std::collections::HashMap;

use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};

fn parse(text: &str) -> Result<CircuitBreakerConfig, toml::de::Error> {
    toml::from_str(text)
}

fn refusal(text: &str) -> String {
    parse(text).map(|config| format!("{config:?}")).expect_err("a refusal").to_string()
}

#[test]
fn a_file_sets_everything_that_the_builder_does() {
    let config = parse(
        r#"
        name = "payments"
        cooldown = { min = "5s", max = "5m", factor = 3.0, jitter = 0.2, healthy_after = "10m" }
        probes = { needed = 3, of = 5, concurrent = 2, deadline = "45s" }
        abandoned_after = "10s"
        retry_after_cap = "1m"
        execution_log = 50
        call_events = true
        [detector]
        type = "any"
        of = [
            { type = "failure_rate", rate = 0.5, of_last = 100, min_calls = 20 },
            { type = "slow_call_rate", rate = 0.8, slower_than = "2s", within = "1m" },
            { type = "all", of = [{ type = "failures", count = 5, within = "60s" }, { type = "consecutive_failures", count = 3 }] },
        ]
        "#,
    )
    .expect("a valid file");
    let seen = format!("{config:?}");
    for part in [
        "failure_rate(0.5).of_last(100).min_calls(20)",
        "slow_call_rate(0.8).slower_than(2s).within(60s).min_calls(5)",
        "failures(5).within(60s).and(consecutive_failures(3))",
        "exponential 5s..=300s x3, jitter 0.2",
        "needed: 3, of: 5, concurrent: 2, deadline: 45s",
        "abandoned_after: Some(10s)",
        "retry_after_cap: 60s",
        "execution_log: 50",
        "call_events: true",
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
}

#[test]
fn a_name_alone_gives_the_defaults() {
    let config = parse(r#"name = "payments""#).expect("valid");
    assert_eq!(format!("{config:?}"), format!("{:?}", CircuitBreakerConfig::new("payments")));
}

#[test]
fn the_detector_names_of_c_breaker_are_understood_with_its_defaults() {
    let detector = |rest: &str| {
        let config = parse(&format!("name = \"x\"\ndetector = {{ {rest} }}")).expect("valid");
        let text = format!("{config:?}");
        text.split("detector: ").nth(1).and_then(|t| t.split(", cooldown").next()).expect("a detector").to_owned()
    };
    assert_eq!(detector(r#"type = "time_based""#), "failures(5).within(60s)");
    assert_eq!(detector(r#"type = "sliding_window""#), "failure_rate(0.5).of_last(10).min_calls(5)");
    assert_eq!(
        detector(r#"type = "combined", require_both = true, failure_threshold = 3"#),
        "failures(3).within(60s).and(failure_rate(0.5).of_last(10).min_calls(5))"
    );
    assert_eq!(
        detector(r#"type = "combined""#),
        "failures(5).within(60s).or(failure_rate(0.5).of_last(10).min_calls(5))"
    );
}

#[test]
fn mistakes_are_refused_with_what_was_given_and_what_is_allowed() {
    let unknown = refusal("name = \"x\"\ncooldwn = \"30s\"");
    assert!(unknown.contains("cooldwn") && unknown.contains("cooldown"), "{unknown}");
    let unit = refusal("name = \"x\"\nabandoned_after = \"30\"");
    assert!(unit.contains("\"30\"") && unit.contains("30s"), "{unit}");
    let range = refusal("name = \"x\"\ndetector = { type = \"failure_rate\", rate = 1.5, of_last = 10 }");
    assert!(range.contains("`failure_rate` is 1.5") && range.contains("at most 1"), "{range}");
    let window = refusal("name = \"x\"\ndetector = { type = \"failure_rate\", rate = 0.5 }");
    assert!(window.contains("missing the window"), "{window}");
    let both = refusal("name = \"x\"\ndetector = { type = \"failures\", count = 1, of_last = 3, within = \"1s\" }");
    assert!(both.contains("exclude each other"), "{both}");
    let field = refusal("name = \"x\"\ndetector = { type = \"time_based\", window = 3 }");
    assert!(field.contains("window"), "{field}");
    let negative = refusal("name = \"x\"\ndetector = { type = \"time_based\", time_window_seconds = -1.0 }");
    assert!(negative.contains("not negative"), "{negative}");
    assert!(refusal("cooldown = \"1s\"").contains("name"));
    assert!(refusal("name = \"\"").contains("`name` is empty"));
    assert!(refusal("name = \"x\"\ncooldown = { min = \"5s\" }").contains("`min`, `max`"));
}

/// The environment through the `config` crate, over a file.
#[test]
fn the_environment_overrides_a_file() {
    let vars = HashMap::from([
        ("PAYMENTS__COOLDOWN".to_owned(), "7s".to_owned()),
        ("PAYMENTS__DETECTOR__TYPE".to_owned(), "consecutive_failures".to_owned()),
        ("PAYMENTS__DETECTOR__COUNT".to_owned(), "2".to_owned()),
    ]);
    let file = config::File::from_str("name = \"payments\"\ncooldown = \"30s\"", config::FileFormat::Toml);
    let env = config::Environment::with_prefix("PAYMENTS").separator("__").prefix_separator("__");
    let config: CircuitBreakerConfig = config::Config::builder()
        .add_source(file)
        .add_source(env.try_parsing(true).source(Some(vars)))
        .build()
        .and_then(config::Config::try_deserialize)
        .expect("valid");
    let seen = format!("{config:?}");
    assert!(seen.contains("cooldown: 7s") && seen.contains("consecutive_failures(2)"), "{seen}");
}

#[test]
fn a_file_can_be_built_on() {
    let config = parse(r#"name = "payments""#).expect("valid");
    let config = config.into_builder().on_state_change(|_, _, _| {}).build().expect("valid");
    assert_eq!(config.name(), "payments");
    assert_eq!(CircuitBreaker::new(config).state(), State::Closed);
}

#[test]
fn a_snapshot_is_readable_as_json() {
    let config = CircuitBreakerConfig::builder("payments").clock(fusebox::ManualClock::new());
    let breaker = CircuitBreaker::new(config.build().expect("valid"));
    breaker.trip().expect("no override");
    let json = serde_json::to_value(breaker.snapshot()).expect("serialisable");
    assert_eq!(json["name"], "payments");
    assert_eq!(json["state"], "open");
    assert_eq!(json["reason"], "tripped");
    assert_eq!(json["recent"], "");
    assert_eq!(json["retry_after"], 30.0, "seconds");
    assert_eq!(json["in_state_for"], 0.0);
    assert!(json["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{}", json["since"]);
    assert_eq!(json["detectors"][0]["tally"]["count"], 0);
    let half_an_hour = std::time::Duration::from_secs(1_800);
    breaker.set_override(fusebox::Override::disable("load test").by("ana").expires_after(half_an_hour));
    let json = serde_json::to_value(breaker.snapshot()).expect("serialisable");
    let hold = serde_json::json!({ "kind": "disabled", "reason": "load test", "by": "ana", "expires_after": 1800.0 });
    assert_eq!(json["overridden"], hold, "by the names it was given");
}
