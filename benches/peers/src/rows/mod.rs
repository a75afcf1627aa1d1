//! The rows of the tables: every breaker in the same columns, and every retry in its own.

#[cfg(feature = "parts")]
pub mod bodies;
mod failsafe;
#[cfg(feature = "parts")]
mod fleet;
pub mod floor;
pub mod keys;
#[cfg(feature = "ours")]
mod ours;
#[cfg(feature = "ours")]
mod pairs;
mod recloser;
pub mod retry;
mod tower_resilience;

use crate::caller::{ByHost, Caller, Outcome, Req, hosts};
use crate::growth::Growth;
use crate::laws::{self, Pair};
use crate::measure::{Runner, Sample};
use crate::memory::Memory;
use std::hint::black_box;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    Closed,
    Tenth,
    Open,
    Cycle,
    Two,
    Eight,
    Keyed,
    FirstTry,
    TwoRetries,
    TwoWaits,
    NoBudget,
    Stacked,
    SmallBody,
    SmallBodies,
    LargeBody,
    LargeBodies,
}

/// A column, its name in `ROW/COLUMN`, its title.
pub type Titled = (Column, &'static str, &'static str);

impl Column {
    pub const BREAKERS: [Titled; 7] = [
        (Column::Closed, "closed", "closed, success"),
        (Column::Tenth, "tenth", "10 % failures"),
        (Column::Open, "open", "open, rejected"),
        (Column::Cycle, "cycle", "trip + probe + close"),
        (Column::Two, "two", "two threads, one breaker"),
        (Column::Eight, "eight", "eight threads, one breaker"),
        (Column::Keyed, "keyed", "1,000 keyed"),
    ];
    pub const RETRIES: [Titled; 4] = [
        (Column::FirstTry, "first", "first try ok"),
        (Column::TwoRetries, "retries", "two retries, no delay"),
        (Column::TwoWaits, "waits", "two retries, 1 ms on a paused clock"),
        (Column::NoBudget, "unpaid", "fails, no budget left"),
    ];
    pub const STACKS: [Titled; 1] = [(Column::Stacked, "stacked", "closed, first try ok")];

    pub const BODIES: [Titled; 4] = [
        (Column::SmallBody, "1k", "1 KiB, first try ok"),
        (Column::SmallBodies, "1k-thrice", "1 KiB, sent three times"),
        (Column::LargeBody, "1m", "1 MiB, first try ok"),
        (Column::LargeBodies, "1m-thrice", "1 MiB, sent three times"),
    ];

    pub fn all() -> impl Iterator<Item = Titled> {
        Self::BREAKERS.into_iter().chain(Self::RETRIES).chain(Self::STACKS).chain(Self::BODIES)
    }

    pub fn threads(self) -> usize {
        match self {
            Column::Two => 2,
            Column::Eight => 8,
            _ => 1,
        }
    }
}

/// What a breaker is asked to be: half of `calls` failing opens it, one probe closes it.
#[derive(Clone, Copy)]
pub struct Setup {
    pub calls: u32,
    pub cooldown: Duration,
}

impl Setup {
    pub const STEADY: Setup = Setup { calls: 100, cooldown: Duration::from_secs(3600) };
    const SMALL: Setup = Setup { calls: 10, ..Setup::STEADY };
}

pub type Make = Box<dyn Fn(usize) -> Vec<Runner>>;

pub struct Cell {
    pub column: Column,
    pub make: Make,
    /// Calls in a batch; found once, so that every round makes as many.
    pub n: u64,
    pub samples: Vec<Sample>,
    /// Per call, where the column asks for it.
    pub allocations: Option<f64>,
    /// Finds the bytes of a call on its way.
    pub weigh: Box<dyn Fn() -> Option<f64>>,
}

impl Cell {
    fn new(column: Column, make: Make) -> Cell {
        Cell { column, make, n: 0, samples: Vec::new(), allocations: None, weigh: Box::new(|| None) }
    }
}

