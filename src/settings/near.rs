//! The name that was meant.

/// The known name that is closest to the given one, if it is close at all.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    let most = (given.len() / 3).max(1);
    let of = known.into_iter().map(|name| (distance(&given, &plain(name)), name));
    of.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// Without what differs from house to house: `failureRate`, `failure-rate` and `FAILURE_RATE` are one.
fn plain(name: &str) -> Vec<char> {
    // No name of ours is that long, and the distance of long ones takes long.
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
}

/// How many letters must be put in, left out, changed, or swapped with the next to make one of the other.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before = vec![0; other.len() + 1];
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, others) in other.iter().enumerate() {
            let mut least = (row[j] + usize::from(letter != others)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *letter == other[j - 1] && one[i - 1] == *others {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_put_in_left_out_changed_and_swapped() {
        let distance = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!(distance("cooldown", "cooldown"), 0);
        assert_eq!(distance("cooldwn", "cooldown"), 1);
        assert_eq!(distance("cooldoown", "cooldown"), 1);
        assert_eq!(distance("cooldewn", "cooldown"), 1);
        assert_eq!(distance("coodlown", "cooldown"), 1);
        assert_eq!(distance("", "probes"), 6);
        assert_eq!(distance("kitten", "sitting"), 3);
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
