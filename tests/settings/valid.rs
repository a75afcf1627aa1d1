//! Files that are right, as data: between them every field, in every form.

use serde_json::{Value, json};

pub(super) fn files() -> Vec<Value> {
    let failures = json!({ "type": "failures", "count": 3, "of_last": 10, "min_calls": 4 });
    let in_time = json!({ "type": "failures", "count": 3, "within": "1m" });
    let rate = json!({ "type": "failure_rate", "rate": 0.5, "within": "PT1M", "min_calls": 20 });
    let share = json!({ "type": "failure_rate", "rate": "50%", "of_last": 100 });
    let slow = json!({ "type": "slow_call_rate", "rate": 1, "slower_than": "1.5s", "of_last": 50, "min_calls": 10 });
    let slow_in_time =
        json!({ "type": "slow_call_rate", "rate": "12.5%", "slower_than": "00:00:02", "within": "1h 30m" });
    let in_a_row = json!({ "type": "consecutive_failures", "count": 5 });
    let nested = json!({ "type": "any", "of": [rate, { "all": [in_a_row, { "any": [failures, slow] }] }] });
    let whole = json!({
        "defaults": { "cooldown": "30s", "detector": share },
        "breakers": {
            "payments": {
                "detector": nested,
                "cooldown": { "type": "exponential", "min": "5s", "max": "5m", "factor": 3, "jitter": 0.2, "healthy_after": "10m" },
                "probes": { "needed": 3, "of": 5, "concurrent": 2, "deadline": "45s", "decide_within": "10m" },
                "abandoned_after": "10s",
                "retry_after_cap": "0s",
                "execution_log": 50,
                "call_events": true,
                "enabled": true,
                "outcomes": { "failures": ["5xx", 429, "UNAVAILABLE", "timeout"], "ignored": [501, "503", "NOT_FOUND", "connection_reset"] },
                "fleet": "ours",
            },
            "stepwise": { "cooldown": { "type": "linear", "min": "30s", "step": "30s", "max": "5m", "jitter": "5%", "healthy_after": "1h" } },
            "search": { "override": { "kind": "forced_open", "reason": "migration", "by": "ana", "expires_after": "1h" } },
            "empty": {},
        },
        "registries": {
            "hosts": {
                "max": 10_000,
                "idle": "1h",
                "cooldown": { "min": "5s", "max": "5m" },
                "detector": in_time,
                "fleet": { "mode": "votes", "votes": 3, "when_down": "admit", "instance_id": "pod-7" },
                "keys": { "slow.example": { "detector": slow_in_time, "enabled": false }, "other.example": { "cooldown": { "type": "fixed", "duration": "1s" } } },
            },
        },
        "retries": {
            "outbound": {
                "max_retries": 2,
                "backoff": { "type": "exponential", "min": "100ms", "max": "2s", "factor": 2.0, "jitter": "full" },
                "deadline": "10s",
                "attempt_timeout": "2s",
                "budget": { "type": "ratio", "ratio": 0.2, "reserve_per_second": 10, "window": "30s" },
                "retry_after_cap": "1m",
                "when_rejected": "wait",
                "seed": 7,
            },
            "decorrelated": { "backoff": { "type": "decorrelated", "min": "10ms", "max": "1s" }, "budget": "shared" },
            "fixed": { "backoff": { "type": "fixed", "delay": "1s", "jitter": "25%" }, "when_rejected": "retry" },
            "short": { "backoff": "1s" },
            "listed": { "backoff": ["10ms", "1s"], "when_rejected": "return" },
            "plain": { "backoff": { "min": "1s", "max": "10s", "jitter": 0.5 } },
            "linear": { "backoff": { "type": "linear", "min": "1s", "max": "10s", "step": "2s", "jitter": "none" } },
        },
        "budgets": { "shared": { "type": "tokens", "max_tokens": 10, "ratio": 0.1 } },
        "fleets": {
            "ours": { "mode": "pooled", "when_down": "reject", "flush_interval": "2s" },
            "theirs": { "votes": 2, "when_down": "local" },
            "plain": {},
        },
    });
    let older = json!({
        "breakers": {
            "a": { "detector": { "type": "time_based", "failure_threshold": 3, "time_window_seconds": 60.5 } },
            "b": { "detector": { "type": "sliding_window", "window_size": 20, "failure_rate_threshold": 0.25, "min_calls": 7 } },
            "c": {
                "detector": {
                    "type": "combined", "failure_threshold": 3, "time_window_seconds": 30, "window_size": 20,
                    "failure_rate_threshold": "25%", "min_calls": 7, "require_both": true,
                },
            },
            "d": { "detector": { "type": "all", "of": [{ "type": "combined" }] }, "override": { "kind": "dry_run", "reason": "x" } },
        },
    });
    vec![json!({}), whole, older, json!({ "registries": { "empty": {} }, "retries": { "empty": {} } })]
}
