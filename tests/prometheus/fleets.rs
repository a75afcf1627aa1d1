//! Breakers that share their state over real servers: an outage of what they protect, and one of a server itself.

use std::sync::Arc;
use std::time::Duration;

use fusebox::fleet::{Fleet, Operator};
use fusebox::store::{Key, Store};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Cooldown, EventKind, Registry, State, detect,
};

use crate::both::Raw;
use crate::cast::{Ask, Guarded, Stage, three_in_a_row};
use crate::support::{Record, secs};
use crate::tally::Subject;
use crate::until;

const HOUR: Duration = secs(3_600);

/// More than an instance keeps for a store that is away.
const TOO_MANY: usize = 6_000;

/// Instances of fleets, each with an engine of its own.
pub(crate) struct Fleets {
    redis: Raw,
    _postgres: Raw,
    /// As metrics name the one that goes away.
    pub(crate) store: String,
    ledger: [Guarded; 2],
    archive: [Guarded; 2],
    /// Both fail often, and never enough; their rules differ.
    pub(crate) meter: Vec<Guarded>,
    /// Each judges for itself, and one of them says that it is down.
    poll: [Guarded; 2],
    /// In the place of its record there is something else.
    usurped: Guarded,
    /// A registry whose breakers share their state.
    _branches: (Registry, CircuitBreaker),
    news: Record<EventKind>,
}

impl Fleets {
    pub(crate) async fn start(stage: &Stage) -> Self {
        let (redis, postgres) = (Raw::redis().await, Raw::postgres().await);
        let news = Record::default();
        let of =
            async |raw: &Raw, name: &str, f: &dyn Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder| {
                instance(stage, name, raw.store().await, &news, f)
            };
        let shared = |builder: CircuitBreakerConfigBuilder| builder.detector(detect::failures(3).within(HOUR));
        let meter =
            |most: u32| move |b: CircuitBreakerConfigBuilder| b.detector(detect::failures(most).within(secs(1)));
        let votes = |b: CircuitBreakerConfigBuilder| b.detector(three_in_a_row()).fleet(Fleet::votes(3));
        Self {
            ledger: [of(&redis, "ledger", &shared).await, of(&redis, "ledger", &shared).await],
            archive: [of(&postgres, "archive", &shared).await, of(&postgres, "archive", &shared).await],
            meter: vec![of(&redis, "meter", &meter(50_000)).await, of(&redis, "meter", &meter(60_000)).await],
            poll: [of(&postgres, "poll", &votes).await, of(&postgres, "poll", &votes).await],
            usurped: of(&redis, "usurped", &shared).await,
            _branches: branches(stage, postgres.store().await),
            store: redis.store().await.describe(),
            redis,
            _postgres: postgres,
            news,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Guarded> {
        let pairs = [&self.ledger, &self.archive, &self.poll].into_iter().flatten();
        pairs.chain(&self.meter).chain([&self.usurped])
    }

    /// One instance sees failures, both open; on PostgreSQL an operator closes them again.
    pub(crate) async fn outage(&self, stage: &Stage) {
        for fleet in [&self.ledger, &self.archive] {
            fleet[0].ask_often(Ask::Fail, 3).await;
            agree(stage, fleet, "open").await;
            for guarded in fleet {
                guarded.ask_often(Ask::Succeed, 4).await;
            }
        }
        self.archive[1].breaker.reset().expect("no override");
        agree(stage, &self.archive, "closed").await;
        self.poll[0].ask_often(Ask::Fail, 3).await;
        assert_eq!(self.poll[0].breaker.state(), State::Open, "for itself");
        self.poll[0].breaker.flush().await;
    }

    /// Two instances judge by different rules, and one finds something in the place of its record.
    pub(crate) async fn disorder(&self) {
        for guarded in self.meter.iter().cycle().take(4) {
            guarded.ask(Ask::Fail).await;
            guarded.breaker.flush().await;
        }
        until("both know of the other rule", async || {
            let drifts = |guarded: &Guarded| guarded.breaker.snapshot().fleet.is_some_and(|fleet| fleet.drifts);
            if self.meter.iter().all(drifts) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        self.usurped.ask(Ask::Fail).await;
        let operator = Operator::new(self.redis.store().await);
        until("it has a record", async || {
            self.usurped.breaker.flush().await;
            let row = operator.get(&self.usurped.breaker.name()).await.map_err(|error| error.to_string())?;
            row.map(drop).ok_or_else(|| format!("{:?}", self.usurped.breaker.snapshot()))
        })
        .await;
        self.redis.usurp(&Key::new(&self.usurped.breaker.name()).to_string()).await;
        until("there is trouble with its record", async || {
            self.usurped.breaker.flush().await;
            let snapshot = self.usurped.breaker.snapshot();
            if snapshot.fleet.is_some_and(|fleet| fleet.trouble.is_some()) { Ok(()) } else { Err("none".to_owned()) }
        })
        .await;
    }

    /// The server hangs, and there is more to tell than an instance keeps.
    pub(crate) async fn store_goes_away(&self) {
        self.server(|server| server.freeze());
        self.meter[0].ask_often(Ask::Fail, TOO_MANY).await;
        self.heard(EventKind::StoreDegraded).await;
    }

    pub(crate) async fn store_comes_back(&self) {
        self.server(|server| server.thaw());
        self.heard(EventKind::StoreRecovered).await;
    }

    fn server(&self, f: impl Fn(&crate::servers::Redis)) {
        let Raw::Redis(server) = &self.redis else { unreachable!("it is one of Redis") };
        f(server);
    }

    async fn heard(&self, wanted: EventKind) {
        until(&format!("{wanted:?}"), async || {
            self.ledger[0].breaker.flush().await;
            let all = self.news.all();
            if all.contains(&wanted) { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    }
}

/// Waits until listeners of both instances have heard of it.
async fn agree(stage: &Stage, fleet: &[Guarded; 2], state: &str) {
    let name = fleet[0].breaker.name();
    until(&format!("both instances of {name} are {state}"), async || {
        fleet[0].breaker.flush().await;
        let all = stage.tally.of("fusebox_breaker_state", &[("breaker", &name), ("state", state)]);
        let all_say = || fleet.each_ref().map(|guarded| guarded.breaker.snapshot());
        if all == 2.0 { Ok(()) } else { Err(format!("{all} are: {:?}", all_say())) }
    })
    .await;
}

fn branches(stage: &Stage, store: Arc<dyn Store>) -> (Registry, CircuitBreaker) {
    let template =
        move |key: &str| CircuitBreakerConfig::builder(key).store(store.clone()).fleet(Fleet::votes(2)).build();
    let registry = Registry::new(template).named(stage.name("branches"));
    let north = registry.breaker("north").expect("a template that works");
    stage.tally.made(&Subject::registry(&registry.name()));
    (registry, north)
}

fn instance(
    stage: &Stage,
    name: &str,
    store: Arc<dyn Store>,
    news: &Record<EventKind>,
    f: &dyn Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> Guarded {
    let news = news.clone();
    let hear = move |kind| {
        if matches!(kind, EventKind::StoreDegraded | EventKind::StoreRecovered) {
            news.add(kind);
        }
    };
    stage.guarded(name, |builder| {
        f(builder).cooldown(Cooldown::fixed(HOUR)).store(store).on_event(move |event| hear(event.kind()))
    })
}
