//! Commands that go on: `watch`, `list --watch`, `wait`.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use fusebox::State;

use super::both::on_both;
use super::*;

/// The lines of a program as they come.
fn lines(running: &mut Running) -> Receiver<String> {
    let out = running.0.stdout.take().expect("piped");
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_line_comes_for_each_transition() {
    on_both(async |url, _, raw| {
        let fleet = fleet(&raw, "a").await;
        let mut running = Running::start(&url, &["watch"]);
        let mut data = Running::start(&url, &["watch", "--json"]);
        let (told, told_data) = (lines(&mut running), lines(&mut data));
        // It tells of what happens once it knows what there is.
        assert_eq!(told.recv_timeout(Duration::from_millis(2_500)), Err(RecvTimeoutError::Timeout));
        fusebox(&url, &["trip", "a", "--cooldown", "1h"]).ok();
        let line = told.recv_timeout(PATIENCE).expect("in time");
        assert!(
            line.contains("Z  a: open (tripped by command), retry in ") && line.ends_with(", was closed"),
            "{line}"
        );
        let line = told_data.recv_timeout(PATIENCE).expect("in time");
        let data: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        json::validator()(&data).expect("as the schema says");
        assert_eq!((&data["from"], &data["state"], &data["missed"]), (&"closed".into(), &"open".into(), &0.into()));
        all_are(&fleet, State::Open).await;
        fleet[1].reset().expect("nothing stands");
        let line = told.recv_timeout(PATIENCE).expect("in time");
        assert!(line.contains("a: closed (reset by command), was open"), "also what an instance decides: {line}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_printed_again_each_second() {
    on_both(async |url, _, raw| {
        let _fleet = fleet(&raw, "a").await;
        let mut running = Running::start(&url, &["list", "--watch"]);
        let told = lines(&mut running);
        let next = |begin: &str| loop {
            let line = told.recv_timeout(PATIENCE).expect("in time");
            if line.starts_with(begin) {
                return line;
            }
        };
        next("a     closed");
        next("a     closed");
        fusebox(&url, &["trip", "a"]).ok();
        let line = next("a     open");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_waits_for_a_state() {
    on_both(async |url, _, raw| {
        let fleet = fleet(&raw, "a").await;
        let text = fusebox(&url, &["wait", "a", "--state", "closed"]).ok();
        assert!(text.starts_with("a: closed"), "{text}");
        fusebox(&url, &["trip", "a", "--cooldown", "1h"]).ok();
        all_are(&fleet, State::Open).await;
        let mut running = Running::start(&url, &["wait", "a", "--state", "closed", "--for", "1m"]);
        let told = lines(&mut running);
        assert_eq!(told.recv_timeout(Duration::from_millis(700)), Err(RecvTimeoutError::Timeout));
        fleet[0].reset().expect("nothing stands");
        let line = told.recv_timeout(PATIENCE).expect("in time");
        assert!(line.starts_with("a: closed (reset by command)"), "{line}");
        assert_eq!(running.0.wait().expect("ends").code(), Some(0));
    })
    .await;
}

/// `script` runs a command on a terminal of its own, and copies what it writes there.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_a_list_that_goes_on_is_drawn_in_place() {
    let raw = both::Raw::redis().await;
    let url = raw.url();
    fusebox(&url, &["trip", "a", "--create", "--cooldown", "1h"]).ok();
    let on_a_terminal = |words: &str, no_color: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("timeout 3 {} {words}", env!("CARGO_BIN_EXE_fusebox")), "/dev/null"]);
        script.env("FUSEBOX_STORE_URL", &url).env("NO_COLOR", no_color).stdin(Stdio::null()).current_dir("/");
        String::from_utf8(script.output().expect("util-linux has it").stdout).expect("UTF-8")
    };
    let text = on_a_terminal("list", "");
    assert!(text.contains("a     \u{1b}[31mopen \u{1b}[0m  "), "{text:?}");
    assert!(!on_a_terminal("list", "1").contains('\u{1b}'));
    assert!(!on_a_terminal("list --color never", "").contains('\u{1b}'));
    let text = on_a_terminal("list --watch", "1");
    assert!(text.matches("\u{1b}[H\u{1b}[J").count() >= 2, "{text:?}");
}
