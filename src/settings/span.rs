//! Durations as people write them.

use std::time::Duration;

/// Every way to say a unit, with what it stands for in nanoseconds.
pub(super) const UNITS: [(&[&str], u64); 10] = [
    (&["ns", "nsec", "nanosecond", "nanoseconds"], 1),
    (&["us", "µs", "μs", "usec", "microsecond", "microseconds"], 1_000),
    (&["ms", "msec", "millis", "millisecond", "milliseconds"], 1_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000_000_000),
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["w", "week", "weeks"], 604_800_000_000_000),
    // Of 30.44 and 365.25 days.
    (&["month", "months"], 2_630_016_000_000_000),
    (&["y", "year", "years"], 31_557_600_000_000_000),
];

const SECOND: u64 = 1_000_000_000;

/// Reads `30s`, `1h 30m`, `1.5s`, `10 seconds`; ISO 8601 (`PT10S`, `P1DT2H`); or clock form (`00:00:30`, `1.00:00:00`
/// for a day).
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let nanos = match text.strip_prefix('P') {
        Some(rest) => iso(rest),
        None if text.contains(':') => clock(text),
        None => with_units(text),
    };
    nanos.map(Duration::from_nanos)
}

/// Whether it is a number, and only the unit is missing.
pub(super) fn lacks_unit(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(f64::is_finite)
}

fn with_units(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum: Option<u64> = None;
    while !rest.is_empty() {
        let number = &rest[..rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())];
        rest = rest[number.len()..].trim_start();
        let unit = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
        rest = rest[unit.len()..].trim_start();
        let (_, nanos) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        sum = Some(sum.unwrap_or(0).checked_add(times(number, *nanos)?)?);
    }
    sum
}

/// A decimal number of units, in nanoseconds. Digits beyond a nanosecond are dropped.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || (number.contains('.') && !is_number(part)) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let part = &part[..part.len().min(18)];
    let divisor = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let part = part.parse::<u128>().unwrap_or(0) * u128::from(unit) / divisor;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// What follows the `P` of an ISO 8601 duration. Years and months are not of one length, and refused.
fn iso(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let day = 86_400 * SECOND;
    let (mut sum, mut parts) = (0_u64, 0);
    let sections: [(&str, &[(char, u64)]); 2] = [
        (date, &[('W', 7 * day), ('D', day)]),
        (time.unwrap_or(""), &[('H', 3_600 * SECOND), ('M', 60 * SECOND), ('S', SECOND)]),
    ];
    for (mut rest, units) in sections {
        let mut units = units.iter();
        while !rest.is_empty() {
            let at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let letter = rest[at..].chars().next()?;
            // In their order, each once.
            let (_, unit) = units.find(|(name, _)| *name == letter)?;
            sum = sum.checked_add(times(&rest[..at], *unit)?)?;
            rest = &rest[at + letter.len_utf8()..];
            parts += 1;
        }
    }
    (parts > 0 && time != Some("")).then_some(sum)
}

/// `hh:mm:ss`, with parts of a second, and days before a dot as .NET writes them.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let (Some(hours), Some(minutes), Some(seconds), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let below = |text: &str, limit: u64| {
        let number = text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u64>().ok())??;
        (number < limit && (1..=2).contains(&text.len())).then_some(number)
    };
    let days = days.bytes().all(|digit| digit.is_ascii_digit()).then(|| days.parse::<u64>().ok())??;
    below(seconds.split('.').next()?, 60)?;
    let hours = days.checked_mul(24)?.checked_add(below(hours, 24)?)?;
    let minutes = hours.checked_mul(60)?.checked_add(below(minutes, 60)?)?;
    minutes.checked_mul(60 * SECOND)?.checked_add(times(seconds, SECOND)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_duration_is_understood() {
        let ms = Duration::from_millis;
        for (text, duration) in [
            ("0s", ms(0)),
            ("30s", ms(30_000)),
            ("250ms", ms(250)),
            ("1h 30m", ms(5_400_000)),
            ("1h30m", ms(5_400_000)),
            ("1.5s", ms(1_500)),
            ("0.1s", ms(100)),
            ("10 seconds", ms(10_000)),
            (" 1 minute 1 second ", ms(61_000)),
            ("2d", ms(172_800_000)),
            ("1w", ms(604_800_000)),
            ("7us", Duration::from_micros(7)),
            ("7µs", Duration::from_micros(7)),
            ("1ns", Duration::from_nanos(1)),
            ("PT10S", ms(10_000)),
            ("PT0.5S", ms(500)),
            ("PT1H30M", ms(5_400_000)),
            ("P1DT1M", ms(86_460_000)),
            ("P2W", ms(1_209_600_000)),
            ("00:00:30", ms(30_000)),
            ("00:00:00.5", ms(500)),
            ("0:01:00", ms(60_000)),
            ("23:59:59", ms(86_399_000)),
            ("1.00:00:00", ms(86_400_000)),
        ] {
            assert_eq!(parse(text), Some(duration), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "30",
            "30 ",
            "-30s",
            "+30s",
            "1e3s",
            "30S",
            "30 parsecs",
            "30s x",
            "s30",
            "1..5s",
            ".5s",
            "5.s",
            "30s,",
            "1h30",
            "P",
            "PT",
            "P1",
            "P1Y",
            "P1M",
            "PT1D",
            "PT1S1M",
            "P1DT",
            "PT1S1S",
            "PT-1S",
            "pt1s",
            "00:30",
            "00:00:60",
            "00:60:00",
            "24:00:00",
            "00:00:0x",
            "-1.00:00:00",
            "1:2:3:4",
            "::",
            "000:00:00",
            "00:00:",
            "99999999999999999999s",
            "30M",
            "∞s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_bare_number_lacks_but_its_unit() {
        assert!(
            lacks_unit("30") && lacks_unit(" 0.5 ") && !lacks_unit("30s") && !lacks_unit("soon") && !lacks_unit("inf")
        );
    }
}
