//! What changed, as the server's sorted sets tell it: one for each shard.

use std::sync::LazyLock;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use super::layout::SHARDS;
use super::script::MAX_CHANGES;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("changes.lua")));

/// How far a reader has got in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The set's first member; empty where there is no set yet.
    identity: String,
    /// The time of the newest name.
    newest: String,
}

/// Places in all shards.
pub(super) type Places = Vec<Place>;

/// What came of a look at one shard.
pub(super) struct Look {
    pub(super) is_restart: bool,
    pub(super) names: Vec<String>,
    pub(super) place: Place,
}

impl Place {
    /// A place that no set has.
    fn unknown() -> Self {
        Self { identity: "?".to_owned(), newest: "0".to_owned() }
    }
}

/// As a cursor has them, or as nothing knows them.
pub(super) fn places(cursor: Option<&Bytes>) -> Places {
    let read = |cursor: &Bytes| {
        let place = |text: &str| {
            let (identity, newest) = text.split_once('@')?;
            let is_number = !newest.is_empty() && newest.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| Place { identity: identity.to_owned(), newest: newest.to_owned() })
        };
        let places: Places = std::str::from_utf8(cursor).ok()?.split(',').map(place).collect::<Option<_>>()?;
        (places.len() == usize::from(SHARDS)).then_some(places)
    };
    cursor.and_then(read).unwrap_or_else(|| vec![Place::unknown(); usize::from(SHARDS)])
}

pub(super) fn cursor(places: &Places) -> Bytes {
    places.iter().map(|Place { identity, newest }| format!("{identity}@{newest}")).collect::<Vec<_>>().join(",").into()
}

/// Looks at sets of one server.
pub(super) async fn look(mut connection: MultiplexedConnection, sets: &[(&str, &Place)]) -> RedisResult<Vec<Look>> {
    let mut call = SCRIPT.prepare_invoke();
    call.arg(MAX_CHANGES + 1);
    for (key, place) in sets {
        call.key(key).arg(&place.identity).arg(&place.newest);
    }
    let answers: Vec<(u8, String, String, Vec<String>)> = call.invoke_async(&mut connection).await?;
    let look =
        |(code, identity, newest, names)| Look { is_restart: code == 2, names, place: Place { identity, newest } };
    Ok(answers.into_iter().map(look).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_from_their_cursor() {
        let mut known = vec![Place { identity: String::new(), newest: "0".to_owned() }; usize::from(SHARDS)];
        known[3] = Place { identity: "#17".to_owned(), newest: "1700000000000001".to_owned() };
        assert_eq!(places(Some(&cursor(&known))), known);
        for senseless in ["", "no cursor", "#1@x", "@0"] {
            assert_eq!(places(Some(&Bytes::from(senseless))), vec![Place::unknown(); usize::from(SHARDS)]);
        }
    }
}
