//! Who an instance is, to the others of its fleet.

use std::sync::Arc;

/// A number that no other process has drawn, nor this one before: from the operating system each time, so that neither a fork
/// nor a restored snapshot hands out one twice.
pub(crate) fn random() -> u64 {
    // A system without randomness is none that this runs on; the seed of this process is the next best.
    getrandom::u64().unwrap_or_else(|_| crate::clock::fresh_seed())
}

/// The name of an instance where the user has given none: readable, and as unique as its number. The pod, the host, or what the
/// system calls the machine is in front: containers that are all the first process of a host of the same name differ by the
/// number.
pub(super) fn name(number: u64) -> Arc<str> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = set("POD_NAME").or_else(|| set("HOSTNAME"));
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host: String = host.as_deref().map_or("unknown", str::trim).chars().take(64).collect();
    format!("{host}-{number:016x}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_the_same() {
        let names: std::collections::HashSet<_> = (0..1_000).map(|_| name(random())).collect();
        assert_eq!(names.len(), 1_000);
        assert!(names.iter().all(|name| name.len() <= 255), "a record takes it");
    }
}
