//! The name that was meant.

use strsim::osa_distance;

/// The known name that is closest to the given one, if it is close at all.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    let most = (given.chars().count() / 3).max(1);
    // Letters that are put in, left out, changed, or swapped with the next.
    let of = known.into_iter().map(|name| (osa_distance(&given, &plain(name)), name));
    of.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// Without what differs from house to house: `failureRate`, `failure-rate` and `FAILURE_RATE` are one.
fn plain(name: &str) -> String {
    // No name of ours is that long, and the distance of long ones takes long.
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_put_in_left_out_changed_and_swapped() {
        for given in ["cooldown", "cooldwn", "cooldoown", "cooldewn", "coodlown", "coolDown", "COOL-DOWN"] {
            assert_eq!(nearest(given, ["detector", "cooldown", "probes"]), Some("cooldown"), "{given}");
        }
        assert_eq!(nearest("abcd", ["badc"]), None, "two swaps are two");
    }

    #[test]
    fn what_is_not_near_is_not_suggested() {
        let known = ["detector", "cooldown", "probes"];
        assert_eq!(nearest("coolDown", known), Some("cooldown"));
        assert_eq!(nearest("Detectors", known), Some("detector"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest("", known), None);
    }
}
