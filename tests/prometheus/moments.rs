//! What a scrape may miss, or keep for too long; and names that have to be escaped.

use fusebox::{Cooldown, Registry, State};

use crate::app::App;
use crate::cast::{Ask, Guarded, Stage, three_in_a_row};
use crate::server::Prometheus;
use crate::support::{ms, secs};
use crate::{unix_now, until};

async fn scraped(stage: &Stage, checkout: Guarded) -> (App, Prometheus) {
    let app = App::serve(checkout).await;
    let prometheus = Prometheus::start(&app.jobs(), "").await;
    for job in app.jobs() {
        prometheus.scraped_since(job.name, 0.0).await;
    }
    assert!(stage.tally.of("fusebox_breaker_state", &[]) > 0.0);
    (app, prometheus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_of_200_milliseconds_between_two_scrapes_is_counted() {
    let stage = Stage::new("moments");
    let short = stage.guarded("short", |builder| builder.detector(three_in_a_row()).cooldown(Cooldown::fixed(ms(200))));
    let (app, prometheus) = scraped(&stage, short.clone()).await;
    let name = stage.name("short");
    let nothing_is_scraped = app.scraping.write().await;
    short.ask_often(Ask::Fail, 3).await;
    assert_eq!(short.breaker.state(), State::Open);
    until("it closes by itself", async || {
        short.ask(Ask::Succeed).await;
        let state = short.breaker.state();
        if state == State::Closed { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    drop(nothing_is_scraped);
    let closed = unix_now();
    for job in app.jobs() {
        let at = prometheus.scraped_since(job.name, closed).await;
        let ask = async |query: String| prometheus.query_at(&query, at).await[0].value();
        let own = format!("job=\"{}\", breaker=\"{name}\"", job.name);
        let seen = ask(format!("max_over_time(fusebox_breaker_state{{{own}, state=\"open\"}}[1h])")).await;
        assert_eq!(seen, 0.0, "no gauge has shown it");
        for (from, to) in [("closed", "open"), ("open", "half_open"), ("half_open", "closed")] {
            let transitions = format!("fusebox_breaker_transitions_total{{{own}, from=\"{from}\", to=\"{to}\"}}");
            assert_eq!(ask(transitions).await, 1.0, "{from} -> {to}");
        }
        assert_eq!(stage.tally.compare(&prometheus, job.name, at).await, 9, "all that was counted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_come_back_as_they_are() {
    let stage = Stage::new("names");
    // A backslash before a backslash, a quote or an `n` is more than the exporter of the facade can tell apart.
    let both =
        ["\"", "a \"quoted\" name", "back \\ slash", "two\nlines\n", "🐈‍⬛", "{a=\"b\"} 7 # EOF", "ünï çødé", "a,b=c"];
    let one = ["\\\\", "\\\"", "\\n", "ends in \\"];
    let all: Vec<_> = both.iter().chain(&one).map(|name| stage.guarded(name, |builder| builder)).collect();
    for guarded in &all {
        guarded.ask(Ask::Succeed).await;
    }
    let (app, prometheus) = scraped(&stage, all[0].clone()).await;
    for (job, names) in app.jobs().iter().zip([&all[..], &all[..both.len()]]) {
        let at = prometheus.scraped_since(job.name, 0.0).await;
        let query = format!("fusebox_breaker_calls_total{{job=\"{}\", outcome=\"success\"}}", job.name);
        let shown = prometheus.query_at(&query, at).await;
        for guarded in names {
            let name = &*guarded.breaker.name();
            let found = shown.iter().filter(|answer| answer.labels.get("breaker").is_some_and(|shown| shown == name));
            assert_eq!(found.map(|answer| answer.value()).collect::<Vec<_>>(), [1.0], "{}: {name:?}", job.name);
        }
    }
    // And one can ask for each, as the board does.
    let quoted = prometheus.query(r#"fusebox_breaker_calls_total{job="client", breaker="names/two\nlines\n"}"#).await;
    assert_eq!(quoted.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_series_of_a_key_that_closes_goes_stale() {
    let stage = Stage::new("stale");
    let registry = Registry::new(|key| fusebox::CircuitBreakerConfig::builder(key).build()).named(stage.name("hosts"));
    let key = registry.breaker("example.org").expect("a template that works");
    key.trip().expect("no override");
    let beside = stage.guarded("beside", |builder| builder.cooldown(Cooldown::fixed(secs(3_600))));
    let (app, prometheus) = scraped(&stage, beside).await;
    let [client, facade] = app.jobs();
    let of = |job: &str| {
        format!("fusebox_breaker_state{{job=\"{job}\", registry=\"stale/hosts\", breaker=\"example.org\"}}")
    };
    let states = async |job: &str, at: f64| {
        let mut states: Vec<_> = prometheus.query_at(&of(job), at).await.iter().map(|one| one.value()).collect();
        states.sort_by(f64::total_cmp);
        states
    };
    for job in [client, facade] {
        let at = prometheus.scraped_since(job.name, 0.0).await;
        assert_eq!(states(job.name, at).await, [0.0, 1.0], "not half-open, and open");
    }
    key.reset().expect("no override");
    let closed = unix_now();
    // Not for five minutes more, as of a series of which nothing is known.
    let at = prometheus.scraped_since(client.name, closed).await;
    assert_eq!(states(client.name, at).await, [0.0; 0]);
    // Recorders of the facade keep what they were told.
    let at = prometheus.scraped_since(facade.name, closed).await;
    assert_eq!(states(facade.name, at).await, [0.0, 0.0]);
}
