//! The header `grpc-timeout`: how long the caller of a gRPC call waits for its end.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What eight digits can say.
const MOST: u128 = 99_999_999;

/// The timeout that the headers have: one, and well-formed. That is up to eight digits and a unit, by the protocol of gRPC
/// over HTTP/2.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| 10 * number + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(60 * 60 * number)),
        b'M' => Some(Duration::from_secs(60 * number)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Says what is left where the headers have a timeout: never more than that, and never nothing, which would be malformed.
pub(super) fn rewrite(headers: &mut HeaderMap, left: Duration) {
    if read(headers).is_some()
        && let Ok(value) = HeaderValue::try_from(text(left))
    {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// In the smallest unit that has room for it, rounded down.
fn text(left: Duration) -> String {
    let (nanos, seconds) = (left.as_nanos(), u128::from(left.as_secs()));
    let units = [
        (nanos.max(1), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
        (seconds / (60 * 60), 'H'),
    ];
    let (number, unit) = units.into_iter().find(|(number, _)| *number <= MOST).unwrap_or((MOST, 'H'));
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST_HOURS: Duration = Duration::from_secs(99_999_999 * 60 * 60);

    fn headers(value: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_bytes(value).expect("a header may have these bytes"))])
    }

    /// A nanosecond around every power of ten and every unit's end.
    fn durations() -> impl Iterator<Item = Duration> {
        let tens = (0..=28).map(|power| 10_u128.pow(power));
        let ends =
            [1, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000].map(|unit| unit * (MOST + 1));
        let around = tens.chain(ends).flat_map(|nanos| [nanos - 1, nanos, nanos + 1, nanos + nanos / 3]);
        let second = 1_000_000_000;
        around.map(move |nanos| {
            let (seconds, nanos) = (u64::try_from(nanos / second), u32::try_from(nanos % second));
            Duration::new(seconds.expect("it fits"), nanos.expect("less than a second"))
        })
    }

    #[test]
    fn what_is_left_is_said_as_tonic_says_it() {
        for left in durations().filter(|left| !left.is_zero() && *left <= MOST_HOURS) {
            let mut request = tonic::Request::new(());
            request.set_timeout(left);
            let said = request.metadata().get("grpc-timeout").expect("it is set").to_str();
            assert_eq!(said.expect("text"), text(left), "{left:?}");
        }
    }

    #[test]
    fn what_is_said_is_well_formed_and_never_more_than_is_left_nor_nothing() {
        for left in durations().chain([Duration::MAX]) {
            let mut timeout = headers(b"1S");
            rewrite(&mut timeout, left);
            let said = read(&timeout).expect("well-formed");
            assert!(!said.is_zero() && (said <= left || left.is_zero()), "{left:?}: {timeout:?}");
            let lost = left.saturating_sub(said);
            assert!(left > MOST_HOURS || lost <= left / 100_000, "{left:?}: {timeout:?}");
        }
        assert_eq!(text(Duration::ZERO), "1n");
        assert_eq!(text(Duration::MAX), "99999999H");
    }

    #[test]
    fn each_unit_is_read() {
        let read = |value: &str| read(&headers(value.as_bytes()));
        for (value, nanos) in
            [("1n", 1), ("2u", 2_000), ("3m", 3_000_000), ("4S", 4_000_000_000), ("00000007n", 7), ("0m", 0)]
        {
            assert_eq!(read(value), Some(Duration::from_nanos(nanos)), "{value}");
        }
        assert_eq!(read("5M"), Some(Duration::from_secs(300)));
        assert_eq!(read("6H"), Some(Duration::from_secs(21_600)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(359_999_996_400)));
    }

    #[test]
    fn what_is_malformed_is_not_read_and_stays_as_it_is() {
        let malformed: [&[u8]; 20] = [
            b"",
            b"1",
            b"S",
            b"n",
            b"1s",
            b"1h",
            b"1U",
            b"1 S",
            b" 1S",
            b"1S ",
            b"+1S",
            b"-1S",
            b"1.5S",
            b"0x1S",
            b"1SS",
            b"1ms",
            b"123456789n",
            b"99999999999999999999H",
            b"\xd9\xa3S",
            b"1\xff",
        ];
        for value in malformed {
            let mut timeout = headers(value);
            assert_eq!(read(&timeout), None, "{timeout:?}");
            rewrite(&mut timeout, Duration::from_secs(1));
            assert_eq!(timeout, headers(value));
        }
        let mut two = headers(b"1S");
        two.append(GRPC_TIMEOUT, HeaderValue::from_static("2S"));
        let before = two.clone();
        rewrite(&mut two, Duration::from_millis(1));
        assert_eq!((read(&two), two), (None, before));
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
