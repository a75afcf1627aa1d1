//! What formats do differently.

use fusebox::settings::Settings;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown};

#[test]
fn null_is_not_nothing() {
    let error = serde_json::from_str::<CircuitBreakerConfig>("{\"cooldown\": null}").expect_err("null").to_string();
    assert!(error.starts_with("`cooldown` is null, allowed is a duration"), "{error}");
    let error = serde_json::from_str::<Settings>("null").expect_err("null").to_string();
    assert!(error.starts_with("a file of settings is null, allowed is a table of"), "{error}");
}

#[test]
fn whole_numbers_may_be_written_with_a_fraction_of_nothing() {
    let config: CircuitBreakerConfig = serde_json::from_str("{\"execution_log\": 20.0}").expect("it is whole");
    assert!(format!("{config:?}").contains("execution_log: 20"));
    for wrong in ["20.5", "1e300", "-0.5", "18446744073709551616"] {
        let error =
            serde_json::from_str::<CircuitBreakerConfig>(&format!("{{\"execution_log\": {wrong}}}")).expect_err(wrong);
        assert!(error.to_string().starts_with("`execution_log` is "), "{error}");
    }
}

#[test]
fn a_value_that_is_read_already_can_be_read_from() {
    let value = serde_json::json!({ "breakers": { "payments": { "cooldown": { "max": "5m", "min": "5s" } } } });
    let settings: Settings = serde_json::from_value(value).expect("valid");
    let table: toml::Table =
        toml::from_str("[breakers.payments]\ncooldown = { max = '5m', min = '5s' }").expect("TOML");
    let other: Settings = table.try_into().expect("valid");
    let shown = |settings: &Settings| format!("{:?}", settings.breaker("payments").expect("it is there"));
    assert_eq!(shown(&settings), shown(&other));
    assert_eq!(
        serde_json::from_value::<Cooldown>("1m".into()).expect("valid"),
        Cooldown::from(std::time::Duration::from_secs(60))
    );
}

#[test]
fn a_type_that_is_given_twice_is_refused() {
    let text = r#"{ "detector": { "type": "failures", "count": 3, "of_last": 5, "type": "consecutive_failures" } }"#;
    let error = serde_json::from_str::<CircuitBreakerConfig>(text).expect_err("twice").to_string();
    assert!(error.starts_with("`detector.type` is given twice"), "{error}");
}

/// As of formats whose keys are of any type.
#[test]
fn a_key_that_is_no_text_is_a_name_all_the_same() {
    use serde::Deserialize;
    use serde::de::value::{Error, MapDeserializer};

    let refusal = |key: &dyn Fn() -> Result<CircuitBreakerConfig, Error>| key().expect_err("no field").to_string();
    let of = [
        refusal(&|| CircuitBreakerConfig::deserialize(MapDeserializer::new([(5_u64, "x")].into_iter()))),
        refusal(&|| CircuitBreakerConfig::deserialize(MapDeserializer::new([(-5_i64, "x")].into_iter()))),
        refusal(&|| CircuitBreakerConfig::deserialize(MapDeserializer::new([(true, "x")].into_iter()))),
    ];
    for (told, path) in of.iter().zip(["`5`", "`-5`", "`true`"]) {
        assert!(told.starts_with(&format!("{path} is unknown")), "{told}");
    }
}

#[test]
fn a_list_has_an_end() {
    let detectors = |n: usize| {
        let one = serde_json::json!({ "type": "consecutive_failures", "count": 1 });
        let text = serde_json::json!({ "detector": { "any": vec![one; n] } }).to_string();
        serde_json::from_str::<CircuitBreakerConfig>(&text).map_err(|error| error.to_string())
    };
    assert!(detectors(256).is_ok());
    let error = detectors(257).expect_err("too long");
    assert!(error.starts_with("`detector.any` is a list of 257 items, allowed are 256"), "{error}");
}

#[test]
fn a_list_by_numbers_has_no_gap() {
    let detectors = |keys: [&str; 2]| {
        let one = serde_json::json!({ "type": "consecutive_failures", "count": 1 });
        let parts: serde_json::Map<_, _> = keys.map(|key| (key.to_owned(), one.clone())).into_iter().collect();
        let value = serde_json::json!({ "detector": { "any": parts } });
        serde_json::from_value::<CircuitBreakerConfig>(value).map_err(|error| error.to_string())
    };
    assert!(detectors(["1", "0"]).is_ok(), "in any order");
    for keys in [["0", "2"], ["1", "2"]] {
        let error = detectors(keys).expect_err("a gap");
        assert_eq!(error, "`detector.any` is a list with a gap: its items are numbered from 0 on", "{keys:?}");
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_end_the_process() {
    let mut detector = serde_json::json!({ "type": "consecutive_failures", "count": 1 });
    for _ in 0..20 {
        detector = serde_json::json!({ "any": [detector] });
    }
    let config = |detector: &serde_json::Value| {
        serde_json::from_value::<CircuitBreakerConfig>(serde_json::json!({ "detector": detector }))
    };
    assert!(config(&detector).is_ok());
    for _ in 0..2_000 {
        detector = serde_json::json!({ "any": [detector] });
    }
    let error = config(&detector).expect_err("too deep").to_string();
    assert!(error.ends_with("is nested deeper than 64 levels"), "{error}");
    std::mem::forget(detector); // its own drop is recursive
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

/// As what TOML's dates come in: a key of that name hides nothing of a table.
#[test]
fn the_wrappers_of_formats_hide_nothing() {
    for key in ["$__toml_private_datetime", "$serde_json::private::Number"] {
        for inside in ["{}", "'x'", "{ a = 1 }"] {
            for file in [
                format!("'{key}' = {inside}\n[breakers.payments]\ncooldown = 'x'"),
                format!("[breakers.payments]\n'{key}' = {inside}\ncooldown = '5s'"),
                format!("[breakers.payments]\ncooldown = {{ '{key}' = {inside}, min = '5s', max = '1m' }}"),
                format!("[breakers.payments]\nprobes = {{ needed = {{ '{key}' = {inside}, x = 1 }} }}"),
            ] {
                assert!(toml::from_str::<Settings>(&file).is_err(), "{file}");
            }
        }
        let mut deep = String::from("1");
        for _ in 0..100 {
            deep = format!("{{ \"{key}\": {deep} }}");
        }
        assert!(serde_json::from_str::<Settings>(&format!("{{ \"breakers\": {deep} }}")).is_err());
    }
    assert!(
        toml::from_str::<Settings>("[retries.a]\nbackoff = { type = 'fixed', 0 = '1s' }").is_err(),
        "a list is no table"
    );
    let long = "x".repeat(100_000);
    let error = toml::from_str::<Settings>(&format!("[breakers.payments]\n{long} = 1")).expect_err("unknown");
    assert!(error.message().len() < 1_000, "{} bytes", error.message().len());
}
