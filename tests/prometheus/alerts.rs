//! Alerts that fire while something is wrong, and clear when it is over: on a real Prometheus, with what they wait for made
//! short.

use std::collections::BTreeSet;

use fusebox::{Budget, CircuitBreakerConfig, Cooldown, Override, Registry, RetryLayer, State};

use crate::answers::labels_of;
use crate::app::App;
use crate::cast::{Ask, Guarded, Stage, three_in_a_row};
use crate::fleets::Fleets;
use crate::rules::RULES;
use crate::server::Prometheus;
use crate::support::{ms, secs};
use crate::{text_of, until};

/// The rules, with windows of some seconds.
fn short_rules() -> String {
    let rules = text_of(RULES);
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => line.replace("[10m]", "[6s]").replace("[5m]", "[6s]").replace("[3m]", "[6s]") + "\n",
    });
    lines.collect()
}

/// What goes wrong, as long as it is asked to.
struct Trouble {
    stage: Stage,
    open: Guarded,
    flapping: Guarded,
    overridden: Guarded,
    well: Guarded,
    crowd: Registry,
    prices: RetryLayer,
    fleets: Fleets,
}

impl Trouble {
    async fn new(stage: &Stage) -> Self {
        let config = |key: &str| CircuitBreakerConfig::builder(key).build();
        Self {
            open: stage
                .guarded("open", |builder| builder.detector(three_in_a_row()).cooldown(Cooldown::fixed(secs(3_600)))),
            flapping: stage
                .guarded("flapping", |builder| builder.detector(three_in_a_row()).cooldown(Cooldown::fixed(ms(20)))),
            overridden: stage.guarded("overridden", |builder| builder.detector(three_in_a_row())),
            well: stage.guarded("well", |builder| builder.detector(three_in_a_row())),
            crowd: Registry::new(config).named(stage.name("crowd")).max(0),
            prices: stage.retry("prices", |builder| builder.budget(Budget::tokens(4, 0.1))),
            fleets: Fleets::start(stage).await,
            stage: stage.clone(),
        }
    }

    /// Some more of it.
    async fn go_on(&self) {
        self.flapping.ask_often(Ask::Fail, 3).await;
        until("it has closed", async || {
            self.flapping.ask(Ask::Succeed).await;
            if self.flapping.breaker.state() == State::Closed { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        drop(self.crowd.breaker("one too many").expect("a template that works"));
        assert!(!self.stage.retried(&self.prices, "prices", 3).await);
        self.fleets.meter[0].ask_often(Ask::Fail, 600).await;
        self.well.ask_often(Ask::Succeed, 3).await;
    }
}

/// An alert, and what it is about.
fn about(alert: &str, label: &str, name: &str) -> (String, String) {
    (alert.to_owned(), format!("{label}={name}"))
}

/// The alerts that are firing about these breakers, registries, retries and stores.
async fn firing(prometheus: &Prometheus, store: &str) -> BTreeSet<(String, String)> {
    let firing = prometheus.firing().await;
    let told = firing.iter().map(|labels| {
        let subject =
            ["breaker", "registry", "retry", "store"].into_iter().find_map(|name| Some((name, labels.get(name)?)));
        let (label, name) = subject.unwrap_or_else(|| panic!("{labels:?} are about nothing"));
        (labels["alertname"].clone(), name.as_str(), label)
    });
    told.filter(|(_, name, _)| name.starts_with("alerts/") || *name == store)
        .map(|(alert, name, label)| about(&alert, label, name))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_fire_while_something_is_wrong_and_clear_afterwards() {
    let stage = Stage::new("alerts");
    let mut trouble = Trouble::new(&stage).await;
    let app = App::serve(trouble.well.clone()).await;
    let prometheus = Prometheus::start(&app.jobs()[..1], &short_rules()).await;
    prometheus.scraped_since("client", 0.0).await;
    let store = trouble.fleets.store.clone();
    assert_eq!(firing(&prometheus, &store).await, BTreeSet::new());

    trouble.open.ask_often(Ask::Fail, 3).await;
    trouble.overridden.breaker.set_override(Override::disable("load test"));
    trouble.fleets.disorder().await;
    trouble.fleets.store_goes_away().await;
    let expected = BTreeSet::from([
        about("FuseboxCircuitOpen", "breaker", "alerts/open"),
        about("FuseboxCircuitFlapping", "breaker", "alerts/flapping"),
        about("FuseboxOverrideStands", "breaker", "alerts/overridden"),
        about("FuseboxRegistryOverflows", "registry", "alerts/crowd"),
        about("FuseboxRetryBudgetEmpty", "retry", "alerts/prices"),
        about("FuseboxStoreAway", "store", &store),
        about("FuseboxFleetForgetsCalls", "breaker", "alerts/meter"),
        about("FuseboxConfigDrift", "breaker", "alerts/meter"),
    ]);
    until("all alerts fire, and no others", async || {
        trouble.go_on().await;
        let firing = firing(&prometheus, &store).await;
        if firing == expected { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;
    says_what_to_do(&prometheus, expected.len()).await;

    trouble.open.breaker.reset().expect("no override");
    trouble.overridden.breaker.resume();
    trouble.fleets.store_comes_back().await;
    trouble.fleets.meter.clear();
    until("all alerts clear", async || {
        let firing = firing(&prometheus, &store).await;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;
}

/// As Prometheus reads the rules.
async fn says_what_to_do(prometheus: &Prometheus, alerts: usize) {
    let all = prometheus.ask("rules", &[]).await;
    let rules = all["groups"][0]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), alerts, "each of them has fired");
    for rule in rules {
        let (labels, annotations) = (labels_of(&rule["labels"]), labels_of(&rule["annotations"]));
        assert!(["critical", "warning"].contains(&&*labels["severity"]), "{rule}");
        assert!(annotations["summary"].ends_with('.') && !annotations["summary"].contains('\n'), "{rule}");
        assert!(annotations["description"].split(". ").count() >= 2, "what is it, and what is to be done: {rule}");
        assert_eq!(rule["health"], "ok", "{rule}");
        for alert in rule["alerts"].as_array().expect("alerts") {
            let told = labels_of(&alert["annotations"]);
            assert!(told.values().all(|text| !text.contains("<no value>") && !text.contains("  ")), "{told:?}");
        }
    }
}
