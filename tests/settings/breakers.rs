//! Breakers by themselves, as parts of someone's own configuration.

use std::time::Duration;

use fusebox::{
    Budget, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Cooldown, Probes, State,
    detect::{self, Detector},
};

use super::{read, refusal};

fn refused(text: &str) -> String {
    refusal::<CircuitBreakerConfig>(text)
}

fn detector(table: &str) -> String {
    let config: CircuitBreakerConfig = read(&format!("name = \"x\"\ndetector = {{ {table} }}"));
    let text = format!("{config:?}");
    text.split("detector: ").nth(1).and_then(|t| t.split(", cooldown").next()).expect("a detector").to_owned()
}

#[test]
fn a_file_sets_everything_that_the_builder_does() {
    let config: CircuitBreakerConfig = read(
        r#"
        name = "payments"
        cooldown = { min = "5s", max = "5m", factor = 3.0, jitter = 0.2, healthy_after = "10m" }
        probes = { needed = 3, of = 5, concurrent = 2, deadline = "45s", decide_within = "10m" }
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
    );
    let (s, d) = (Duration::from_secs, detect::failure_rate(0.5).of_last(100).min_calls(20));
    let slow = detect::slow_call_rate(0.8).slower_than(s(2)).within(s(60));
    let both = detect::failures(5).within(s(60)).and(detect::consecutive_failures(3));
    let any = detect::Combined::any(vec![Box::new(d), Box::new(slow), Box::new(both)]);
    let expected = CircuitBreakerConfig::builder("payments")
        .detector(any)
        .cooldown(Cooldown::exponential(s(5)..=s(300)).factor(3.0).jitter(0.2).healthy_after(s(600)))
        .probes(Probes::ratio(3, 5).concurrent(2).deadline(s(45)).decide_within(s(600)))
        .abandoned_after(s(10))
        .retry_after_cap(s(60))
        .execution_log(50)
        .call_events(true)
        .build()
        .expect("it works");
    assert_eq!(format!("{config:?}"), format!("{expected:?}"));
}

/// By what they are: a cooldown's text does not say all of it.
#[test]
fn a_file_sets_everything_of_a_cooldown() {
    let s = Duration::from_secs;
    let exponential = Cooldown::exponential(s(5)..=s(300)).factor(3.0).jitter(0.2).healthy_after(s(600));
    let text = "min = '5s'\nmax = '5m'\nfactor = 3\njitter = '20%'\nhealthy_after = '10m'";
    assert_eq!(read::<Cooldown>(text), exponential);
    let linear = Cooldown::linear(s(5)..=s(300), s(10)).jitter(0.2).healthy_after(s(600));
    let text = "type = 'linear'\nmin = '5s'\nmax = '5m'\nstep = '10s'\njitter = 0.2\nhealthy_after = '10m'";
    assert_eq!(read::<Cooldown>(text), linear);
    assert_eq!(read::<Cooldown>("type = 'fixed'\nduration = '5s'"), Cooldown::fixed(s(5)));
    assert_ne!(exponential, Cooldown::exponential(s(5)..=s(300)).factor(3.0).jitter(0.2), "the text is the same");
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    for (text, name) in [("name = \"payments\"", "payments"), ("", "unnamed")] {
        let config: CircuitBreakerConfig = read(text);
        assert_eq!(format!("{config:?}"), format!("{:?}", CircuitBreakerConfig::new(name)));
    }
    let named = read::<CircuitBreakerConfig>("").named("host");
    assert_eq!(named.name(), "host");
}

#[test]
fn the_type_may_stand_behind_the_other_fields() {
    for table in [
        r#"type = "failure_rate", rate = 0.5, of_last = 100"#,
        r#"rate = 0.5, of_last = 100, type = "failure_rate""#,
        r#"of_last = 100, type = "failure_rate", rate = "50%""#,
    ] {
        assert_eq!(detector(table), "failure_rate(0.5).of_last(100).min_calls(5)");
    }
    let budget = |text: &str| read::<Budget>(text).to_string();
    assert_eq!(budget("ratio = 0.1\nmax_tokens = 10\ntype = 'tokens'"), "budget 10 tokens, 0.1 per success");
    let late = refusal::<Budget>("ratio = 0\nmax_tokens = 10\ntype = 'tokens'");
    assert_eq!(
        late,
        "`ratio` is 0, allowed is a number of at least 0.001 and at most 1000, or a share such as \"50%\""
    );
    let late = refused("[detector]\nrate = 0.5\ncount = 3\ntype = 'failures'\nof_last = 5");
    assert!(late.starts_with("`detector.rate` is for `type` = \"failure_rate\" or \"slow_call_rate\""), "{late}");
}

