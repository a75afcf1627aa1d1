//! What enums are called in labels of metrics and logs: in snake case, each by a name of its own, the same as in files.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Enums that end up in no label: what they say of errors and of stores is for programs that match on them, of the end of a
/// body for the layers alone, and of measurements for what writes them.
const NO_LABELS: [&str; 12] = [
    "BodyEnd",
    "CallError",
    "Changes",
    "Committed",
    "EnvError",
    "Jitter",
    "Keys",
    "Notice",
    "Over",
    "Shape",
    "Unit",
    "Value",
];

/// Labels that are not their variant in snake case: two that one counter takes together, and one that is a setting's name.
const NAMED_OTHERWISE: [(&str, &str, &str); 2] =
    [("Outcome", "FailureAfter", "failure"), ("TimeLimit", "Attempt", "attempt_timeout")];

/// Label by variant, of each public enum that has labels; `None` for those that have none.
fn enums() -> BTreeMap<String, (Vec<String>, Option<BTreeMap<String, String>>)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut enums) = (vec![src], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("\npub enum ") {
                let rest = &text[at + "\npub enum ".len()..];
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                let body = &rest[..rest.find("\n}").unwrap()];
                let labels = labels_of(&text, &name);
                enums.insert(name, (variants(body), labels));
            }
        }
    }
    enums
}

/// The lines that are indented once and begin with a capital letter.
fn variants(body: &str) -> Vec<String> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let named = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    named.map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect()).collect()
}

/// The arms of `as_str`, where the enum has one.
fn labels_of(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let head = format!("\nimpl {name} {{");
    let mut blocks = text.match_indices(&head).map(|(at, _)| {
        let rest = &text[at + 1..];
        &rest[..rest.find("\n}").unwrap()]
    });
    let block = blocks.find(|block| block.contains("const fn as_str("))?;
    let body = &block[block.find("const fn as_str(").unwrap()..];
    let body = &body[..body.find("\n    }").unwrap()];
    let arms = body.lines().filter_map(|line| line.split_once("=> \""));
    let mut labels = BTreeMap::new();
    for (pattern, label) in arms {
        let label = label.trim_end_matches("\",").to_owned();
        for one in pattern.split('|') {
            let variant = one.trim().strip_prefix("Self::").unwrap();
            labels.insert(variant.chars().take_while(|c| c.is_alphanumeric()).collect(), label.clone());
        }
    }
    Some(labels)
}

fn snake(variant: &str) -> String {
    let mut text = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[test]
fn every_public_enum_has_labels_or_is_for_programs_only() {
    let enums = enums();
    assert!(enums.len() > 20, "the enums were found: {:?}", enums.keys());
    for (name, (variants, labels)) in &enums {
        let none = NO_LABELS.contains(&name.as_str());
        let Some(labels) = labels else {
            assert!(none, "`{name}` has no `as_str`");
            continue;
        };
        assert!(!none, "`{name}` has labels after all");
        assert_eq!(variants.len(), labels.len(), "{name}: {variants:?}, {labels:?}");
        for variant in variants {
            let otherwise = NAMED_OTHERWISE.iter().find(|(of, one, _)| of == name && one == variant);
            let expected = otherwise.map_or_else(|| snake(variant), |(.., label)| (*label).to_owned());
            assert_eq!(labels[variant], expected, "{name}::{variant}");
        }
        let mut unique: Vec<_> = labels.values().collect();
        unique.sort();
        unique.dedup();
        let shared = NAMED_OTHERWISE.iter().filter(|(of, _, label)| of == name && *label == "failure").count();
        assert_eq!(unique.len() + shared, labels.len(), "{name}: {labels:?}");
    }
}

#[test]
fn labels_are_constants() {
    use fusebox::{Outcome, circuit_breaker::RejectReason, retry::StopReason};

    const LABELS: [&str; 3] = [Outcome::Success.as_str(), RejectReason::Open.as_str(), StopReason::Budget.as_str()];
    assert_eq!(LABELS, ["success", "open", "budget"]);
}

/// What is written to files and pages is called the same there.
#[cfg(feature = "serde")]
#[test]
fn labels_are_the_names_that_serde_writes() {
    use fusebox::{
        State,
        circuit_breaker::{Origin, OverrideKind, RejectReason, StateScope, TransitionReason},
        detect::{Counted, Tally},
    };

    fn written(value: impl serde::Serialize) -> String {
        match serde_json::to_value(value).unwrap() {
            serde_json::Value::String(name) => name,
            serde_json::Value::Object(one) => one.keys().next().unwrap().clone(),
            other => other.to_string(),
        }
    }
    macro_rules! same {
        ($($value:expr),+ $(,)?) => { $(assert_eq!(written($value), $value.as_str());)+ };
    }
    same!(State::Closed, State::Open, State::HalfOpen);
    same!(StateScope::Instance, StateScope::Fleet, Origin::Decided, Origin::Adopted);
    same!(Counted::Failures, Counted::SlowCalls);
    same!(OverrideKind::ForcedOpen, OverrideKind::Disabled, OverrideKind::DryRun);
    same!(
        RejectReason::Open,
        RejectReason::ProbesBusy,
        RejectReason::ForcedOpen,
        RejectReason::NotReady,
        RejectReason::StoreDown,
        RejectReason::AwaitingVerdict,
        RejectReason::AwaitingLease,
    );
    same!(
        TransitionReason::Detected(Tally::failures(5)),
        TransitionReason::CooldownOver,
        TransitionReason::ProbesSucceeded,
        TransitionReason::ProbeFailed,
        TransitionReason::ProbeExpired,
        TransitionReason::ProbesInconclusive,
        TransitionReason::Tripped,
        TransitionReason::Reset,
        TransitionReason::Overridden,
        TransitionReason::Resumed,
        TransitionReason::OverrideExpired,
        TransitionReason::Voted(3),
    );
}
