//! What listeners have heard of a store's side steps.

use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreTrouble;
use crate::time::Timestamp;

/// The troubles that were told lately or are not over, and when.
#[derive(Debug, Default)]
pub(super) struct Impairments(Vec<Told>);

#[derive(Debug)]
struct Told {
    at: Timestamp,
    trouble: Arc<StoreTrouble>,
    is_over: bool,
}

/// Listeners hear at most so often within this time, and of the same trouble once.
const MAX_TOLD: usize = 16;
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

impl Impairments {
    /// What is to be told of a trouble, unless listeners know.
    pub(super) fn news(&mut self, store: &Arc<str>, why: &str, now: Timestamp) -> Option<Arc<StoreTrouble>> {
        let is_recent = |told: &Told| now.since(told.at) < KNOWN_FOR;
        let recent = self.0.iter().filter(|told| is_recent(told)).count();
        let is_known = |told: &Told| is_recent(told) && !told.is_over && told.trouble.why() == why;
        if recent >= MAX_TOLD || self.0.iter().any(is_known) {
            return None;
        }
        self.0.retain(|told| is_recent(told) || !told.is_over && told.trouble.why() != why);
        if self.0.len() >= 2 * MAX_TOLD {
            self.0.remove(0);
        }
        let trouble = Arc::new(StoreTrouble::new(store.clone(), why.into()));
        self.0.push(Told { at: now, trouble: trouble.clone(), is_over: false });
        Some(trouble)
    }

    /// It is over: what is to be told of that, where listeners were told that it began.
    pub(super) fn end(&mut self, why: &str) -> Option<Arc<StoreTrouble>> {
        let told = self.0.iter_mut().find(|told| !told.is_over && told.trouble.why() == why)?;
        told.is_over = true;
        Some(told.trouble.clone())
    }

    /// Tells whether one was told that is not over.
    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|told| !told.is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_news_once_an_hour_and_not_too_many_are() {
        let (mut told, store) = (Impairments::default(), Arc::from("the attic"));
        let now = Timestamp::from_nanos(1_000_000_000);
        assert!(told.news(&store, "no right", now).is_some_and(|trouble| trouble.store() == "the attic"));
        assert!(told.news(&store, "no right", now + Duration::from_secs(3_599)).is_none());
        assert!(told.news(&store, "no right", now + KNOWN_FOR).is_some());
        let news = (0..100).filter(|nth| told.news(&store, &nth.to_string(), now + KNOWN_FOR).is_some()).count();
        assert_eq!(news, MAX_TOLD - 1);
    }

    #[test]
    fn the_end_of_one_is_told_to_those_who_heard_that_it_began() {
        let (mut told, store) = (Impairments::default(), Arc::from("the attic"));
        let day = |nth: u64| Timestamp::from_nanos(1) + Duration::from_secs(nth * 24 * 60 * 60);
        assert!(told.end("no right").is_none() && !told.is_any());
        let first = told.news(&store, "no right", day(0)).expect("news");
        assert!(told.news(&store, "no room", day(1)).is_some());
        assert!(Arc::ptr_eq(&told.end("no right").expect("it was told of"), &first), "however long ago it began");
        assert!(told.end("no right").is_none() && told.is_any());
        assert!(told.news(&store, "no right", day(1)).is_some(), "it begins anew");
        assert!(told.end("no room").is_some() && told.end("no right").is_some() && !told.is_any());
        // However many there are, and none ends, what is remembered is bounded.
        (0..100).for_each(|nth| drop(told.news(&store, &nth.to_string(), day(nth))));
        assert!(told.0.len() <= 2 * MAX_TOLD);
    }
}