#[test]
fn any_and_all_have_a_short_form() {
    let parts = r#"[{ type = "consecutive_failures", count = 3 }, { all = [{ type = "failures", count = 5, within = "1m" }] }]"#;
    let long = detector(&format!("type = \"any\", of = {parts}"));
    assert_eq!(long, "consecutive_failures(3).or(failures(5).within(60s))");
    assert_eq!(detector(&format!("any = {parts}")), long);
    assert_eq!(detector(&format!("any = {parts}, type = \"any\"")), long);
    let twice = refused(&format!("detector = {{ any = {parts}, of = {parts} }}"));
    assert_eq!(twice, "`detector.any` excludes `of`: only one of them is given");
    let mixed = refused(&format!("detector = {{ any = {parts}, type = \"all\" }}"));
    assert!(mixed.starts_with("`detector.any` is for `type` = \"any\""), "{mixed}");
}

#[test]
fn the_detector_names_of_c_breaker_are_understood_with_its_defaults() {
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
fn mistakes_are_told_with_path_value_what_is_allowed_and_what_was_meant() {
    for (text, message) in [
        (
            "cooldwn = '30s'",
            "`cooldwn` is unknown; did you mean `cooldown`? a breaker has `name`, `detector`, `cooldown`, `probes`, \
             `abandoned_after`, `retry_after_cap`, `execution_log`, `call_events`, `fleet`, `enabled`, `override` and `outcomes`",
        ),
        (
            "abandoned_after = '30'",
            "`abandoned_after` is \"30\", allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\", above zero: \
             the unit is missing (\"30s\"? \"30ms\"?)",
        ),
        (
            "abandoned_after = 30",
            "`abandoned_after` is 30, allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\", above zero: \
             the unit is missing (\"30s\"? \"30ms\"?)",
        ),
        (
            "detector = { type = 'failure_rate', rate = 1.5, of_last = 10 }",
            "`detector.rate` is 1.5, allowed is a number above 0 and at most 1, or a share such as \"50%\"",
        ),
        (
            "detector = { any = [{ type = 'consecutive_failures', count = 3 }, { type = 'failure_rate', rate = 50, of_last = 10 }] }",
            "`detector.any[1].rate` is 50, allowed is a number above 0 and at most 1, or a share such as \"50%\"",
        ),
        (
            "detector = { type = 'failure_rate', rate = 0.5 }",
            "`detector` lacks one of `of_last` (a whole number from 1 to 1048576) or `within` (a duration with its unit, \
             such as \"30s\", \"5m\" or \"250ms\", above zero)",
        ),
        (
            "detector = { type = 'failures', count = 1, of_last = 3, within = '1s' }",
            "`detector.within` excludes `of_last`: only one of them is given",
        ),
        (
            "detector = { type = 'failures', count = 1, within = '1s', min_calls = 3 }",
            "`detector.min_calls` excludes `within`: failures within a time are counted without the successes",
        ),
        (
            "detector = { type = 'failures', count = 11, of_last = 10 }",
            "`detector.count` is 11, allowed is 1 to the window (10)",
        ),
        (
            "detector = { type = 'failure_rat', rate = 0.5 }",
            "`detector.type` is \"failure_rat\", allowed is \"failures\", \"failure_rate\", \"slow_call_rate\", \
             \"consecutive_failures\", \"any\", \"all\", \"time_based\", \"sliding_window\" or \"combined\"; \
             did you mean `failure_rate`?",
        ),
        (
            "detector = { type = 'time_based', window = 3 }",
            "`detector.window` is unknown: a detector with `type` = \"time_based\" has `type`, `failure_threshold` and \
             `time_window_seconds`",
        ),
        (
            "cooldown = { min = '1s', max = '2s', factor = '200%' }",
            "`cooldown.factor` is \"200%\", allowed is a number of at least 1",
        ),
        (
            "detector = { type = 'time_based', time_window_seconds = -1.0 }",
            "`detector.time_window_seconds` is -1.0, allowed is a number above 0 and at most 1000000000",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn mistakes_in_tables_and_values_are_told_alike() {
    for (text, message) in [
        ("name = ''", "`name` is \"\", allowed is text of 1 to 65536 bytes"),
        (
            "cooldown = { min = '5s' }",
            "`cooldown` lacks `max`: a duration with its unit, such as \"30s\", \"5m\" or \"250ms\"",
        ),
        ("cooldown = { min = '5s', max = '1s' }", "`cooldown.min` is 5s, allowed is at most `max`, which is 1s"),
        (
            "cooldown = 5",
            "`cooldown` is 5, allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\" or a table of `type`, \
             `min`, `max`, `factor`, `jitter`, `healthy_after`, `step` and `duration`: the unit is missing (\"5s\"? \"5ms\"?)",
        ),
        ("probes = { needed = 6, of = 5 }", "`probes.needed` is 6, allowed is 1 to 5 successes of 5"),
        (
            "probes = [3]",
            "`probes` is a list, allowed is a table of `needed`, `of`, `concurrent`, `deadline` and `decide_within`",
        ),
        ("call_events = 'yes'", "`call_events` is \"yes\", allowed is true or false"),
        ("execution_log = -1", "`execution_log` is -1, allowed is a whole number from 0 to 1048576"),
        ("execution_log = 1.5", "`execution_log` is 1.5, allowed is a whole number from 0 to 1048576"),
        (
            "detector = { any = [] }",
            "`detector.any` is an empty list, allowed is a list, each of its items a detector, one at least",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn numbers_durations_and_booleans_may_be_text() {
    let as_text: CircuitBreakerConfig = read(
        "execution_log = '50'\ncall_events = 'true'\ncooldown = { min = 'PT5S', max = '00:05:00', factor = '3', jitter = '20%' }
         detector = { type = 'failures', count = '3', of_last = '10' }",
    );
    let as_values: CircuitBreakerConfig = read(
        "execution_log = 50\ncall_events = true\ncooldown = { min = '5s', max = '5m', factor = 3.0, jitter = 0.2 }
         detector = { type = 'failures', count = 3, of_last = 10 }",
    );
    assert_eq!(format!("{as_text:?}"), format!("{as_values:?}"));
    for wrong in [
        "execution_log = 'fifty'",
        "execution_log = '-1'",
        "call_events = 'on'",
        "cooldown = { min = '1s', max = '2s', jitter = '2' }",
    ] {
        let message = refused(wrong);
        assert!(message.contains(", allowed is "), "{message}");
    }
}

#[test]
fn a_configuration_can_be_built_on() {
    let config: CircuitBreakerConfig = read(r#"name = "payments""#);
    let config = config.into_builder().on_state_change(|_, _, _| {}).build().expect("valid");
    assert_eq!(config.name(), "payments");
    assert_eq!(CircuitBreaker::new(config).state(), State::Closed);
}

#[test]
fn single_types_stand_in_a_configuration_of_ones_own() {
    #[derive(serde::Deserialize)]
    struct Mine {
        cooldown: Cooldown,
        probes: Probes,
        detector: Box<dyn Detector>,
        breaker: CircuitBreakerConfig,
    }
    let mine: Mine = read(
        "cooldown = '5s'\nprobes = { needed = 2 }\ndetector = { type = 'consecutive_failures', count = 4 }
         breaker = { name = 'payments' }",
    );
    assert_eq!(mine.cooldown, Cooldown::from(Duration::from_secs(5)));
    assert_eq!(mine.probes, Probes::consecutive(2));
    assert_eq!(mine.detector.rule(), "consecutive_failures(4)");
    assert_eq!(mine.breaker.name(), "payments");
    // The path begins at our own type, and the format says the rest.
    let error = toml::from_str::<Mine>("breaker = { probes = { needed = 0 } }")
        .err()
        .expect("no success is needed")
        .to_string();
    assert!(error.contains("line 1, column 33") && error.contains("`probes.needed` is 0"), "{error}");
    assert_eq!(refusal::<Cooldown>("min = '1s'\nmax = 'soon'").split(',').next(), Some("`max` is \"soon\""));
    let error = serde_json::from_str::<Probes>("7").expect_err("no table").to_string();
    assert!(error.starts_with("probes is 7, allowed is a table of"), "{error}");
}

#[cfg(feature = "fleet")]
#[test]
fn a_fleet_takes_a_store() {
    use std::sync::Arc;

    use fusebox::fleet::{Fleet, WhenDown};
    use fusebox::store::MemoryStore;

    let text = "name = 'payments'\nfleet = { mode = 'votes', votes = 3, when_down = 'reject', instance_id = 'a' }";
    assert!(refused(text).starts_with("`fleet` is set, allowed is none here"), "{}", refused(text));
    assert!(read::<CircuitBreakerConfigBuilder>(text).build().is_err(), "with whom?");
    let builder: CircuitBreakerConfigBuilder = read(text);
    let config = builder.store(Arc::new(MemoryStore::new())).build().expect("it has a store");
    let expected = Fleet::votes(3).when_down(WhenDown::Reject).instance_id("a");
    assert!(format!("{config:?}").contains(&format!("fleet: {expected:?}")), "{config:?}");
    let pooled: Fleet = read("flush_interval = '2s'");
    assert_eq!(pooled, Fleet::pooled().flush_interval(Duration::from_secs(2)));
    for (word, when_down) in [("local", WhenDown::Local), ("admit", WhenDown::Admit), ("reject", WhenDown::Reject)] {
        assert_eq!(read::<Fleet>(&format!("when_down = '{word}'")), Fleet::pooled().when_down(when_down), "{word}");
    }
    assert_eq!(
        refused("fleet = 'ours'"),
        "`fleet` is \"ours\", allowed is a table: only a whole file has named fleets"
    );
    assert_eq!(
        refused("fleet = { mode = 'votes' }").split(':').next(),
        Some("`fleet` lacks one of `votes` (a whole number from 1 to 256)")
    );
    assert!(refused("fleet = { mode = 'pooled', votes = 2 }").starts_with("`fleet.votes` is for `mode` = \"votes\""));
}
