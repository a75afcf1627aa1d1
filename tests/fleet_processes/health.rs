//! Who leaves the balancer, and who stays: five processes that are asked for their health over HTTP, as a balancer asks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, Settings, start, throughout, until, until_all};
use crate::store::Store;

/// What an instance answers: the status, and the body.
fn ask(instance: &Instance) -> (u16, Value) {
    let mut stream = TcpStream::connect(instance.ask("health")).expect("the instance listens");
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    (status, serde_json::from_str(body).expect("JSON"))
}

fn answers(fleet: &[Instance]) -> Vec<(u16, String)> {
    let status = |body: Value| body["status"].as_str().expect("a status").to_owned();
    fleet.iter().map(ask).map(|(code, body)| (code, status(body))).collect()
}

fn all(code: u16, status: &str) -> Vec<(u16, String)> {
    vec![(code, status.to_owned()); 5]
}

/// Five instances that call a dependency, and vote: the fleet opens when three have opened.
fn voting(store: &Store, cooldown: Duration) -> (Vec<Instance>, Dependency) {
    let settings = store.settings().failures_in_a_row(5).votes(3).cooldown(cooldown).critical("payments");
    let (fleet, dependency) = (start(5, &settings), Dependency::start());
    for instance in &fleet {
        instance.ask(&format!("traffic {} 5 2", dependency.address()));
    }
    (fleet, dependency)
}

#[test]
fn a_bad_node_leaves_and_comes_back_and_the_others_stay() {
    let store = Store::redis();
    let (fleet, dependency) = voting(&store, Duration::from_secs(6));
    assert_eq!(answers(&fleet), all(200, "up"));
    dependency.is_bad_for(2);
    until("the bad node is out", GRACE * 2, || ask(&fleet[2]).0 == 503);
    let (_, body) = ask(&fleet[2]);
    assert_eq!((body["status"].as_str(), body["breakers"][0]["name"].as_str()), (Some("down"), Some("payments")));
    assert_eq!(
        (body["breakers"][0]["scope"].as_str(), body["breakers"][0]["critical"].as_bool()),
        (Some("instance"), Some(true))
    );
    for (number, answer) in answers(&fleet).into_iter().enumerate().filter(|(number, _)| *number != 2) {
        assert_eq!(answer, (200, "up".to_owned()), "instance {number}");
    }
    // When its cooldown is over it is let in again, for a call to show whether it is well.
    dependency.is_well_for(2);
    until("it is back", Duration::from_secs(6) + GRACE, || answers(&fleet) == all(200, "up"));
}

#[test]
fn a_bad_dependency_takes_no_instance_out() {
    let store = Store::redis();
    let (fleet, dependency) = voting(&store, Duration::from_secs(60));
    dependency.answers(Answer::Fail);
    let stays = || fleet.iter().all(|instance| ask(instance).0 == 200);
    // Also while some are open and the fleet is not yet.
    throughout("all stay", Duration::from_secs(5), stays);
    until_all(&fleet, "open", POLL + GRACE);
    assert_eq!(answers(&fleet), all(200, "degraded"));
    let (_, body) = ask(&fleet[0]);
    assert_eq!(
        (body["breakers"][0]["state"].as_str(), body["breakers"][0]["scope"].as_str()),
        (Some("open"), Some("fleet"))
    );
}

/// The same where calls are judged together, as by default.
#[test]
fn a_bad_dependency_of_a_pooled_fleet_takes_no_instance_out() {
    let store = Store::redis();
    let settings = store.settings().failures_within(20, 60).cooldown(Duration::from_secs(60)).critical("payments");
    let (fleet, dependency) = (start(5, &settings), Dependency::start());
    dependency.answers(Answer::Fail);
    for instance in &fleet {
        instance.ask(&format!("traffic {} 5 2", dependency.address()));
    }
    throughout("all stay", Duration::from_secs(5), || fleet.iter().all(|instance| ask(instance).0 == 200));
    until_all(&fleet, "open", POLL + GRACE);
    assert_eq!(answers(&fleet), all(200, "degraded"));
}

/// What the others see is not known then: were each to go by itself, all would leave.
#[test]
fn a_store_that_is_away_takes_no_instance_out_and_neither_does_a_dependency_with_it() {
    let store = Store::redis();
    let (fleet, dependency) = voting(&store, Duration::from_secs(60));
    store.kill();
    let is_away = |instance: &Instance| !instance.look().get("away").is_empty();
    until("all are on their own", GRACE * 2, || fleet.iter().all(is_away));
    assert_eq!(answers(&fleet), all(200, "degraded"));
    let (_, body) = ask(&fleet[0]);
    let away = body["stores"][0]["away"].as_str().expect("why it is away");
    assert!(
        body["stores"][0]["store"].as_str().is_some_and(|store| store.starts_with("Redis at 127.0.0.1"))
            && !away.is_empty()
    );
    dependency.answers(Answer::Fail);
    until("each has opened for itself", GRACE, || fleet.iter().all(|instance| instance.look().is("open")));
    throughout("all stay", Duration::from_secs(5), || answers(&fleet) == all(200, "degraded"));
    store.start_again();
    until("the store is back", GRACE * 2, || {
        fleet.iter().all(|instance| ask(instance).1["stores"][0]["away"].is_null())
    });
}

/// Without the rule that a cooldown which is over lets the node in, it would be sent no call that could close the circuit.
#[test]
fn a_node_without_traffic_is_fit_again_when_its_cooldown_is_over() {
    let store = Store::redis();
    let settings: Settings =
        store.settings().failures_in_a_row(3).votes(3).cooldown(Duration::from_secs(6)).critical("payments");
    let fleet = start(5, &settings);
    fleet[1].fail(3);
    until("it is out", GRACE * 2, || ask(&fleet[1]).0 == 503);
    until("it is fit", Duration::from_secs(6) + GRACE, || ask(&fleet[1]).0 == 200);
    assert_eq!(ask(&fleet[1]).1["status"], "degraded");
    assert!(fleet[1].look().is("open"), "nothing has called it");
}
