//! Whether a store has a breaker.

use std::sync::Arc;

use fusebox::BoxError;
use fusebox::store::{Key, Store, StoreError};

/// How many other names an error tells.
const MOST: usize = 3;

/// An error where the store has no breaker of that name: one that is misspelt must not look like one that is well.
pub(crate) async fn expect_known(store: &Arc<dyn Store>, name: &str) -> Result<(), BoxError> {
    let key = Key::new(name);
    match store.load_each(&[key.as_str()]).await.pop() {
        Some(Ok(stored)) if stored.record.is_empty() && stored.adopted.is_none() => {}
        // Whatever is there is in the way.
        Some(Ok(_) | Err(StoreError::Foreign { .. } | StoreError::TooLarge { .. })) => return Ok(()),
        Some(Err(error)) => return Err(error.into()),
        None => return Err("the store gave no answer".into()),
    }
    let place = store.describe();
    let keys = match store.keys().await {
        Ok(keys) if keys.iter().any(|known| known == key.as_str()) => return Ok(()),
        Ok(keys) => keys,
        Err(error) => return Err(format!("no breaker {name:?} is in {place}, which lists none: {error}").into()),
    };
    let mut names: Vec<_> = keys.iter().filter_map(|key| Key::parse(key)?.name()).collect();
    names.sort_by_cached_key(|known| (distance(&known.to_lowercase(), &name.to_lowercase()), known.clone()));
    let known = match names.len() {
        0 => "it has none".to_owned(),
        count if count <= MOST => format!("known: {}", quoted(&names)),
        count => format!("nearest of {count}: {}", quoted(&names[..MOST])),
    };
    Err(format!("no breaker {name:?} is in {place}; {known}; --create makes it").into())
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// How many letters must be put in, left out or changed to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, others) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *others);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
