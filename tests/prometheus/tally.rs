//! What the application itself has counted, and how it is compared with what Prometheus has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use fusebox::retry::{RetryEvent, RetryEventKind};
use fusebox::{Event, EventKind, State};

use crate::server::Prometheus;

pub(crate) type Labels = BTreeMap<String, String>;

/// Labels by name. An empty one is none, as it is for Prometheus.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let stated = pairs.iter().filter(|(_, value)| !value.is_empty());
    stated.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Series by family and labels, as the application has counted them by its own services, callers and listeners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<(&'static str, Labels), f64>>>);

/// A breaker: its name where it is made by hand, and its registry's where a registry has made it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) breaker: String,
    pub(crate) registry: String,
}

impl Subject {
    pub(crate) fn breaker(name: &str) -> Self {
        Self { breaker: name.to_owned(), registry: String::new() }
    }

    pub(crate) fn registry(name: &str) -> Self {
        Self { breaker: String::new(), registry: name.to_owned() }
    }

    fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Labels {
        labels(&[&[("breaker", &*self.breaker), ("registry", &*self.registry)], more].concat())
    }
}

/// Families in which the application knows of everything: what it has not counted is zero.
const WHOLE: [&str; 12] = [
    "fusebox_breaker_calls_total",
    "fusebox_breaker_slow_calls_total",
    "fusebox_breaker_rejected_calls_total",
    "fusebox_breaker_transitions_total",
    "fusebox_breaker_override",
    "fusebox_registry_breakers",
    "fusebox_retry_calls_total",
    "fusebox_retry_attempts_total",
    "fusebox_retry_rejected_attempts_total",
    "fusebox_retry_retries_total",
    "fusebox_retry_recovered_total",
    "fusebox_retry_stopped_total",
];

impl Tally {
    pub(crate) fn add(&self, family: &'static str, labels: Labels, by: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((family, labels)).or_default() += by;
    }

    pub(crate) fn of(&self, family: &'static str, wanted: &[(&str, &str)]) -> f64 {
        let wanted = labels(wanted);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let like = all
            .iter()
            .filter(|((of, labels), _)| *of == family && wanted.iter().all(|one| labels.get(one.0) == Some(one.1)));
        like.map(|(_, count)| count).sum()
    }

    pub(crate) fn call(&self, subject: &Subject, outcome: &str) {
        self.add("fusebox_breaker_calls_total", subject.with(&[("outcome", outcome)]), 1.0);
    }

    pub(crate) fn rejection(&self, subject: &Subject, reason: &str) {
        self.add("fusebox_breaker_rejected_calls_total", subject.with(&[("reason", reason)]), 1.0);
    }

    /// A breaker is there, and closed.
    pub(crate) fn made(&self, subject: &Subject) {
        self.stands(subject, State::Closed, 1.0);
    }

    fn stands(&self, subject: &Subject, state: State, by: f64) {
        let family = if subject.breaker.is_empty() { "fusebox_registry_breakers" } else { "fusebox_breaker_state" };
        self.add(family, subject.with(&[("state", state.as_str())]), by);
    }

    /// What a breaker's listener hears.
    pub(crate) fn hear(&self, subject: &Subject, event: &Event) {
        match event.kind() {
            EventKind::StateChanged { from, to, reason, .. } => {
                let what = [("from", from.as_str()), ("to", to.as_str()), ("cause", reason.as_str())];
                let labels = subject.with(&[&what[..], &[("origin", event.origin().as_str())]].concat());
                self.add("fusebox_breaker_transitions_total", labels, 1.0);
                self.stands(subject, from, -1.0);
                self.stands(subject, to, 1.0);
            }
            EventKind::WouldOpen { .. } => self.add("fusebox_breaker_would_open_total", subject.with(&[]), 1.0),
            EventKind::DetectorPanicked => self.add("fusebox_breaker_detector_panics_total", subject.with(&[]), 1.0),
            _ => {}
        }
    }

    /// What the listener of a retry hears: what becomes of a call, and how long it waits. The attempts are counted by what is
    /// called.
    pub(crate) fn hear_retry(&self, retry: &str, event: &RetryEvent) {
        let add = |family, more: &[(&str, &str)], by| {
            self.add(family, labels(&[&[("retry", retry)], more].concat()), by);
        };
        match event.kind() {
            RetryEventKind::Retrying { after, .. } => {
                add("fusebox_retry_retries_total", &[], 1.0);
                add("fusebox_retry_delay_seconds_total", &[], after.as_secs_f64());
            }
            RetryEventKind::Succeeded => add("fusebox_retry_recovered_total", &[], 1.0),
            RetryEventKind::Stopped { reason, .. } => {
                add("fusebox_retry_stopped_total", &[("reason", reason.as_str())], 1.0);
            }
            _ => {}
        }
    }

    /// Compares everything that was counted with what a job showed at that time, and everything of these breakers, registries
    /// and retries that it showed with what was counted. Returns how many series were counted.
    pub(crate) async fn compare(&self, prometheus: &Prometheus, job: &str, at: f64) -> usize {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names: BTreeSet<_> = expected.keys().flat_map(|(_, labels)| subjects(labels)).collect();
        let families: BTreeSet<_> = expected.keys().map(|(family, _)| *family).chain(WHOLE).collect();
        let mut compared = 0;
        for family in families {
            let shown: BTreeMap<Labels, f64> = prometheus
                .query_at(&format!("{family}{{job=\"{job}\"}}"), at)
                .await
                .into_iter()
                .map(|answer| (own(&answer.labels), answer.value()))
                .collect();
            for ((_, labels), count) in expected.iter().filter(|((of, _), _)| *of == family) {
                let seen = shown.get(labels).copied();
                let fits = seen.is_some_and(|seen| is_same(family, job, seen, *count));
                assert!(fits || *count == 0.0 && seen.is_none(), "{job}: {family} {labels:?}: {count}, not {seen:?}");
                compared += 1;
            }
            for (labels, seen) in shown.iter().filter(|_| WHOLE.contains(&family)) {
                let is_known = expected.contains_key(&(family, labels.clone()));
                let is_ours = subjects(labels).all(|name| names.contains(&name));
                assert!(
                    is_known || !is_ours || *seen == 0.0,
                    "{job}: {family} {labels:?}: {seen}, which was not counted"
                );
            }
        }
        compared
    }
}

/// Times are sums of many floats, and whole seconds for the facade.
fn is_same(family: &str, job: &str, seen: f64, counted: f64) -> bool {
    match family.contains("_seconds") {
        true if job == "facade" => seen == (counted + 1e-6).floor(),
        true => (seen - counted).abs() < 1e-6,
        false => seen == counted,
    }
}

/// What the labels are about.
fn subjects(labels: &Labels) -> impl Iterator<Item = String> + '_ {
    ["breaker", "registry", "retry"].into_iter().filter_map(|name| labels.get(name).cloned())
}

/// The labels that the application gives.
fn own(all: &Labels) -> Labels {
    let added = ["__name__", "job", "instance"];
    all.iter()
        .filter(|(name, _)| !added.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
