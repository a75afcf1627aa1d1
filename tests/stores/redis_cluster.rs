//! The store in a Redis cluster: real nodes that fail, freeze and hand slots on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{self, Commit, Committed, Notice, RedisServer, RedisStore, Store, StoreError, Stored, Version};
use fusebox::{CircuitBreaker, EventKind};
use tokio::time::{Instant, sleep};

use crate::redis::{applied, newest, next, until_lagged, write};
use crate::servers::Redis;
use crate::side_steps::{Instance, fail, until};

/// Nodes of a cluster: three that own a third of the slots each, and a replica of the first.
#[derive(Debug)]
struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// One that nothing is to happen to: it does not take a node for dead that only had to wait for a processor.
    async fn start() -> Self {
        Self::start_with(10_000).await
    }

    /// One that soon notices when a node is gone.
    async fn start_wary() -> Self {
        Self::start_with(2_000).await
    }

    async fn start_with(node_timeout: u32) -> Self {
        let node_timeout = node_timeout.to_string();
        let options = [
            ["--cluster-enabled", "yes"],
            ["--cluster-config-file", "nodes.conf"],
            ["--cluster-node-timeout", &node_timeout],
            // What one node owns is no concern of the others.
            ["--cluster-require-full-coverage", "no"],
            ["--cluster-replica-validity-factor", "0"],
            ["--repl-diskless-sync-delay", "0"],
        ];
        let mut nodes = Vec::new();
        for _ in 0..4 {
            nodes.push(Redis::start_with(options.as_flattened()).await);
        }
        let cluster = Self { nodes };
        let owners = &cluster.nodes[..3];
        for (number, (node, slots)) in (1..).zip(owners.iter().zip([0..5_461, 5_461..10_923, 10_923..16_384_u16])) {
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            node.command(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
            node.command(&format!("CLUSTER SET-CONFIG-EPOCH {number}")).await;
        }
        for node in &cluster.nodes[1..] {
            node.command(&format!("CLUSTER MEET 127.0.0.1 {}", cluster.nodes[0].port())).await;
        }
        for node in &cluster.nodes {
            until_it_says(node, "CLUSTER INFO", "cluster_known_nodes:4").await;
        }
        let first = cluster.id(0).await;
        cluster.nodes[3].command(&format!("CLUSTER REPLICATE {first}")).await;
        until_it_says(&cluster.nodes[3], "INFO replication", "master_link_status:up").await;
        for node in &cluster.nodes {
            until_it_says(node, "CLUSTER INFO", "cluster_state:ok").await;
            // Whoever does not know of the replica would not vote for it.
            until_it_says(node, "CLUSTER NODES", &format!("slave {first}")).await;
        }
        cluster
    }

    async fn id(&self, node: usize) -> String {
        redis::from_redis_value(self.nodes[node].command("CLUSTER MYID").await).expect("an id")
    }

    /// Some of the addresses, as a user gives them.
    fn urls(&self) -> Vec<String> {
        self.nodes[..2].iter().map(Redis::url).collect()
    }
}

