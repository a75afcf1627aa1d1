//! Everything that loses no data, at random, one after the other and at once.

use std::time::Duration;

use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, deciders, until, until_all};
use crate::outages::LOOKS;
use crate::proxy::Rules;
use crate::store::on_both_servers;

/// A draw from 0 up to `of` (SplitMix64).
fn draw(seed: &mut u64, of: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % of
}

#[test]
fn c48_after_any_faults_a_fleet_is_one_again_and_nothing_was_decided_twice() {
    on_both_servers(|store| {
        let mut seed = u64::from(std::process::id());
        eprintln!("seed {seed}");
        let dependency = Dependency::start();
        let cooldown = Duration::from_millis(300);
        let ways: Vec<_> = (0..3).map(|_| store.proxied()).collect();
        let lease = Duration::from_secs(1);
        let fleet: Vec<_> = (0..6)
            .map(|number| {
                let settings = ways[number % 3].1.clone().cooldown(cooldown).probes(1, 1, lease);
                Instance::start(number, &settings)
            })
            .collect();
        let traffic = format!("traffic {} 10 2", dependency.address());
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
        for _ in 0..30 {
            let way = &ways[usize::try_from(draw(&mut seed, 3)).expect("small")].0;
            let instance = &fleet[usize::try_from(draw(&mut seed, 6)).expect("small")];
            match draw(&mut seed, 10) {
                0 => way.cut(),
                1 => way.set(|rules| (rules.holds_requests, rules.holds_answers) = (true, draw(&mut seed, 2) == 0)),
                2 => way.set(|rules| rules.holds_answers = true),
                3 => way.set(|rules| rules.loses_answers = 3),
                4 => way.cut_push(true),
                5 => way.set(|rules| rules.delay = Duration::from_millis(80)),
                6 => instance.stop(),
                7 => store.end_connections(),
                8 => dependency.answers(Answer::Fail),
                _ => dependency.answers(Answer::Ok),
            }
            std::thread::sleep(Duration::from_millis(draw(&mut seed, 500)));
            if draw(&mut seed, 3) == 0 {
                way.set(|rules| *rules = Rules::default());
                instance.go_on();
            }
        }
        dependency.answers(Answer::Ok);
        ways.iter().for_each(|(way, _)| way.set(|rules| *rules = Rules::default()));
        fleet.iter().for_each(Instance::go_on);
        until("all have the store", LOOKS + GRACE, || fleet.iter().all(crate::fleet::knows_the_store));
        until_all(&fleet, "closed", (lease + cooldown) * 3 + POLL + GRACE);
        until("they agree", POLL + GRACE, || {
            let generations: Vec<_> = fleet.iter().map(|instance| instance.look().number("fleet")).collect();
            generations.iter().all(|generation| *generation == generations[0])
        });
        deciders(&fleet);
        for instance in &fleet {
            let told: Vec<_> = instance.changes().iter().filter(|c| c.is_fleets).map(|c| c.generation).collect();
            assert!(told.is_sorted(), "instance {} was told {told:?}", instance.number);
        }
    });
}
