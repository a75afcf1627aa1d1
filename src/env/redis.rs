//! Redis and Valkey, at one address or behind Sentinels.

use std::sync::Arc;
use std::time::Duration;

use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};

use super::env_store::{EnvStore, Kind};
use super::place::Place;
use super::source::StoreSource;
use super::url::unreadable;
use crate::error::ConfigError;
use crate::store::{RedisStore, RedisStoreBuilder};

/// The port of a Sentinel that names none.
const SENTINEL: &str = "26379";

pub(super) async fn open(url: &str, place: &Place) -> Result<EnvStore, ConfigError> {
    let builder = || -> Result<_, ConfigError> {
        Ok(place.namespace.iter().fold(builder(url)?, |builder, given| builder.namespace(&given.value)))
    };
    // Two of a kind: a store that fails to connect is gone.
    let unconnected = builder()?.build().map_err(|error| match error.field() {
        "namespace" => place.named(&error),
        _ => unreadable(url),
    })?;
    let (store, degraded) = match builder()?.connect().await {
        Ok(store) => (store, None),
        Err(error) => (unconnected, Some(error)),
    };
    Ok(EnvStore::new(Kind::Redis, StoreSource::StoreUrl, Arc::new(store), degraded))
}

fn builder(url: &str) -> Result<RedisStoreBuilder, ConfigError> {
    let Some(rest) = url.strip_prefix("redis+sentinel://") else { return Ok(RedisStore::builder(url)) };
    let (client, sentinels) = sentinels(rest).ok_or_else(|| unreadable(url))?;
    // The driver waits up to a second for each that is silent; time must be left for one that answers, and the primary.
    let patience = Duration::from_secs(u64::from(sentinels) + 1);
    Ok(RedisStore::builder(client).connect_timeout(patience))
}

/// Reads `[user:password@]host[:port][,host[:port]..]/name[/database]`, and counts the hosts.
fn sentinels(rest: &str) -> Option<(SentinelClient, u32)> {
    let (hosts, path) = rest.split_once('/')?;
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return None;
    }
    let (user, hosts) = hosts.rsplit_once('@').unwrap_or(("", hosts));
    let addresses: Vec<_> = hosts.split(',').map(sentinel).collect::<Option<_>>()?;
    // What the primary wants to know has the form that it has in a plain URL.
    let primary = redis::Client::open(format!("redis://{user}@primary/{database}")).ok()?;
    let settings = primary.get_connection_info().redis_settings().clone();
    let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(settings);
    let count = u32::try_from(addresses.len()).ok()?;
    let client = SentinelClient::build(addresses, String::from(name), Some(node), SentinelServerType::Master).ok()?;
    Some((client, count))
}

fn sentinel(host: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return None;
    }
    // A colon within brackets is a part of an address.
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    Some(if behind.contains(':') { format!("redis://{host}") } else { format!("redis://{host}:{SENTINEL}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_told_apart_and_have_their_port() {
        for (host, address) in [
            ("a", Some("redis://a:26379")),
            ("a:1", Some("redis://a:1")),
            ("10.0.0.1", Some("redis://10.0.0.1:26379")),
            ("[::1]", Some("redis://[::1]:26379")),
            ("[::1]:1", Some("redis://[::1]:1")),
            ("", None),
            ("a/b", None),
            ("a b", None),
        ] {
            assert_eq!(sentinel(host).as_deref(), address, "{host}");
        }
    }

    #[test]
    fn sentinel_urls_are_read_whole_or_refused() {
        for good in ["a/main", "a,b:1,[::1]/main", "user:p%40ss@a/main/3", ":pass@a/my-main.2", "a/main/0"] {
            assert!(builder(&format!("redis+sentinel://{good}")).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "a/", "/main", "a,/main", "a/main/x", "a/main/1/2", "a/ma in", "a/main?s3cret", "s3cret@/main"]
        {
            let error = builder(&format!("redis+sentinel://{bad}")).map(|_| ()).expect_err(bad);
            assert_eq!(error.field(), "FUSEBOX_STORE_URL");
            assert!(error.given().starts_with("a `redis+sentinel://` URL that cannot be read"), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
