//! Every way to write a duration, and what is none.

use std::time::Duration;

use fusebox::Cooldown;
use serde::Deserialize;

#[derive(Deserialize)]
struct With {
    #[serde(rename = "cooldown")]
    _cooldown: Cooldown,
}

#[test]
fn durations_are_read_as_people_publish_them() {
    let ms = Duration::from_millis;
    for (text, span) in [
        ("30s", ms(30_000)),
        ("1h 30m", ms(5_400_000)),
        ("250ms", ms(250)),
        ("10 seconds", ms(10_000)),
        ("PT10S", ms(10_000)),
        ("00:00:30", ms(30_000)),
        ("00:00:00.5", ms(500)),
        ("0.25s", ms(250)),
    ] {
        let cooldown: Cooldown = serde_json::from_value(text.into()).expect(text);
        assert_eq!(cooldown, Cooldown::from(span), "{text}");
    }
}

/// What TOML has a type of its own for: a time of day is read as a length.
#[test]
fn a_clock_form_needs_no_quotes_in_toml() {
    #[derive(Deserialize)]
    struct Mine {
        cooldown: Cooldown,
    }
    let mine: Mine = toml::from_str("cooldown = 00:01:30").expect("a local time");
    assert_eq!(mine.cooldown, Cooldown::from(Duration::from_secs(90)));
    let error = toml::from_str::<With>("cooldown = 1979-05-27").err().expect("a date is no duration").to_string();
    assert!(error.contains("is \"1979-05-27\", allowed is a duration"), "{error}");
}
