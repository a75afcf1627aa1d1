//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};

/// The wait that a response asks for. A date is read by the response's own `Date`, where it has one: the clocks of
/// server and client need not agree. Of several the longest counts, so that the dependency is never asked sooner than
/// it said.
pub(crate) fn of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let texts = |name: HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let wait = texts(RETRY_AFTER).map(|text| {
        let now = texts(DATE).find_map(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
        parse(text, now)
    });
    // A wait of no time asks for nothing.
    wait.flatten().max().filter(|wait| !wait.is_zero())
}

/// The wait that the header asks for: seconds, or a date and then the time until it (zero when it is past). `None` for
/// anything else.
fn parse(value: &str, now: SystemTime) -> Option<Duration> {
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
    fn dates_are_read_by_the_servers_own_clock() {
        let here = httpdate::parse_http_date("Sat, 21 Nov 2026 20:00:00 GMT").expect("a date");
        let wait = |headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
            of(&headers.collect(), here)
        };
        let five = Some(Duration::from_secs(5));
        for (date, until) in [
            ("Sat, 21 Nov 2026 21:00:00 GMT", "Sat, 21 Nov 2026 21:00:05 GMT"),
            ("Sat, 21 Nov 2026 19:00:00 GMT", "Sat, 21 Nov 2026 19:00:05 GMT"),
        ] {
            assert_eq!(wait(&[(DATE, date), (RETRY_AFTER, until)]), five, "{date}");
        }
        let until = (RETRY_AFTER, "Sat, 21 Nov 2026 20:00:05 GMT");
        assert_eq!(wait(std::slice::from_ref(&until)), five, "no Date");
        assert_eq!(wait(&[(DATE, "now"), until.clone()]), five, "no date in Date");
        assert_eq!(wait(&[(DATE, "Sat, 21 Nov 2026 21:00:00 GMT"), (RETRY_AFTER, "5")]), five, "seconds need no date");
        assert_eq!(wait(&[(RETRY_AFTER, "3"), (RETRY_AFTER, "soon"), (RETRY_AFTER, "5")]), five, "the longest");
        assert_eq!(wait(&[(RETRY_AFTER, "0")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn writes_seconds_rounded_up() {
        assert_eq!(format(Duration::from_millis(1)), "1");
        assert_eq!(format(Duration::from_secs(30)), "30");
        assert_eq!(format(Duration::ZERO), "0");
    }
}