/// Asks a node until the answer has something in it.
pub(crate) async fn until_it_says(node: &Redis, command: &str, part: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = format!("{:?}", node.command(command).await);
        if answer.contains(part) {
            return;
        }
        assert!(Instant::now() < until, "no {part} in {answer}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Names whose records are on the first node, which has a replica, and on the second.
const ON_FIRST: &str = "g";
const ON_SECOND: &str = "a";

async fn store_of(cluster: &Cluster) -> RedisStore {
    RedisStore::connect(RedisServer::cluster(cluster.urls())).await.expect("connects")
}

/// Reads and writes until a write is applied.
async fn when_written(store: &RedisStore, key: &str, within: Duration) -> Version {
    let until = Instant::now() + within;
    loop {
        let written = match newest(store, key).await {
            Ok(Stored { version, .. }) => store.commit(key, write(version, "after")).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(Committed::Applied { version, .. }) => return version,
            other => assert!(Instant::now() < until, "not back: {other:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn telling(expected: Version, text: &'static str) -> Commit {
    let mut commit = write(expected, text);
    commit.notice = Some(Bytes::from_static(text.as_bytes()));
    commit
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_combines_and_pushes() {
    let cluster = Cluster::start().await;
    let passed = store::conformance(Arc::new(store_of(&cluster).await)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}

#[tokio::test]
async fn the_first_operation_asks_for_the_nodes_by_itself() {
    let cluster = Cluster::start().await;
    let store = || RedisStore::builder(RedisServer::cluster(cluster.urls())).build().expect("URLs");
    applied(&store(), ON_FIRST, write(Version::NONE, "x")).await;
    let store = store();
    let loaded = store.load(&[ON_SECOND, ON_FIRST]).await.expect("from two nodes at once");
    assert!(loaded[0].record.is_empty() && loaded[1].record == "x", "{loaded:?}");
}

#[tokio::test]
async fn names_are_those_of_a_single_server_and_spread_over_the_nodes() {
    let (cluster, single) = (Cluster::start().await, Redis::start().await);
    let store = store_of(&cluster).await;
    let other = RedisStore::connect(single.url()).await.expect("connects");
    let mut names: Vec<String> = (0..48).map(|number| format!("breaker-{number}")).collect();
    for name in &names {
        applied(&store, name, write(Version::NONE, name)).await;
        applied(&other, name, write(Version::NONE, name)).await;
    }
    let keys = async |server: &Redis| -> Vec<String> {
        redis::from_redis_value(server.command("KEYS *").await).expect("keys")
    };
    let mut spread = Vec::new();
    for node in &cluster.nodes[..3] {
        let here = keys(node).await;
        assert!(here.len() > 3, "{here:?}");
        spread.extend(here);
    }
    let mut all = keys(&single).await;
    all.sort();
    spread.sort();
    assert_eq!(spread, all);

    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let loaded = store.load(&asked).await.expect("from all nodes at once");
    let records: Vec<&[u8]> = loaded.iter().map(|stored| &stored.record[..]).collect();
    assert_eq!(records, names.iter().map(String::as_bytes).collect::<Vec<_>>(), "in order");

    names.sort();
    let elsewhere = RedisStore::builder(RedisServer::cluster(cluster.urls())).namespace("other").connect().await;
    applied(&elsewhere.expect("connects"), "of another namespace", write(Version::NONE, "x")).await;
    assert_eq!(store.keys().await.expect("from all nodes"), names);
    assert_eq!(other.keys().await.expect("from one server"), names);
}

#[tokio::test]
async fn where_a_node_was_killed_its_replica_goes_on_and_watchers_are_told() {
    let mut cluster = Cluster::start_wary().await;
    let store = store_of(&cluster).await;
    let mut notices = store.watch();
    until_lagged(&mut notices).await;
    // Whoever listens elsewhere would not notice.
    let is_heard =
        async |node: &Redis| format!("{:?}", node.command("CLIENT LIST TYPE pubsub").await).contains("sub=16");
    for tries in 0.. {
        assert!(tries < 12, "every node has its turn");
        if is_heard(&cluster.nodes[0]).await {
            break;
        }
        for node in &cluster.nodes[1..] {
            if is_heard(node).await {
                node.command("CLIENT KILL TYPE pubsub").await;
                until_lagged(&mut notices).await;
            }
        }
    }
    let elsewhere = applied(&store, ON_SECOND, write(Version::NONE, "before")).await;
    let before = applied(&store, ON_FIRST, telling(Version::NONE, "before")).await;
    assert_eq!(next(&mut notices).await, Notice::changed(ON_FIRST.into(), before, Bytes::from_static(b"before")));

    cluster.nodes[0].kill();
    let error = newest(&store, ON_FIRST).await.expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(newest(&store, ON_SECOND).await.expect("not its concern").version, elsewhere);
    let after = when_written(&store, ON_FIRST, Duration::from_secs(20)).await;
    assert!(after > before);
    until_lagged(&mut notices).await;
    let told = applied(&store, ON_FIRST, telling(after, "told")).await;
    assert_eq!(next(&mut notices).await, Notice::changed(ON_FIRST.into(), told, Bytes::from_static(b"told")));
}

#[tokio::test]
async fn where_a_node_froze_its_replica_goes_on_and_others_are_not_held_up() {
    let cluster = Cluster::start_wary().await;
    let limit = Duration::from_millis(200);
    let store = RedisStore::builder(RedisServer::cluster(cluster.urls())).timeout(limit).connect().await;
    let store = store.expect("connects");
    let before = applied(&store, ON_FIRST, write(Version::NONE, "before")).await;
    let mut elsewhere = applied(&store, ON_SECOND, write(Version::NONE, "before")).await;

    cluster.nodes[0].freeze();
    let until = Instant::now() + Duration::from_secs(20);
    let after = loop {
        let asked = Instant::now();
        let answer = store.commit(ON_FIRST, write(before, "after")).await;
        assert!(asked.elapsed() < 3 * limit, "{:?}", asked.elapsed());
        match answer {
            Ok(Committed::Applied { version, .. }) => break version,
            // What it had not yet passed on is lost.
            Ok(Committed::Conflict(stored)) => break stored.version,
            other => assert!(Instant::now() < until, "not back: {other:?}"),
        }
        elsewhere = applied(&store, ON_SECOND, write(elsewhere, "meanwhile")).await;
        sleep(Duration::from_millis(20)).await;
    };
    cluster.nodes[0].thaw();
    until_it_says(&cluster.nodes[0], "INFO replication", "role:slave").await;
    let written = when_written(&store, ON_FIRST, Duration::from_secs(5)).await;
    assert!(written > after);
}

#[tokio::test]
async fn c55_a_node_that_is_gone_is_the_trouble_of_its_breakers_alone() {
    let mut cluster = Cluster::start_wary().await;
    let instances = [Instance::over(store_of(&cluster).await), Instance::over(store_of(&cluster).await)];
    let lost = instances.each_ref().map(|instance| instance.breaker(ON_SECOND));
    let neighbours = instances.each_ref().map(|instance| instance.breaker(ON_FIRST));
    for breaker in lost.iter().chain(&neighbours) {
        fail(breaker, 1);
        breaker.flush().await;
    }
    // It has no replica.
    cluster.nodes[1].kill();
    fail(&lost[0], 1);
    until("it shows", || lost[0].snapshot().fleet.is_some_and(|fleet| fleet.trouble.is_some())).await;
    fail(&neighbours[0], 1);
    until("the fleet of the neighbour opens", || neighbours.iter().all(CircuitBreaker::is_open)).await;
    let status = neighbours[0].snapshot().fleet.expect("shared");
    assert!(status.away.is_none() && status.trouble.is_none(), "{status:?}");
    fail(&lost[0], 1);
    until("what is lost goes on by itself", || lost[0].is_open()).await;
    cluster.nodes[1].start_again().await;
    until("it is found again", || lost.iter().all(CircuitBreaker::is_open)).await;
    for instance in &instances {
        assert_eq!(instance.count(EventKind::StoreDegraded), 0, "the store is there");
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_breakers_along() {
    let cluster = Cluster::start().await;
    let store = store_of(&cluster).await;
    let before = applied(&store, ON_SECOND, write(Version::NONE, "before")).await;
    let (from, to) = (&cluster.nodes[1], &cluster.nodes[0]);
    let keys: Vec<String> = redis::from_redis_value(from.command("KEYS *:r:*").await).expect("keys");
    let slot: u16 =
        redis::from_redis_value(from.command(&format!("CLUSTER KEYSLOT {}", keys[0])).await).expect("a slot");
    to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", cluster.id(1).await)).await;
    from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", cluster.id(0).await)).await;

    let error = store.commit(ON_SECOND, write(before, "amid")).await.expect_err("between two nodes");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    from.command(&format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port(), keys[0])).await;
    let error = store.commit(ON_SECOND, write(before, "amid")).await.expect_err("still between two nodes");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");

    for node in [to, from] {
        node.command(&format!("CLUSTER SETSLOT {slot} NODE {}", cluster.id(0).await)).await;
    }
    // Followed within the same call.
    let after = applied(&store, ON_SECOND, write(before, "after")).await;
    assert_eq!(newest(&store, ON_SECOND).await.expect("an answer").version, after);
}

#[tokio::test]
async fn a_store_that_started_without_its_cluster_finds_it() {
    let mut cluster = Cluster::start_wary().await;
    let urls = cluster.urls();
    for node in &mut cluster.nodes {
        node.kill();
    }
    let error = RedisStore::connect(RedisServer::cluster(urls.clone())).await.expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    let store = RedisStore::builder(RedisServer::cluster(urls)).build().expect("URLs");
    let mut notices = store.watch();
    assert!(newest(&store, ON_FIRST).await.is_err());
    for node in &mut cluster.nodes {
        node.start_again().await;
    }
    when_written(&store, ON_FIRST, Duration::from_secs(20)).await;
    when_written(&store, ON_SECOND, Duration::from_secs(20)).await;
    until_lagged(&mut notices).await;
}

#[tokio::test]
async fn what_is_no_cluster_and_what_is_one_are_told_apart() {
    let cluster = Cluster::start().await;
    let alone = RedisStore::connect(cluster.nodes[0].url()).await.expect("it answers");
    let error = newest(&alone, ON_SECOND).await.expect_err("elsewhere");
    assert!(
        matches!(&error, StoreError::Refused(reason) if reason.to_string().contains("RedisServer::cluster")),
        "{error:?}"
    );
    let single = Redis::start().await;
    let error = RedisStore::connect(RedisServer::cluster([single.url()])).await.expect_err("no cluster");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}

#[test]
fn nodes_that_cannot_be_are_named() {
    let empty: [&str; 0] = [];
    for nodes in
        [RedisServer::cluster(empty), RedisServer::cluster(["redis://h/2"]), RedisServer::cluster(["unix:///s"])]
    {
        assert_eq!(RedisStore::builder(nodes).build().expect_err("an error").field(), "url");
    }
    let nested = RedisServer::cluster([RedisServer::cluster(["redis://h"])]);
    assert_eq!(RedisStore::builder(nested).build().expect_err("an error").field(), "url");
    let nodes = RedisServer::cluster(["redis://:hunter2@h", "redis://:hunter2@i"]);
    let store = RedisStore::builder(nodes).build().expect("URLs");
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
}
