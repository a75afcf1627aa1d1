//! A fleet at night: what happens to it between the commands of a page.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use super::shell::Shell;
use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, knows_the_store, until, until_all};
use crate::postgres_server::Database;
use crate::store::{Store, wait};

/// Eight instances over one store, each a process with a file that it logs to: three with the breaker `payments`, one with
/// `search`, three that vote about `ledger`, which is critical to them, and one with `mail`.
pub(super) struct Scene<'a> {
    store: &'a Store,
    folder: PathBuf,
    pods: Vec<Instance>,
    payments: Dependency,
    search: Dependency,
    /// One that has no tables at first.
    database: Option<Database>,
}

/// What a page calls a database.
const DATABASE: &str = "postgres://owner:secret@db.internal:5432/shop";
/// The pods with `payments`.
const PAYMENTS: std::ops::Range<usize> = 0..3;
const SEARCH: usize = 3;
/// One of the pods with `ledger`.
const LEDGER: usize = 4;

impl<'a> Scene<'a> {
    pub(super) fn set(store: &'a Store) -> Self {
        let kind = if store.is_redis() { "redis" } else { "postgres" };
        let folder = std::env::temp_dir().join(format!("fusebox-walk-{}-{kind}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("deploy"), "#!/bin/sh\ntouch deployed\n").expect("a file");
        let settings = store.settings().cooldown(Duration::from_secs(90));
        let ledger = settings.clone().named("ledger").failures_in_a_row(3).votes(2).critical("ledger");
        let roles = [
            settings.clone(),
            settings.clone(),
            settings.clone(),
            settings.clone().named("search"),
            ledger.clone(),
            ledger.clone(),
            ledger,
            settings.named("mail"),
        ];
        let pods = roles.into_iter().zip(1..).map(|(settings, number)| {
            Instance::start(number, &settings.log(&folder.join(format!("pod-{number}.log"))))
        });
        let pods: Vec<_> = pods.collect();
        until("every instance knows the store", GRACE, || pods.iter().all(knows_the_store));
        let (payments, search) = (Dependency::start(), Dependency::start());
        fs::set_permissions(folder.join("deploy"), PermissionsExt::from_mode(0o755)).expect("ours");
        Self { store, folder, pods, payments, search, database: None }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn store_url(&self) -> String {
        self.store.url()
    }

    /// What a page calls machines, as they are called here.
    pub(super) fn real(&self, text: &str) -> String {
        let mut text = text.replace("redis://cache.internal:6379", &self.store.url());
        if let Some(database) = &self.database {
            text = text.replace(DATABASE, &database.url());
        }
        for pod in &self.pods {
            let page = format!("http://pod-{}:8080", pod.number);
            if text.contains(&page) {
                text = text.replace(&page, &format!("http://{}", pod.ask("health")));
            }
        }
        text
    }

    /// The other way round.
    pub(super) fn shown(&self, text: &str) -> String {
        let text = text.replace(&self.store.described(), "Redis at cache.internal:6379, namespace `fb`");
        let Some(database) = &self.database else { return text };
        let (port, name) = (database.server.port(), &database.name);
        text.replace(&format!("127.0.0.1:{port}"), "db.internal:5432").replace(&format!("`{name}`"), "`shop`")
    }

    /// Lets something happen, and waits until the fleet knows of it.
    pub(super) fn let_happen(&mut self, what: &str, shell: &mut Shell) {
        match what {
            "the payments provider fails" => {
                self.payments.answers(Answer::Fail);
                // The others make no calls at that moment, so that each run counts the same.
                self.pods[0].fail(5);
                until_all(&self.pods[PAYMENTS], "open", POLL + GRACE);
            }
            // As long as a store without push takes to be looked at again.
            "a moment passes" => thread::sleep(Duration::from_millis(1_500)),
            "calls go on" => {
                for (pod, dependency) in
                    self.pods[..=SEARCH].iter().zip([&self.payments; 3].into_iter().chain([&self.search]))
                {
                    pod.ask(&format!("traffic {} 20 1", dependency.address()));
                }
            }
            "the payments provider is well" => self.payments.answers(Answer::Ok),
            "payments is open everywhere" => {
                until_all(&self.pods[PAYMENTS], "open", POLL + GRACE);
            }
            "payments is closed everywhere" => {
                until_all(&self.pods[PAYMENTS], "closed", POLL + GRACE);
            }
            "pod-5 alone cannot reach the ledger" => {
                self.pods[LEDGER].fail(3);
                self.pods[LEDGER].flush();
                // So long must it be alone with its trouble.
                thread::sleep(Duration::from_secs(4));
            }
            "a newer release writes mail" => self.store.make_newer("mail"),
            "there is a database without tables, and a role that has nothing" => {
                let database = self.store.another_database();
                wait(database.run("create role app login password 'secret'"));
                self.database = Some(database);
            }
            "fax is used no more" => assert_eq!(shell.run("fusebox reset fax --create").1, 0),
            "the store stands still" => {
                self.store.freeze();
                until("all are on their own", GRACE * 4, || !self.pods.iter().any(knows_the_store));
            }
            "the store goes on" => {
                self.store.thaw();
                until("all have it again", GRACE * 4, || self.pods.iter().all(knows_the_store));
            }
            other => panic!("no scene knows: {other}"),
        }
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.store.thaw();
        if !thread::panicking() {
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}
