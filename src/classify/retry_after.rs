//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

/// The wait that the header asks for: seconds, or a date and then the time until it (zero when it is past). `None` for
/// anything else.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a very long time; the cap cuts it.
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The header for a wait: whole seconds, rounded up, so that nobody comes back too early.
pub(crate) fn format(wait: Duration) -> String {
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    secs.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 20:00:00 GMT").expect("a date");
        let parse = |value| parse(value, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 "), Some(Duration::ZERO));
        assert_eq!(parse("99999999999999999999999"), Some(Duration::MAX));
        assert_eq!(parse("Sat, 21 Nov 2026 20:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(parse("Sat, 21 Nov 2026 19:00:00 GMT"), Some(Duration::ZERO), "a date that is past");
        for wrong in ["", "-1", "1.5", "soon", "12s", "+3"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn writes_seconds_rounded_up() {
        assert_eq!(format(Duration::from_millis(1)), "1");
        assert_eq!(format(Duration::from_secs(30)), "30");
        assert_eq!(format(Duration::ZERO), "0");
    }
}
