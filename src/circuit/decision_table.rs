//! The decision table of ARCHITECTURE.md, made by asking the machine.

use std::fmt::Write as _;
use std::time::Duration;

use super::detector::{failures, slow_call_rate};
use super::{
    Decision, Fact, Facts, Generation, Input, Machine, Outcome, Override, PermitId, RejectReason, Rules, Slowness,
    State, StepContext,
};
use crate::time::Timestamp;

const S: Duration = Duration::from_secs(1);

/// A machine in a state, and the permit of a call that this generation admitted, if it admits any.
struct Case {
    machine: Machine,
    rules: Rules,
    permit: Option<PermitId>,
    now: Timestamp,
}

impl Case {
    /// A probe is out, of a circuit that slow calls have opened.
    fn probing_slowness() -> Self {
        let mut case = Self::closed();
        case.report(Outcome::Success, Some(S));
        case.now = case.now + 30 * S;
        case.ask();
        case
    }

    /// Closed with one failure in the window; the second of the last four trips.
    fn closed() -> Self {
        let detector = failures(2).of_last(4).or(slow_call_rate(0.5).slower_than(S).of_last(4).min_calls(2));
        let rules = Rules { abandoned_after: Some(10 * S), slowness: Slowness::of(&detector), ..Rules::default() };
        let machine = Machine::new(Box::new(detector), &rules, Generation::new(1), Timestamp::ZERO);
        let mut case = Self { machine, rules, permit: None, now: Timestamp::ZERO };
        case.ask();
        case.report(Outcome::Failure, None);
        case
    }

    fn open() -> Self {
        let mut case = Self::closed();
        case.step(Input::Trip);
        case.permit = None;
        case
    }

    fn cooled() -> Self {
        let mut case = Self::open();
        case.now = case.now + 30 * S;
        case
    }

    fn probing() -> Self {
        let mut case = Self::cooled();
        case.ask();
        case
    }

    fn half_open() -> Self {
        let mut case = Self::probing();
        case.report(Outcome::Ignored, None);
        case
    }

    fn held(order: &Override) -> Self {
        let mut case = Self::closed();
        case.step(Input::Override(order));
        case.permit = None;
        case.ask();
        case.report(Outcome::Failure, None);
        case
    }

    fn step(&mut self, input: Input<'_>) -> (Decision, Vec<Fact>) {
        let mut facts = Facts::default();
        let decision = self.machine.step(&self.rules, input, StepContext { now: self.now, seed: 0 }, &mut facts);
        (decision, facts.iter().collect())
    }

    fn ask(&mut self) -> (Decision, Vec<Fact>) {
        let answer = self.step(Input::Acquire { reserve: false });
        if let Decision::Admitted(permit) = answer.0 {
            self.permit = Some(permit);
        }
        answer
    }

    fn report(&mut self, outcome: Outcome, took: Option<Duration>) -> Option<(Decision, Vec<Fact>)> {
        let permit = self.permit?;
        Some(self.step(Input::Report { permit, outcome, took }))
    }

    /// The head of the probe's response comes late, and the rest goes on for so long that it is judged; then a call asks.
    fn stream_late(&mut self) -> Option<(Decision, Vec<Fact>)> {
        let permit = self.permit.filter(|permit| permit.lease.is_some())?;
        self.step(Input::Accept { permit, took: Some(S) });
        self.now = self.now + S / 2;
        Some(self.ask())
    }
}

type Make = fn() -> Case;
type Act = fn(&mut Case) -> Option<(Decision, Vec<Fact>)>;

const STATES: [(&str, Make); 8] = [
    ("closed", Case::closed),
    ("open", Case::open),
    ("open, cooldown over", Case::cooled),
    ("half-open, place free", Case::half_open),
    ("half-open, probe out", Case::probing),
    ("forced open", || Case::held(&Override::force_open("x"))),
    ("disabled", || Case::held(&Override::disable("x"))),
    ("dry run", || Case::held(&Override::dry_run("x"))),
];

