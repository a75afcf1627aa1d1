//! Instances that were told that they listen, and to which nothing comes: what stands before the server gives their
//! connection to others, or leads them to another server.

use std::time::Duration;

use fusebox::{CircuitBreaker, EventKind, State};
use tokio::time::{Instant, sleep};

use crate::side_steps::{Instance, until};

/// So long it may take until an instance knows that it is deaf. What it needs is three notices, a second apart, and twenty
/// seconds.
const FOUND_OUT: Duration = Duration::from_secs(90);

/// Each second the first of two writes what all are to hear of, and the other one follows, until `is_over`.
async fn write_until(breakers: &[CircuitBreaker; 2], what: &str, mut is_over: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_over() {
        assert!(started.elapsed() < FOUND_OUT, "in vain: {what}");
        let to = if breakers[0].state() == State::Open { State::Closed } else { State::Open };
        if to == State::Open { breakers[0].trip() } else { breakers[0].reset() }.expect("no override");
        breakers[0].flush().await;
        until("the other one follows", || breakers.iter().all(|breaker| breaker.state() == to)).await;
        sleep(Duration::from_secs(1)).await;
    }
}

/// What both have told of the store: nothing but this, so often.
fn told(instances: &[Instance; 2], impaired: [usize; 2], mended: [usize; 2]) {
    let of = |kind| instances.each_ref().map(|instance| instance.lines(kind));
    let lines = of(EventKind::StoreImpaired);
    assert_eq!(lines.each_ref().map(Vec::len), impaired, "{lines:?}");
    assert!(lines.iter().flatten().all(|line| line.contains("`listen_url` of PostgresStore")), "{lines:?}");
    assert_eq!(of(EventKind::StoreMended).map(|lines| lines.len()), mended);
    assert_eq!(of(EventKind::StoreDegraded).map(|lines| lines.len()), [0, 0]);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn behind_a_pooler_an_instance_finds_out_that_it_is_deaf_and_one_that_listens_past_it_is_not() {
    use fusebox::store::PostgresStore;

    use crate::postgres_server::{Database, Pooler};

    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let pooler = Pooler::before(&database.server);
    let through = || PostgresStore::builder().url(pooler.url(&database));
    let connect = |builder: fusebox::store::PostgresStoreBuilder| async { builder.connect().await.expect("connects") };
    let deaf = [Instance::over(connect(through()).await), Instance::over(connect(through()).await)];
    let past = || through().listen_url(database.url());
    let hearing = [Instance::over(connect(past()).await), Instance::over(connect(past()).await)];
    let breakers = deaf.each_ref().map(|instance| instance.breaker("deaf"));
    let others = hearing.each_ref().map(|instance| instance.breaker("hearing"));
    let found_out = || deaf[0].count(EventKind::StoreImpaired) > 0;
    // As long as one is found to be deaf, and on, the other writes as much.
    tokio::join!(
        async {
            write_until(&breakers, "it finds out that it is deaf", found_out).await;
            let mut more = 0..5;
            write_until(&breakers, "it goes on by polls", || more.next().is_none()).await;
        },
        write_until(&others, "the same time", found_out),
    );
    // The other one of the deaf has written nothing.
    told(&deaf, [1, 0], [0, 0]);
    told(&hearing, [0, 0], [0, 0]);
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use fusebox::store::RedisStore;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::tcp::OwnedReadHalf;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::*;
    use crate::servers::Redis;

    /// Stands before two servers that know nothing of one another, and leads those who subscribe to the second.
    struct Balancer {
        port: u16,
        is_astray: Arc<AtomicBool>,
    }

    impl Balancer {
        async fn before(right: &Redis, wrong: &Redis) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let is_astray = Arc::new(AtomicBool::new(true));
            let (astray, ports) = (Arc::clone(&is_astray), [right.port(), wrong.port()]);
            tokio::spawn(async move {
                let mut clients = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let astray = Arc::clone(&astray);
                    clients.spawn(async move { lead(client, ports, &astray).await.ok() });
                }
            });
            Self { port, is_astray }
        }
    }

    /// Passes on what a client says, and what is answered, until either of them ends.
    async fn lead(client: TcpStream, ports: [u16; 2], is_astray: &AtomicBool) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (mut from, to) = client.into_split();
        let to = Arc::new(tokio::sync::Mutex::new(to));
        let mut servers = Vec::new();
        let mut answers = JoinSet::new();
        let mut piece = vec![0; 64 * 1024];
        let mut port = Some(ports[0]);
        loop {
            let length = tokio::select! {
                length = from.read(&mut piece) => length?,
                Some(_) = answers.join_next() => return Ok(()),
            };
            let subscribes = piece[..length].windows(9).any(|word| word == b"SUBSCRIBE");
            if subscribes && is_astray.load(Ordering::SeqCst) {
                port = Some(ports[1]);
            }
            if let Some(port) = port.take() {
                let server = TcpStream::connect(("127.0.0.1", port)).await?;
                server.set_nodelay(true)?;
                let (answer, server) = server.into_split();
                answers.spawn(pass_on(answer, Arc::clone(&to)));
                servers.push(server);
            }
            match servers.last_mut() {
                Some(server) if length > 0 => server.write_all(&piece[..length]).await?,
                _ => return Ok(()),
            }
        }
    }

    async fn pass_on(mut from: OwnedReadHalf, to: Arc<tokio::sync::Mutex<tokio::net::tcp::OwnedWriteHalf>>) {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length) = from.read(&mut piece).await
            && length > 0
            && to.lock().await.write_all(&piece[..length]).await.is_ok()
        {}
    }

    #[tokio::test]
    async fn one_whose_subscription_is_led_astray_says_so_and_when_its_notices_come_again() {
        let (right, wrong) = (Redis::start().await, Redis::start().await);
        let balancer = Balancer::before(&right, &wrong).await;
        let url = format!("redis://127.0.0.1:{}", balancer.port);
        let connect = || async { Instance::over(RedisStore::connect(url.as_str()).await.expect("connects")) };
        let instances = [connect().await, connect().await];
        let breakers = instances.each_ref().map(|instance| instance.breaker("payments"));
        let count = |kind| instances[0].count(kind);
        write_until(&breakers, "it finds out that it is deaf", || count(EventKind::StoreImpaired) > 0).await;
        told(&instances, [1, 0], [0, 0]);
        balancer.is_astray.store(false, Ordering::SeqCst);
        drop(wrong);
        write_until(&breakers, "it hears again", || count(EventKind::StoreMended) > 0).await;
        told(&instances, [1, 0], [1, 0]);
    }
}