pub struct Row {
    pub id: &'static str,
    pub name: &'static str,
    pub cells: Vec<Cell>,
}

impl Row {
    /// All columns; a breaker without a registry is kept in a map behind a lock.
    pub fn new<C: Caller + Sync>(
        id: &'static str,
        name: &'static str,
        build: impl Fn(Setup) -> C + Clone + 'static,
    ) -> Row {
        let [closed, weighed, two, eight, tenth, open, cycle, keyed] = [(); 8].map(|()| build.clone());
        let closed = on_shared(move || healthy(closed(Setup::STEADY)), successes);
        let weigh = Box::new(move || healthy(weighed(Setup::STEADY)).weight());
        let cells = vec![
            Cell { weigh, ..Cell::new(Column::Closed, closed) },
            Cell::new(Column::Two, on_shared(move || healthy(two(Setup::STEADY)), successes)),
            Cell::new(Column::Eight, on_shared(move || healthy(eight(Setup::STEADY)), successes)),
            Cell::new(Column::Tenth, on_shared(move || failing_a_tenth(tenth(Setup::STEADY)), tenths)),
            Cell::new(Column::Open, on_shared(move || opened(open(Setup::STEADY)).0, successes)),
            Cell::new(Column::Cycle, cycle_cell(cycle)),
        ];
        Row { id, name, cells }.keyed(move || ByHost::new(&hosts(1_000), || keyed(Setup::STEADY)))
    }

    /// A row that is given its columns one by one.
    fn empty(id: &'static str, name: &'static str) -> Row {
        Row { id, name, cells: Vec::new() }
    }

    fn with(mut self, cell: Cell) -> Row {
        self.cells.push(cell);
        self
    }

    pub fn keyed<C: Caller>(mut self, build: impl Fn() -> C + 'static) -> Row {
        self = self.without(&[Column::Keyed]);
        self.with(Cell::new(Column::Keyed, on_shared(move || warm_hosts(build()), random_hosts)))
    }

    pub fn cell(&self, column: Column) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.column == column)
    }

    pub fn without(mut self, columns: &[Column]) -> Row {
        self.cells.retain(|cell| !columns.contains(&cell.column));
        self
    }
}

fn on_shared<C: Caller>(build: impl Fn() -> C + 'static, run: fn(&mut C, u64)) -> Make {
    Box::new(move |threads| {
        let caller = build();
        (0..threads)
            .map(|_| {
                let mut caller = caller.clone();
                Box::new(move |n| run(&mut caller, n)) as Runner
            })
            .collect()
    })
}

/// `black_box` around the caller keeps its state out of registers, as in a real service.
#[inline(always)]
fn one_call<C: Caller>(caller: &mut C, req: Req) {
    black_box(black_box(caller).call(black_box(req)));
}

fn successes<C: Caller>(caller: &mut C, n: u64) {
    (0..n).for_each(|i| one_call(caller, Req::ok(i)));
}

fn tenths<C: Caller>(caller: &mut C, n: u64) {
    let mut left = 10;
    for i in 0..n {
        left -= 1;
        if left == 0 {
            left = 10;
            one_call(caller, Req::failing(i));
        } else {
            one_call(caller, Req::ok(i));
        }
    }
}

fn random_hosts<C: Caller>(caller: &mut C, n: u64) {
    let mut random = 12_345_u64;
    for i in 0..n {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        one_call(caller, Req::ok(i).to((random >> 33) as usize % 1_000));
    }
}

fn healthy<C: Caller>(mut caller: C) -> C {
    (0..300).for_each(|i| assert_eq!(caller.call(Req::ok(i)), Outcome::Ok));
    caller
}

fn failing_a_tenth<C: Caller>(caller: C) -> C {
    let mut caller = healthy(caller);
    tenths(&mut caller, 1_000);
    assert_eq!(caller.call(Req::ok(0)), Outcome::Ok, "10 % failures must not open it");
    caller
}