const INPUTS: [(&str, Act); 19] = [
    ("a call asks", |case| Some(case.ask())),
    ("its call succeeds", |case| case.report(Outcome::Success, Some(S / 2))),
    ("its call fails: the second failure", |case| case.report(Outcome::Failure, Some(S / 2))),
    ("its call is slow", |case| case.report(Outcome::Success, Some(S))),
    ("its call is slow, and slow calls had opened the circuit", |case| {
        case.permit.filter(|permit| permit.lease.is_some())?;
        *case = Case::probing_slowness();
        case.report(Outcome::Success, Some(S))
    }),
    ("its head comes late, the rest goes on for 0.5 s, a call asks", Case::stream_late),
    ("the same, and slow calls had opened the circuit", |case| {
        case.permit.filter(|permit| permit.lease.is_some())?;
        *case = Case::probing_slowness();
        case.stream_late()
    }),
    ("its call is ignored", |case| case.report(Outcome::Ignored, Some(S / 2))),
    ("its call is cancelled", |case| case.report(Outcome::Cancelled, Some(S / 2))),
    ("its call is cancelled, and so are the next two probes", |case| {
        case.permit.filter(|permit| permit.lease.is_some())?;
        let mut answer = None;
        for _ in 0..3 {
            answer = case.report(Outcome::Cancelled, Some(S / 2));
            case.ask();
        }
        answer
    }),
    ("its call is cancelled after `abandoned_after`", |case| {
        let late = Some(10 * S);
        case.report(case.rules.counts_as(Outcome::Cancelled, late), late)
    }),
    ("a call of an earlier generation fails", |case| {
        let permit = PermitId { generation: Generation::new(0), lease: None };
        Some(case.step(Input::Report { permit, outcome: Outcome::Failure, took: None }))
    }),
    ("the probe's deadline passes, a call asks", |case| {
        case.now = case.now + 30 * S;
        (case.machine.state() == State::HalfOpen).then(|| case.ask())
    }),
    ("`trip()`", |case| Some(case.step(Input::Trip))),
    ("`reset()`", |case| Some(case.step(Input::Reset))),
    ("`Override::force_open`", |case| Some(case.step(Input::Override(&Override::force_open("y"))))),
    ("`Override::disable`", |case| Some(case.step(Input::Override(&Override::disable("y"))))),
    ("`Override::dry_run`", |case| Some(case.step(Input::Override(&Override::dry_run("y"))))),
    ("`resume()`", |case| Some(case.step(Input::Resume))),
];

fn cell(make: Make, act: Act) -> String {
    let mut case = make();
    let before = case.machine.generation();
    // An outcome needs a call that this generation admitted and that has not reported.
    case.permit = case.permit.filter(|permit| permit.generation == before);
    if let (State::HalfOpen, Some(permit)) = (case.machine.state(), case.permit)
        && case.machine.free_probes(&case.rules) > 0
        && permit.lease.is_some()
    {
        case.permit = None;
    }
    let counts = |case: &Case| (case.machine.tallies(case.now), case.machine.free_probes(&case.rules));
    let (tallies, free) = counts(&case);
    let Some((decision, facts)) = act(&mut case) else { return "–".into() };
    let mut text = match decision {
        Decision::Admitted(PermitId { lease: Some(_), .. }) => "probe".to_owned(),
        Decision::Admitted(_) => "admit".to_owned(),
        Decision::Rejected { reason, until } => {
            let why = match reason {
                RejectReason::Open => "reject: open",
                RejectReason::ProbesBusy => "reject: probes busy",
                RejectReason::ForcedOpen => "reject: forced open",
                RejectReason::NotReady => "reject: not ready",
                RejectReason::StoreDown => "reject: store down",
                RejectReason::AwaitingVerdict => "reject: awaiting verdict",
                RejectReason::AwaitingLease => "reject: awaiting lease",
            };
            let when = until.map(|until| format!(", {:?} left", until.since(case.now))).unwrap_or_default();
            format!("{why}{when}")
        }
        Decision::Overridden => "refused".to_owned(),
        Decision::Done | Decision::Stale => String::new(),
    };
    for fact in facts {
        let separator = if text.is_empty() { "" } else { "; " };
        let happened = match fact {
            Fact::Transition(t) if t.from == t.to => format!("{} ({})", t.to, t.reason),
            Fact::Transition(t) => format!("→ {} ({})", t.to, t.reason),
            Fact::WouldOpen(tally) => format!("would have opened ({tally})"),
            Fact::DetectorPanicked => "detector panicked".to_owned(),
            #[cfg(feature = "fleet")]
            Fact::Fleet(fact) => format!("{fact:?}"),
        };
        write!(text, "{separator}{happened}").expect("a string");
    }
    if !text.is_empty() {
        return text;
    }
    match counts(&case) {
        (now, _) if now != tallies => "counted",
        (_, now) if now > free => "gives its place back",
        _ => "nothing",
    }
    .into()
}

fn table() -> String {
    let mut text = String::from("| |");
    STATES.iter().for_each(|(state, _)| write!(text, " {state} |").expect("a string"));
    text.push_str("\n|---|");
    STATES.iter().for_each(|_| text.push_str("---|"));
    for (input, act) in INPUTS {
        write!(text, "\n| {input} |").expect("a string");
        STATES.iter().for_each(|(_, make)| write!(text, " {} |", cell(*make, act)).expect("a string"));
    }
    text.push('\n');
    text
}

/// Fails when ARCHITECTURE.md is not what the machine does; `FUSEBOX_BLESS=1` writes the table anew.
#[test]
fn architecture_md_holds_the_decision_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let (begin, end) = ("<!-- decision table: begin -->\n", "<!-- decision table: end -->");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md");
    let (head, rest) = text.split_once(begin).expect("the begin mark");
    let (old, tail) = rest.split_once(end).expect("the end mark");
    let new = table();
    if std::env::var_os("FUSEBOX_BLESS").is_some() {
        std::fs::write(path, format!("{head}{begin}{new}{end}{tail}")).expect("ARCHITECTURE.md can be written");
    } else {
        assert_eq!(old, new, "ARCHITECTURE.md is out of date: run with FUSEBOX_BLESS=1");
    }
}
