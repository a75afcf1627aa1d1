//! The nodes of a cluster: where they are, and who owns which slots.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{Client, ConnectionAddr, RedisResult, Value, from_redis_value};

use crate::clock::fresh_seed;
use crate::one_line::OneLine;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `host:port`, where an IPv6 address has no brackets and an empty host means the one that was asked.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    fn of(client: &Client) -> Option<Self> {
        match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }

    /// The address with a host, where it is that of the node that said it.
    pub(super) fn or_at(mut self, asked: &Client) -> Self {
        if self.host.is_empty()
            && let Some(asked) = Self::of(asked)
        {
            self.host = asked.host;
        }
        self
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", OneLine(&self.host), self.port)
    }
}

/// The addresses of a cluster's nodes. Never empty.
pub(super) struct Nodes {
    seeds: Vec<Client>,
    known: Mutex<Vec<Address>>,
    turn: AtomicUsize,
}

impl Nodes {
    /// `None` where one of them cannot be a cluster's node, or there is none.
    pub(super) fn new(seeds: Vec<Client>) -> Option<Self> {
        let is_node =
            |seed: &Client| Address::of(seed).is_some() && seed.get_connection_info().redis_settings().db() == 0;
        // Instances that start together do not all ask the same node.
        let turn = AtomicUsize::new(usize::try_from(fresh_seed() >> 33).unwrap_or(0));
        let are_nodes = !seeds.is_empty() && seeds.iter().all(is_node);
        are_nodes.then(|| Self { seeds, known: Mutex::default(), turn })
    }

    /// How to reach a node: as the first seed, but for the address.
    pub(super) fn client(&self, address: &Address) -> RedisResult<Client> {
        let info = self.seeds[0].get_connection_info().clone();
        let Address { host, port } = address.clone();
        let addr = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Client::open(info.set_addr(addr))
    }

    /// Every node that was ever heard of, beginning with another one each time.
    pub(super) fn all(&self) -> Vec<Client> {
        let known = self.known().clone();
        let is_new = |seed: &&Client| Address::of(seed).is_none_or(|address| !known.contains(&address));
        let seeds = self.seeds.iter().filter(is_new).cloned();
        let mut all: Vec<_> = known.iter().filter_map(|address| self.client(address).ok()).chain(seeds).collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        all.rotate_left(first);
        all
    }

    /// Another node each time.
    pub(super) fn next(&self) -> Client {
        self.all().into_iter().next().unwrap_or_else(|| self.seeds[0].clone())
    }

    pub(super) fn learn(&self, known: Vec<Address>) {
        *self.known() = known;
    }

    fn known(&self) -> MutexGuard<'_, Vec<Address>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cluster with")?;
        self.seeds.iter().try_for_each(|seed| write!(f, " {}", seed.get_connection_info().addr()))
    }
}

/// Slots, and the nodes that hold them: first the one that owns them, then its replicas.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) slots: RangeInclusive<u16>,
    pub(super) nodes: Vec<Address>,
}

/// Reads the answer to `CLUSTER SLOTS`.
pub(super) fn ranges(answer: Value, asked: &Client) -> RedisResult<Vec<Range>> {
    let rows: Vec<Vec<Value>> = from_redis_value(answer)?;
    rows.into_iter().map(|row| range(row, asked)).collect()
}

fn range(row: Vec<Value>, asked: &Client) -> RedisResult<Range> {
    let mut row = row.into_iter();
    let mut number = || from_redis_value::<u16>(row.next().unwrap_or(Value::Nil));
    let slots = number()?..=number()?;
    let nodes = row.filter_map(|node| node_address(node, asked)).collect();
    Ok(Range { slots, nodes })
}

/// Reads the beginning of a node: host and port. More may follow.
fn node_address(node: Value, asked: &Client) -> Option<Address> {
    let Value::Array(fields) = node else { return None };
    let mut fields = fields.into_iter();
    // None or empty: the server does not know under what name it was reached.
    let host = from_redis_value::<Option<String>>(fields.next()?).ok()?.unwrap_or_default();
    let port = from_redis_value(fields.next()?).ok()?;
    // It should be called by a name and has none.
    (host != "?").then(|| Address { host, port }.or_at(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        Client::open(url).unwrap()
    }

    #[test]
    fn what_a_node_leaves_out_is_what_it_was_asked_under() {
        let text = "*2\r\n*4\r\n:0\r\n:8191\r\n*2\r\n$-1\r\n:7001\r\n*3\r\n$8\r\n10.0.0.2\r\n:7002\r\n$2\r\nid\r\n\
                    *3\r\n:8192\r\n:16383\r\n*2\r\n$1\r\n?\r\n:7003\r\n";
        let answer = redis::parse_redis_value(text.as_bytes()).unwrap();
        let ranges = ranges(answer, &client("redis://seed:7000")).unwrap();
        let shown: Vec<String> = ranges[0].nodes.iter().map(ToString::to_string).collect();
        assert_eq!((ranges[0].slots.clone(), shown), (0..=8191, vec!["seed:7001".into(), "10.0.0.2:7002".into()]));
        assert_eq!((ranges[1].slots.clone(), ranges[1].nodes.len()), (8192..=16383, 0));
    }

    #[test]
    fn every_node_has_its_turn_once() {
        let nodes = Nodes::new(vec![client("redis://:pw@a:1"), client("redis://b:2")]).unwrap();
        nodes.learn(vec![Address::parse("b:2").unwrap(), Address::parse("::1:3").unwrap()]);
        let mut asked: Vec<String> = (0..3).map(|_| nodes.next().get_connection_info().addr().to_string()).collect();
        asked.sort();
        assert_eq!(asked, ["::1:3", "a:1", "b:2"]);
        let learnt = nodes.client(&Address::parse("::1:3").unwrap()).unwrap();
        assert_eq!(learnt.get_connection_info().redis_settings().password(), Some("pw"));
    }

    #[test]
    fn what_cannot_be_a_node_is_refused() {
        assert!(Nodes::new(vec![]).is_none());
        assert!(Nodes::new(vec![client("redis://a/1")]).is_none(), "a cluster has one database");
    }
}