fn warm_hosts<C: Caller>(mut caller: C) -> C {
    for host in 0..1_000 {
        // A full window, and some more: fusebox drains successes by 64.
        (0..130).for_each(|i| assert_eq!(caller.call(Req::ok(i).to(host)), Outcome::Ok));
    }
    caller
}

/// An open breaker, and how many failures that took.
fn opened<C: Caller>(mut caller: C) -> (C, u64) {
    for failures in 0..1_000 {
        if caller.call(Req::failing(failures)) == Outcome::Rejected {
            return (caller, failures);
        }
    }
    panic!("never opens");
}

/// The peers disagree about how many failures fill a window and how many successes close, so the
/// length of a cycle is found by trying; a cycle that does not come round would time something else.
fn cycle_cell<C: Caller>(build: impl Fn(Setup) -> C + 'static) -> Make {
    Box::new(move |threads| {
        assert_eq!(threads, 1);
        let failures = opened(build(Setup::SMALL)).1;
        let comes_round = |probes: &u64| {
            let cooldown = Duration::from_millis(5);
            let (mut caller, _) = opened(build(Setup { cooldown, ..Setup::SMALL }));
            std::thread::sleep(cooldown * 3);
            (0..*probes).all(|i| caller.call(Req::ok(i)) == Outcome::Ok)
                && (0..failures).all(|i| caller.call(Req::failing(i)) == Outcome::Failed)
                && caller.call(Req::ok(0)) == Outcome::Rejected
        };
        let probes = (1..=3).find(comes_round).expect("closes again after a few probes");
        let mut caller = build(Setup { cooldown: Duration::ZERO, ..Setup::SMALL });
        let mut step = 0;
        vec![Box::new(move |n| {
            for i in 0..n {
                let req = if step < failures { Req::failing(i) } else { Req::ok(i) };
                one_call(&mut caller, req);
                step = if step + 1 == failures + probes { 0 } else { step + 1 };
            }
        })]
    })
}

pub fn all() -> Vec<Row> {
    let mut rows = floor::rows();
    #[cfg(feature = "ours")]
    rows.extend(ours::rows());
    rows.extend([recloser::row(), failsafe::row(), tower_resilience::row()]);
    rows.extend(retry::rows());
    #[cfg(feature = "parts")]
    rows.extend(bodies::rows());
    rows
}

/// `ROW/COLUMN`
pub fn cell_id(row: &str, column: Column) -> String {
    let (_, name, _) = Column::all().find(|(c, ..)| *c == column).expect("a column with a name");
    format!("{row}/{name}")
}

/// fusebox's row in the comparison.
pub const OURS: &str = "fusebox";

/// Whether a row or a case is about fusebox.
pub fn is_ours(id: &str) -> bool {
    id.contains("fusebox")
}

/// The runner that a name stands for: `ROW/COLUMN`, or a size of what grows.
pub fn runner(cell: &str) -> Option<Runner> {
    let find = || {
        let (row, column) = cell.split_once('/')?;
        let row = all().into_iter().find(|r| r.id == row)?;
        let (column, ..) = Column::all().find(|(_, name, _)| *name == column)?;
        Some((row.cell(column)?.make)(1).remove(0))
    };
    laws::runner(&pairs(), cell).or_else(find)
}

/// What grows, at two sizes.
pub fn pairs() -> Vec<Pair> {
    #[cfg(feature = "ours")]
    return pairs::pairs();
    #[cfg(not(feature = "ours"))]
    Vec::new()
}

pub fn growth() -> Vec<Growth> {
    vec![
        #[cfg(feature = "ours")]
        ours::growth(),
        tower_resilience::growth(),
    ]
}

pub fn memory() -> Vec<Memory> {
    let mut memory = vec![floor::memory()];
    #[cfg(feature = "ours")]
    memory.extend(ours::memory());
    memory.extend(recloser::memory());
    memory.extend(failsafe::memory());
    memory.extend(tower_resilience::memory());
    memory
}
