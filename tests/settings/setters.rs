//! Every setter has a field, and every field is a setter: by the source on the one side, and the schema on the other.

use std::collections::BTreeSet;

use serde_json::Value;

/// The setters of a type, by its source: public methods that take it and give it back.
fn setters(source: &str, of: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_within = false;
    let mut is_old = false;
    for line in source.lines() {
        if line.starts_with("impl") {
            let head = line.split(" where").next().unwrap_or(line).trim_end_matches(" {");
            let bare = head.split('<').next().unwrap_or(head);
            is_within = !head.contains(" for ")
                && (head.split_whitespace().last().is_some_and(|name| name.split('<').next() == Some(of))
                    || bare == of);
        }
        is_old |= line.trim_start().starts_with("#[deprecated");
        let signature = line.trim_start();
        let Some(rest) = signature.strip_prefix("pub fn ").or_else(|| signature.strip_prefix("pub const fn ")) else {
            continue;
        };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let takes_itself = rest.contains("(self,") || rest.contains("(mut self,") || rest.ends_with('(');
        if is_within && takes_itself && !std::mem::take(&mut is_old) {
            names.insert(name);
        }
    }
    names
}

/// The fields of a table, by the schema, in all its variants.
fn fields(schema: &Value, table: &str) -> BTreeSet<String> {
    let table = &schema["$defs"][table];
    let variants = table["oneOf"].as_array().cloned().unwrap_or_else(|| vec![table.clone()]);
    let names =
        |variant: &Value| variant["properties"].as_object().expect("a table").keys().cloned().collect::<Vec<_>>();
    variants.iter().flat_map(names).collect()
}

/// `only_code`: what a file cannot say; `only_file`: what is no setter.
fn compare(schema: &Value, table: &str, setters: &BTreeSet<String>, only_code: &[&str], only_file: &[&str]) {
    let fields = fields(schema, table);
    for name in only_code {
        assert!(setters.contains(*name) && !fields.contains(*name), "{table}: `{name}` is not of code only");
    }
    for name in only_file {
        assert!(fields.contains(*name) && !setters.contains(*name), "{table}: `{name}` is not of files only");
    }
    let set: BTreeSet<_> = setters.iter().filter(|name| !only_code.contains(&name.as_str())).collect();
    let read: BTreeSet<_> = fields.iter().filter(|name| !only_file.contains(&name.as_str())).collect();
    assert_eq!(set, read, "{table}: setters on the left, fields on the right");
}

#[test]
fn every_setter_has_a_field_and_every_field_is_a_setter() {
    let schema: Value = serde_json::from_str(&fusebox::settings::schema()).expect("JSON");
    let breaker = setters(include_str!("../../src/breaker/builder.rs"), "CircuitBreakerConfigBuilder");
    // `enabled` and `override` are two ways to say `initial_override`.
    compare(
        &schema,
        "breaker",
        &breaker,
        &["on_state_change", "on_event", "clock", "store", "initial_override"],
        &["enabled", "override"],
    );
    let mut registry = setters(include_str!("../../src/breaker/registry.rs"), "Registry");
    let of_template = breaker.iter().filter(|name| fields(&schema, "breaker").contains(*name)).cloned();
    registry.extend(of_template);
    // Its name stands in front of its table.
    compare(&schema, "registry", &registry, &["named"], &["enabled", "override", "keys"]);
    let retry = setters(include_str!("../../src/attempts/builder.rs"), "RetryConfigBuilder");
    compare(&schema, "retry", &retry, &["on_retry", "on_event", "stats"], &[]);
    let budget = setters(include_str!("../../src/attempts/budget.rs"), "Budget");
    compare(&schema, "budget", &budget, &["clock"], &["type", "ratio", "max_tokens"]);
    let cooldown = setters(include_str!("../../src/circuit/cooldown.rs"), "Cooldown");
    compare(&schema, "cooldown", &cooldown, &[], &["type", "min", "max", "step", "duration"]);
    let probes = setters(include_str!("../../src/circuit/probes.rs"), "Probes");
    compare(&schema, "probes", &probes, &[], &["needed", "of"]);
    let hold = setters(include_str!("../../src/circuit/overrides.rs"), "Override");
    compare(&schema, "override", &hold, &[], &["kind", "reason"]);
    let fleet = setters(include_str!("../../src/fleet/config.rs"), "Fleet");
    compare(&schema, "fleet", &fleet, &[], &["mode", "votes"]);
    let curves = [
        (include_str!("../../src/backoff/exponential.rs"), "Exponential"),
        (include_str!("../../src/backoff/linear.rs"), "Linear"),
        (include_str!("../../src/backoff/decorrelated.rs"), "Decorrelated"),
        (include_str!("../../src/backoff/fixed.rs"), "Fixed"),
    ];
    let backoff = curves.iter().flat_map(|(source, of)| setters(source, of)).collect();
    compare(&schema, "backoff", &backoff, &[], &["type", "min", "max", "step", "delay"]);
    let detectors = [
        (include_str!("../../src/circuit/detector/rates.rs"), "Failures"),
        (include_str!("../../src/circuit/detector/rates.rs"), "FailureRate"),
        (include_str!("../../src/circuit/detector/rates.rs"), "SlowCallRate"),
        (include_str!("../../src/circuit/detector/rates.rs"), "SlowCallRateOver"),
        (include_str!("../../src/circuit/detector/of_last.rs"), "OfLast"),
        (include_str!("../../src/circuit/detector/within.rs"), "Within"),
        (include_str!("../../src/circuit/detector/failure_times.rs"), "FailureTimes"),
        (include_str!("../../src/circuit/detector/consecutive.rs"), "ConsecutiveFailures"),
    ];
    let detector = detectors.iter().flat_map(|(source, of)| setters(source, of)).collect();
    let older = ["failure_threshold", "time_window_seconds", "window_size", "failure_rate_threshold", "require_both"];
    let begun_by = ["type", "count", "rate", "of", "any", "all"];
    compare(&schema, "detector", &detector, &[], &[&older[..], &begun_by].concat());
}
