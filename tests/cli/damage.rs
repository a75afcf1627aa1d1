//! Records that are damaged, and what an operator makes of them.

use super::both::{breakers, newer, on_both};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_does_not_end_a_list() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a", "b", "c", "d"]).await);
        raw.write("b", b"garbage").await;
        raw.write("c", &newer()).await;
        let run = fusebox(&url, &["list", "--sort", "name"]);
        let lines: Vec<_> = run.out.lines().skip(1).collect();
        assert_eq!(lines.len(), 4, "{run:?}");
        assert!(lines[0].starts_with("a     closed") && lines[3].starts_with("d     closed"), "{run:?}");
        assert!(lines[1].starts_with("b ") && lines[1].ends_with("the record is damaged: no record at all"), "{run:?}");
        assert!(
            lines[2].starts_with("c ") && lines[2].ends_with("the record is of format 3, this release knows 2"),
            "{run:?}"
        );
        assert_eq!(run.fails(4), "2 of 4 breakers cannot be read");
        let shown = fusebox(&url, &["show", "b"]);
        assert!(shown.code != 0 && shown.out.contains("the record is damaged"), "{shown:?}");
        let stored = store.load(&["b"]).await.expect("loads").remove(0);
        assert_eq!(stored.record, "garbage", "who only looks changes nothing");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_replaced_by_an_operators_command() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a"]).await);
        let hold = ["--reason", "why", "--actor", "ana"];
        for (words, said) in [
            (&["trip", "a"][..], "a: open (tripped by command)"),
            (&["reset", "a"], "a: closed (reset by command)"),
            (&[&["force-open", "a"], &hold[..]].concat(), "a: open (forced open: why (by ana))"),
            (&["resume", "a"], "a: closed (override ended by an operator)"),
            (&[&["disable", "a"], &hold[..]].concat(), "a: closed (disabled: why (by ana))"),
        ] {
            if words[0] != "resume" {
                raw.write("a", b"garbage").await;
            }
            let text = fusebox(&url, words).ok();
            assert!(text.contains(&format!("now:    {said}")), "{words:?}: {text}");
            assert_eq!(text.contains("before: a: the record is damaged"), words[0] != "resume", "{words:?}: {text}");
            let listed = fusebox(&url, &["show", "a"]).ok();
            assert!(listed.contains("name          a\nstate         "), "{words:?}: it stays so: {listed}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_release_has_written_is_left_alone() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a", "b"]).await);
        raw.write("a", &newer()).await;
        raw.usurp("b").await;
        let commands: [&[&str]; 5] =
            [&["trip"], &["reset"], &["force-open", "--reason", "why"], &["resume"], &["forget", "--yes"]];
        for command in commands {
            let line = fusebox(&url, &[command, &["a"]].concat()).fails(1);
            assert!(line.contains("`a` is left as it is: the record is of format 3"), "{command:?}: {line}");
            let stored = store.load(&["a"]).await.expect("loads").remove(0);
            assert_eq!(stored.record, newer(), "{command:?}");
            let line = fusebox(&url, &[command, &["b"]].concat()).fails(1);
            assert!(line.contains("holds something that is not a breaker's record"), "{command:?}: {line}");
        }
    })
    .await;
}
