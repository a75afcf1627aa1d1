//! What a page shows: commands with what they print, and between them, unseen by its readers, what happens meanwhile.

use std::fs;
use std::path::Path;

/// A part of a page, in its order.
#[derive(Debug)]
pub(super) enum Part {
    /// `<!-- walk: .. -->`: something happens to the fleet.
    Happens { line: usize, what: String },
    /// A block of `console`.
    Console(Vec<Step>),
    /// A block of `promql`.
    Queries { line: usize, text: String },
}

/// A command, and what it prints.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) printed: Vec<String>,
}

/// The parts of a page of this repository.
pub(super) fn parts(page: &str) -> Vec<Part> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page");
    let mut lines = text.lines().zip(1..);
    let mut parts = Vec::new();
    while let Some((line, at)) = lines.next() {
        if let Some(what) = line.strip_prefix("<!-- walk: ") {
            let what = what.strip_suffix(" -->").unwrap_or_else(|| panic!("{page}:{at}: no end")).to_owned();
            parts.push(Part::Happens { line: at, what });
        } else if let Some(language) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|(line, _)| *line != "```").collect();
            match language {
                "console" => parts.push(Part::Console(steps(&block))),
                "promql" => {
                    let text = block.iter().map(|(line, _)| *line).collect::<Vec<_>>().join("\n");
                    parts.push(Part::Queries { line: at, text });
                }
                // Rust is run by rustdoc, settings are read elsewhere.
                _ => {}
            }
        }
    }
    parts
}

/// The commands of a block. What a command prints ends with the next command; a line that is folded goes on far to the right.
fn steps(block: &[(&str, usize)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &(text, line) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step { line, command: command.to_owned(), printed: Vec::new() });
            continue;
        }
        let step = steps.last_mut().unwrap_or_else(|| panic!("line {line}: printed by no command"));
        match step.printed.last_mut() {
            Some(last) if text.starts_with("     ") => {
                last.push(' ');
                last.push_str(text.trim_start());
            }
            _ => step.printed.push(text.to_owned()),
        }
    }
    steps
}

/// A line without what is another at each run: times, how long something took, and how wide columns are for them.
pub(super) fn normal(line: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in line.chars().chain([' ']) {
        if c.is_whitespace() || "()[]{},;=\"'".contains(c) {
            out.push_str(&normal_word(&word, &out));
            word.clear();
            match c {
                c if !c.is_whitespace() => out.push(c),
                _ if out.ends_with(' ') => {}
                _ => out.push(' '),
            }
        } else {
            word.push(c);
        }
    }
    out.trim().to_owned()
}

fn normal_word(word: &str, before: &str) -> String {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let counts = ["_ms=", "rejected=", "bytes ", "generation ", "generation="];
    if is_number && counts.iter().any(|name| before.ends_with(name)) {
        "#".to_owned()
    } else if is_moment(word) {
        "<at>".to_owned()
    } else if is_time(word) {
        "<time>".to_owned()
    } else {
        word.to_owned()
    }
}

/// As in `2026-11-28T03:12:07.25Z`.
fn is_moment(word: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let fits = |(c, p): (char, char)| if p == 'd' { c.is_ascii_digit() } else { c == p };
    word.len() >= pattern.len() && word.ends_with('Z') && word.chars().zip(pattern.chars()).all(fits)
}

/// As in `17.6s`, `1m12s` and `48µs`.
fn is_time(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if after.len() == rest.len() || rest.starts_with('.') {
            return false;
        }
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        if !["ns", "µs", "ms", "s", "m", "h", "d"].contains(&&after[..unit]) {
            return false;
        }
        rest = &after[unit..];
    }
    !word.is_empty()
}

#[test]
fn only_times_are_made_the_same() {
    for (line, expected) in [
        ("payments  open   1m12s  18s    5 failures", "payments open <time> <time> 5 failures"),
        ("answers        within 48.7µs", "answers within <time>"),
        ("now:    a: open, retry in 3600.0s", "now: a: open, retry in <time>"),
        ("2026-11-28T03:12:07.25Z  WARN x cooldown_ms=1000 a=\"b\"", "<at> WARN x cooldown_ms=# a=\"b\""),
        ("bytes          71", "bytes #"),
        ("failures       5", "failures 5"),
        ("d.s 5 s2 m 1.5 2x 12:30", "d.s 5 s2 m 1.5 2x 12:30"),
    ] {
        assert_eq!(normal(line), expected);
    }
}
