//! Records that are damaged, and what an operator makes of them.

use sha2::{Digest, Sha256};

use super::*;

/// As a later release would write one.
fn newer() -> Vec<u8> {
    let mut newer = b"FB\x03what a later release writes".to_vec();
    let checksum = Sha256::digest(&newer);
    newer.extend(&checksum[..4]);
    newer
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_does_not_end_a_list() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a", "b", "c", "d"]).await);
        raw.write("b", b"garbage").await;
        raw.write("c", &newer()).await;
        let (ended_well, text) = admin(&url, "list");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].starts_with("a: closed") && lines[3].starts_with("d: closed"), "{text}");
        assert!(
            lines[1].starts_with("\"b\": ") && lines[1].ends_with("the record is damaged: no record at all"),
            "{text}"
        );
        assert!(
            lines[2].starts_with("\"c\": ") && lines[2].ends_with("the record is of format 3, this release knows 2"),
            "{text}"
        );
        assert_eq!((ended_well, lines[4]), (false, "2 of 4 breakers could not be read"));
        let (ended_well, shown) = admin(&url, "show b");
        assert!(!ended_well && shown.contains("the record is damaged"), "{shown}");
        let stored = store.load(&["b"]).await.expect("loads").remove(0);
        assert_eq!(stored.record, "garbage", "who only looks changes nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_replaced_by_an_operators_command() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a"]).await);
        for (command, said, stays) in [
            ("trip a", "a: open (tripped by command)", "a: open (tripped by command)"),
            ("reset a", "a: closed (reset by command)", "a: closed"),
            ("force a why", "a: open (forced open: why)", "a: open (forced open: why)"),
            ("resume a", "a: closed (override ended by an operator)", "a: closed"),
            ("disable a why", "a: closed (disabled: why)", "a: closed (disabled: why)"),
        ] {
            if command != "resume a" {
                raw.write("a", b"garbage").await;
            }
            let (ended_well, text) = admin(&url, command);
            assert!(ended_well && text.starts_with(said), "{command}: {text}");
            let (ended_well, text) = admin(&url, "list");
            assert!(ended_well && text.starts_with(stays), "{command}: it stays so: {text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_release_has_written_is_left_alone() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a"]).await);
        raw.write("a", &newer()).await;
        for command in ["trip a", "reset a", "force a why", "resume a"] {
            let (ended_well, text) = admin(&url, command);
            assert!(!ended_well && text.contains("format 3, this release knows 2"), "{command}: {text}");
            let stored = store.load(&["a"]).await.expect("loads").remove(0);
            assert_eq!(stored.record, newer(), "{command}");
        }
    })
    .await;
}
