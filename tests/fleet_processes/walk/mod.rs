//! Pages for operators: each command on them is run, on real servers beside real instances, and prints what the page shows.
//!
//! A page is the script. Its blocks of `console` are run in their order in one shell; comments that readers do not see,
//! `<!-- walk: .. -->`, say what happens between them. Times are another at each run, so all times are the same here.
//! A command that does not end with 0 is followed by `echo $?`.

mod page;
mod scene;
mod shell;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use page::{Part, Step, normal, parts};
use scene::Scene;
use shell::{Shell, Window};

use crate::store::{Store, on_both_servers};

#[test]
fn an_outage_is_walked_through_as_the_page_for_operators_says() {
    on_both_servers(|store| Walk::through("docs/operate.md", store));
}

#[test]
fn the_readme_shows_the_program_as_it_is() {
    Walk::through("README.md", &Store::redis());
}

/// A page that is being walked through.
struct Walk<'a> {
    page: &'a str,
    scene: Scene<'a>,
    shell: Shell,
    /// The next block is run in a window of its own.
    opens: bool,
    /// A window that is open, and what it is to have printed when it is closed.
    window: Option<(Window, &'a Step)>,
    commands: u32,
    /// What is not as the page says: one run shows everything.
    wrong: Vec<String>,
}

impl Walk<'_> {
    fn through(page: &str, store: &Store) {
        let parts = parts(page);
        let scene = Scene::set(store);
        let mut shell = Shell::start(scene.folder());
        // So that each has a record.
        for breaker in ["ledger", "mail", "payments", "search"] {
            let made = format!("FUSEBOX_STORE_URL='{}' fusebox reset {breaker} --create", store.url());
            assert_eq!(shell.run(&made).1, 0, "{breaker} is made");
        }
        let mut walk = Walk { page, scene, shell, opens: false, window: None, commands: 0, wrong: Vec::new() };
        let mut skips = false;
        for part in &parts {
            match part {
                Part::Happens { what, .. } if what == "only PostgreSQL has this" => skips = store.is_redis(),
                Part::Happens { what, .. } if what == "with any store" => skips = false,
                _ if skips => {}
                Part::Happens { line, what } => walk.happens(*line, what),
                Part::Console(steps) => walk.console(steps),
                Part::Queries { .. } => {}
            }
        }
        assert!(walk.window.is_none(), "{page}: a window is left open");
        assert!(walk.commands >= 3, "{page}: {} commands were found", walk.commands);
        assert!(walk.wrong.is_empty(), "{}", walk.wrong.join("\n"));
    }

    fn happens(&mut self, line: usize, what: &str) {
        match what {
            "in a second window" => self.opens = true,
            "the second window is closed" => {
                let (window, step) = self.window.take().expect("it is open");
                let told = window.close(step.printed.len());
                self.agree(step, &told.join("\n"));
            }
            what => {
                eprintln!("{}:{line}: {what}", self.page);
                self.scene.let_happen(what, &mut self.shell);
            }
        }
    }
}

impl<'a> Walk<'a> {
    fn console(&mut self, steps: &'a [Step]) {
        if std::mem::take(&mut self.opens) {
            let command = self.scene.real(&steps[0].command);
            let window = Window::open(self.scene.folder(), &self.scene.store_url(), &command);
            self.window = Some((window, &steps[0]));
            // It tells of what happens once it knows what there is.
            thread::sleep(Duration::from_millis(2_500));
            return;
        }
        for (at, step) in steps.iter().enumerate() {
            self.commands += 1;
            let Step { line, command, .. } = step;
            if command.starts_with("cargo install") {
                installs(command);
                continue;
            }
            let (printed, code) = self.shell.run(&self.scene.real(command));
            self.agree(step, &printed);
            let is_shown = steps.get(at + 1).is_some_and(|next| next.command == "echo $?");
            if code != 0 && !is_shown {
                self.note(format!("{}:{line}: `{command}` ends with {code}, which is not shown", self.page));
            }
        }
    }

    /// What was printed is what the page shows.
    fn agree(&mut self, step: &Step, printed: &str) {
        let printed = self.scene.shown(printed);
        let told: Vec<_> = printed.lines().map(normal).collect();
        let expected: Vec<_> = step.printed.iter().map(|line| normal(line)).collect();
        if told != expected {
            self.note(format!(
                "{}:{}: `{}` prints\n{printed}\nthat is {told:#?}\nnot {expected:#?}",
                self.page, step.line, step.command
            ));
        }
    }

    /// At once as well: what comes after may not come to an end.
    fn note(&mut self, wrong: String) {
        eprintln!("{wrong}");
        self.wrong.push(wrong);
    }
}

/// What a page says of installing is what the manifest says.
fn installs(command: &str) {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let program =
        manifest["bin"].as_array().expect("programs").iter().find(|bin| bin["name"].as_str() == Some("fusebox"));
    let features = program.expect("the program")["required-features"].as_array().expect("features");
    let features: Vec<_> = features.iter().map(|feature| feature.as_str().expect("a name")).collect();
    let package = manifest["package"]["name"].as_str().expect("a name");
    assert_eq!(command, format!("cargo install {package} --features {}", features.join(",")));
}

/// The families that a scrape of this release has.
fn families() -> BTreeSet<String> {
    #[derive(Default)]
    struct Names(BTreeSet<String>);

    impl fusebox::telemetry::Sink for Names {
        fn family(&mut self, family: &'static fusebox::telemetry::Family) {
            self.0.insert(family.prometheus_name());
        }

        fn sample(&mut self, _labels: &[(&'static str, &str)], _value: fusebox::telemetry::Value) {}
    }

    let mut names = Names::default();
    fusebox::telemetry::Collector::process().collect(&mut names);
    names.0
}

#[test]
fn the_queries_of_the_page_for_operators_are_right_and_ask_for_what_there_is() {
    let families = families();
    let parts = parts("docs/operate.md");
    let queries = parts.iter().filter_map(|part| match part {
        Part::Queries { line, text } => Some((line, text)),
        _ => None,
    });
    let (mut rules, mut asked) = ("groups:\n- name: page\n  rules:\n".to_owned(), 0);
    for (line, text) in queries {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for name in text.split(|c| !is_name(c)).filter(|word| word.starts_with("fusebox_")) {
            assert!(families.contains(name), "line {line}: no family {name} among {families:#?}");
            asked += 1;
        }
        for query in text.split("\n\n") {
            let query: Vec<_> =
                query.lines().filter(|line| !line.starts_with('#')).map(|line| format!("      {line}\n")).collect();
            rules.push_str(&format!("  - record: page:line{line}\n    expr: |\n{}", query.concat()));
        }
    }
    assert!(asked >= 2, "{asked} names were found");
    let file = std::env::temp_dir().join(format!("fusebox-walk-{}.yml", std::process::id()));
    fs::write(&file, &rules).expect("a file");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    let checked = checked.expect("promtool is needed: `apt-get install prometheus`, or put `promtool` on the PATH");
    fs::remove_file(&file).ok();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{rules}\n{said}");
}
