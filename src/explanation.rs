//! A configuration in plain words.

use std::fmt;

/// What a configuration does, in plain words, a rule in each line.
/// [`CircuitBreakerConfig::explain`](crate::CircuitBreakerConfig::explain) and
/// [`RetryConfig::explain`](crate::RetryConfig::explain) make it.
///
/// It is for people: for the log of a service that starts, for a review of a file. Its words may change with any release.
///
/// ```
/// use fusebox::CircuitBreakerConfig;
///
/// let explained = CircuitBreakerConfig::new("payments").explain();
/// assert_eq!(explained.lines().next(), Some("opens when at least 5 calls within 60s failed"));
/// println!("{explained}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    lines: Vec<String>,
}

impl Explanation {
    pub(crate) const fn new(lines: Vec<String>) -> Self {
        Self { lines }
    }

    /// Returns the lines. Those that belong to the one before are indented.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// A share in percent, without the digits that come of counting in halves.
pub(crate) fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
