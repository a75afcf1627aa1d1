//! A subscriber that keeps what it is told, as data.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, subscriber};

static TOLD: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// Begins to keep what the process tells from now on.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| subscriber::set_global_default(Capture::default()).expect("the only subscriber"));
}

/// What was told so far with such a field, the oldest first. Each is an object of its fields; `level`, `target`, and, if it
/// was told in one, the innermost `span`.
pub(crate) fn told_with(field: &str, value: impl Into<Value>) -> Vec<Value> {
    let value = value.into();
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.iter().filter(|event| event.get(field) == Some(&value)).cloned().collect()
}

/// What was told of a breaker of that name, without the numbers of generations, which must follow each other.
pub(crate) fn told_of(breaker: &str) -> Vec<Value> {
    let mut told = told_with("breaker", breaker);
    let generations: Vec<_> = told.iter_mut().filter_map(|event| event.as_object_mut()?.remove("generation")).collect();
    let generations: Vec<_> = generations.iter().map(|generation| generation.as_u64().expect("a number")).collect();
    assert!(generations.is_sorted_by(|a, b| a + 1 == *b), "{breaker}: {generations:?}");
    told
}

/// The messages of such.
pub(crate) fn messages(told: &[Value]) -> Vec<&str> {
    told.iter().map(|event| event["message"].as_str().expect("a message")).collect()
}

thread_local!(static SPANS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) });

#[derive(Default)]
struct Capture {
    spans: AtomicU64,
    names: Mutex<Vec<&'static str>>,
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() || metadata.target().starts_with("fusebox")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(span.metadata().name());
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        fields.0.insert("level".to_owned(), json!(metadata.level().to_string()));
        fields.0.insert("target".to_owned(), json!(metadata.target()));
        if let Some(span) = SPANS.with_borrow(|spans| spans.last().copied()) {
            fields.0.insert("span".to_owned(), json!(span));
        }
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(Value::Object(fields.0));
    }

    fn enter(&self, span: &Id) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(span.into_u64()).expect("a small number") - 1;
        SPANS.with_borrow_mut(|spans| spans.push(names[at]));
    }

    fn exit(&self, _span: &Id) {
        SPANS.with_borrow_mut(|spans| spans.pop());
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        assert_eq!(field.name(), "message", "the other fields are numbers, texts and flags");
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }
}

/// Tells whether an event is one that operators see who look at no single calls.
pub(crate) fn is_seen(event: &Value) -> bool {
    let level: Level = event["level"].as_str().expect("a level").parse().expect("a level");
    level <= Level::INFO
}
