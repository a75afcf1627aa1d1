//! The processes of a soak, as their parent sees them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::soak_child::{PAYS, SETTINGS, STORES};

/// A process that answers later than this is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all processes have told of the transitions of a fleet that they decided.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    by_generation: BTreeMap<(String, u64), usize>,
    pub(crate) openings: u32,
    /// Generations that two processes decided to begin.
    pub(crate) twice: Vec<String>,
}

/// A process; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    process: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

/// What a process says of itself: `name=value`, in one line.
#[derive(Clone, Debug)]
pub(crate) struct View(BTreeMap<String, String>);

impl View {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap_or_else(|_| panic!("a number in `{field}` of {self:?}"))
    }
}

/// What a process holds of its machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    /// In kibibytes.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
}

impl Instance {
    pub(crate) fn start(number: usize, settings: &str, decided: &Arc<Mutex<Decided>>) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .env(SETTINGS, format!("{number}\n{settings}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (answer, answers) = channel();
        let (out, decided) = (process.stdout.take().expect("a pipe"), Arc::clone(decided));
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(event) = line.strip_prefix('!') {
                    decided.lock().unwrap_or_else(PoisonError::into_inner).note(number, event);
                } else if let Some(line) = line.strip_prefix('@') {
                    answer.send(line.to_owned()).ok();
                }
            }
        });
        let orders = process.stdin.take().expect("a pipe");
        let instance = Self { process, orders, answers };
        instance.answer("to start");
        instance
    }

    /// Has the process do something that it does not answer.
    pub(crate) fn tell(&self, order: &str) {
        (&self.orders).write_all(format!("{order}\n").as_bytes()).expect("the process lives");
    }

    /// Has the process do something, and returns what it says.
    pub(crate) fn ask(&self, order: &str) -> String {
        self.tell(order);
        self.answer(order)
    }

    fn answer(&self, order: &str) -> String {
        let id = self.process.id();
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("process {id} does not answer `{order}`"))
    }

    pub(crate) fn look(&self) -> View {
        let line = self.ask("look");
        let pairs = line.split('\t').filter_map(|pair| pair.split_once('='));
        View(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn signal(&self, name: &str) {
        super::postgres_server::signal(name, &self.process.id().to_string());
    }

    fn vitals_now(&self) -> Vitals {
        let folder = format!("/proc/{}", self.process.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).expect("Linux, and a process that lives");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).expect("its descriptors").count();
        Vitals {
            resident: number("VmRSS"),
            threads: number("Threads"),
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
        }
    }
}

/// The least of what each process is seen to hold for two seconds: what opens and closes again is no growth.
pub(crate) fn vitals(instances: &[Instance]) -> Vec<Vitals> {
    let mut all: Vec<_> = instances.iter().map(Instance::vitals_now).collect();
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(250));
        for (least, instance) in all.iter_mut().zip(instances) {
            let now = instance.vitals_now();
            least.resident = least.resident.min(now.resident);
            least.threads = least.threads.min(now.threads);
            least.descriptors = least.descriptors.min(now.descriptors);
        }
    }
    all
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Decided {
    fn note(&mut self, number: usize, event: &str) {
        let parts: Vec<_> = event.split('\t').collect();
        let &[breaker, _from, to, "Decided", generation] = &parts[..] else {
            return;
        };
        self.openings += u32::from(to == "open");
        let key = (breaker.to_owned(), generation.parse().expect("a number"));
        if let Some(other) = self.by_generation.insert(key.clone(), number) {
            self.twice.push(format!("{} {} by {other} and {number}", key.0, key.1));
        }
    }
}

/// Tells what keeps processes from being one: the first breaker of which they do not all say that it is closed, in the same
/// generation, and that the store is there.
pub(crate) fn disagreement(instances: &[Instance]) -> Option<String> {
    let views: Vec<_> = instances.iter().map(Instance::look).collect();
    for store in STORES {
        for number in 0..PAYS {
            let field = format!("{store}/pay-{number}");
            let first = views[0].get(&field);
            let is_well = first.starts_with("closed,") && first.ends_with(",there") && !first.contains(",0,");
            if !is_well || views.iter().any(|view| view.get(&field) != first) {
                let all: Vec<_> = views.iter().map(|view| view.get(&field)).collect();
                return Some(format!("{field}: {}", all.join("; ")));
            }
        }
    }
    None
}
