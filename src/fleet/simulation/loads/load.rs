//! Whose calls fail.

/// Whose calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Load {
    /// Every tenth of the fleet, evenly.
    Even,
    /// One of ten, by chance.
    Chance,
    /// All of one instance, and no others.
    Skew,
    /// None.
    Well,
    /// One of a hundred, by chance.
    Background,
    /// The same, and all from the middle of the run on.
    Outage,
}

impl Load {
    /// Tells whether the `nth` call of the fleet fails, which is one of the instance `who`; `draw` is by chance, below a
    /// thousand.
    pub(in super::super) const fn fails(self, nth: u64, who: usize, draw: u64, is_out: bool) -> bool {
        match self {
            Self::Even => nth.is_multiple_of(10),
            Self::Chance => draw < 100,
            Self::Skew => who == 0,
            Self::Well => false,
            Self::Background => draw < 10,
            Self::Outage => is_out || draw < 10,
        }
    }

    pub(in super::super) fn named(name: &str) -> Self {
        match name {
            "Even" => Self::Even,
            "Chance" => Self::Chance,
            "Skew" => Self::Skew,
            "Background" => Self::Background,
            "Outage" => Self::Outage,
            _ => Self::Well,
        }
    }
}
