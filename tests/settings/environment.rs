//! The environment, which has text only, by the `config` crate.

use std::collections::HashMap;

use fusebox::CircuitBreakerConfig;
use fusebox::settings::Settings;
use serde::de::DeserializeOwned;

/// Reads variables that begin with `APP__`, over a file, with and without guessing at types.
fn both<T: DeserializeOwned>(file: &str, variables: &[(&str, &str)]) -> [Result<T, String>; 2] {
    let variables: HashMap<_, _> =
        variables.iter().map(|(name, value)| (format!("APP__{name}"), (*value).to_owned())).collect();
    [true, false].map(|guesses| {
        let environment = config::Environment::with_prefix("APP").prefix_separator("__").separator("__");
        config::Config::builder()
            .add_source(config::File::from_str(file, config::FileFormat::Toml))
            .add_source(environment.try_parsing(guesses).source(Some(variables.clone())))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| error.to_string())
    })
}

#[test]
fn the_environment_overrides_a_file() {
    for config in both::<CircuitBreakerConfig>(
        "name = \"payments\"\ncooldown = \"30s\"",
        &[
            ("COOLDOWN", "7s"),
            ("CALL_EVENTS", "true"),
            ("EXECUTION_LOG", "20"),
            ("PROBES__NEEDED", "2"),
            ("DETECTOR__TYPE", "any"),
            ("DETECTOR__OF__0__TYPE", "consecutive_failures"),
            ("DETECTOR__OF__0__COUNT", "2"),
            ("DETECTOR__OF__1__TYPE", "failure_rate"),
            ("DETECTOR__OF__1__RATE", "50%"),
            ("DETECTOR__OF__1__OF_LAST", "10"),
        ],
    ) {
        let seen = format!("{:?}", config.expect("valid"));
        for part in [
            "cooldown: 7s",
            "consecutive_failures(2).or(failure_rate(0.5).of_last(10).min_calls(5))",
            "call_events: true",
            "execution_log: 20",
            "needed: 2",
        ] {
            assert!(seen.contains(part), "{part} is not in {seen}");
        }
    }
}

#[test]
fn a_whole_file_may_come_from_the_environment() {
    for settings in both::<Settings>(
        "",
        &[
            ("BREAKERS__PAYMENTS__COOLDOWN__MIN", "5s"),
            ("BREAKERS__PAYMENTS__COOLDOWN__MAX", "5m"),
            ("RETRIES__OUTBOUND__MAX_RETRIES", "2"),
            ("RETRIES__OUTBOUND__BACKOFF", "100ms, 1s"),
            ("RETRIES__OUTBOUND__BUDGET", "shared"),
            ("BUDGETS__SHARED__TYPE", "ratio"),
            ("BUDGETS__SHARED__RATIO", "0.2"),
            ("REGISTRIES__HOSTS__MAX", "7"),
        ],
    ) {
        let settings = settings.expect("valid");
        let payments = settings.breaker("payments").expect("it is there");
        assert!(format!("{payments:?}").contains("exponential 5s..=300s"), "{payments:?}");
        assert!(settings.retry("outbound").expect("it is there").to_string().contains("budget 0.2 of requests"));
        assert!(settings.registry("hosts").is_ok());
    }
}

#[test]
fn mistakes_in_the_environment_have_their_path() {
    for (variables, message) in [
        (
            &[("BREAKERS__PAYMENTS__DETECTOR__TYPE", "failure_rate"), ("BREAKERS__PAYMENTS__DETECTOR__RATE", "1.5")][..],
            "`breakers.payments.detector.rate` is ",
        ),
        (&[("BREAKERS__PAYMENTS__COOLDWN", "5s")], "`breakers.payments.cooldwn` is unknown; did you mean `cooldown`?"),
        (&[("BREAKERS__PAYMENTS__COOLDOWN", "5")], "`breakers.payments.cooldown` is "),
        (
            &[("BREAKERS__PAYMENTS__CALL_EVENTS", "maybe")],
            "`breakers.payments.call_events` is \"maybe\", allowed is true or false",
        ),
        (
            &[("DEFAULTS__DETECTOR__ANY__0__TYPE", "failures"), ("DEFAULTS__DETECTOR__ANY__2__TYPE", "failures")],
            "`defaults.detector.any",
        ),
        (&[("RETRIES__OUT__BACKOFF", "1s, soon")], "`retries.out.backoff` is \"1s, soon\""),
    ] {
        for error in both::<Settings>("", variables) {
            let error = error.expect_err("a mistake");
            assert!(error.contains(message), "{error}\nshould say {message}");
        }
    }
}
