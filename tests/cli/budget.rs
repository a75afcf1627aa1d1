//! What a list of many costs.

use super::both::{MANY, Raw, fill};
use super::turns::Turns;
use super::*;

/// From the first connection on, whoever made it for what.
#[expect(clippy::disallowed_methods, reason = "a figure for people")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_breakers_are_listed_within_45_round_trips() {
    for raw in [Raw::redis().await, Raw::postgres().await] {
        fill(&raw.store().await).await;
        let (turns, url) = match &raw {
            Raw::Redis(server) => {
                let turns = Turns::before(server.port());
                let url = format!("redis://127.0.0.1:{}", turns.port);
                (turns, url)
            }
            Raw::Postgres(database) => {
                let turns = Turns::before(database.server.port());
                let url = database.url_at(turns.port);
                (turns, url)
            }
            Raw::Memory(_) => panic!("memory has no port"),
        };
        let began = std::time::Instant::now();
        let text = fusebox(&url, &["list"]).ok();
        let took = began.elapsed();
        assert_eq!(text.lines().count(), MANY + 1);
        let count = turns.count();
        println!("{raw:?}: {MANY} breakers in {took:?}, {count} round trips");
        assert!(count <= 45, "{count} round trips");
        // Each page of a thousand is one.
        assert!(count >= 11, "they were counted: {count}");
    }
}
