//! The file of budgets: what calls may cost. A figure above its budget is a rise.

use crate::laws::Law;
use crate::machine;
use crate::other_build::Build;
use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Each build has budgets of its own.
const SECTION: &str = Build::THIS.name();

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml");

pub const INSTRUCTIONS: &str = "instructions";
pub const LOCKED: &str = "locked";
pub const ALLOCATIONS: &str = "allocations";
pub const BYTES: &str = "bytes";
/// With a hundred times as much of something.
pub const TIMES: &str = "times";

/// What is measured, then which figure of it.
pub type Figures = BTreeMap<String, BTreeMap<&'static str, f64>>;

#[derive(Default)]
pub struct Budgets {
    compiler: String,
    target: String,
    /// By build.
    sections: BTreeMap<String, Figures>,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Rise,
    Fall,
    New,
    Gone,
}

pub struct Change {
    what: String,
    figure: &'static str,
    old: Option<f64>,
    new: Option<f64>,
    verdict: Verdict,
}

impl Change {
    /// A fall is good news; whatever else it is needs a look.
    pub fn is_over(&self) -> bool {
        self.verdict != Verdict::Fall
    }
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

fn figures(of: &toml::Table) -> Result<Figures, String> {
    let known = [INSTRUCTIONS, LOCKED, ALLOCATIONS, BYTES, TIMES];
    let mut all = Figures::new();
    for (what, figures) in of {
        for (name, value) in figures.as_table().into_iter().flatten() {
            let figure = known.into_iter().find(|known| known == name).ok_or_else(|| format!("{what}: {name}?"))?;
            let value = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
            let value = value.ok_or_else(|| format!("{what}: {figure} is no number"))?;
            all.entry(what.clone()).or_default().insert(figure, value);
        }
    }
    Ok(all)
}

pub fn read() -> Result<Budgets, String> {
    let text = std::fs::read_to_string(FILE).map_err(|e| format!("{FILE}: {e}"))?;
    let file: toml::Table = text.parse().map_err(|e| format!("{FILE}: {e}"))?;
    let mut budgets = Budgets::default();
    for (key, value) in &file {
        match (key.as_str(), value) {
            ("compiler", toml::Value::String(compiler)) => budgets.compiler.clone_from(compiler),
            ("target", toml::Value::String(target)) => budgets.target.clone_from(target),
            (section, toml::Value::Table(of)) => {
                budgets.sections.insert(section.into(), figures(of)?);
            }
            _ => return Err(format!("{FILE}: {key}?")),
        }
    }
    Ok(budgets)
}

/// Replaces the budgets of this build; those of the other one stay.
pub fn write(figures: Figures) -> Result<(), String> {
    let mut sections = read().unwrap_or_default().sections;
    sections.insert(SECTION.into(), figures);
    let mut text = format!(
        "# What calls may cost. `cargo run --release -- --gate` fails where one costs more, `--gate --write` writes this\n\
         # file with what they cost now. `parts` is the build with the features fleet and http, `operated` that with counts\n\
         # and tracing. `times`: how many times the instructions are with a hundred times as much of it.\n\
         compiler = \"{}\"\ntarget = \"{}\"\n",
        machine::compiler(),
        target()
    );
    let mut line = |text_of: String| writeln!(text, "{text_of}").expect("a string takes it");
    for (section, figures) in sections {
        line(format!("\n[{section}]"));
        for (what, figures) in figures {
            let figures: Vec<_> = figures.iter().map(|(figure, value)| format!("{figure} = {value}")).collect();
            line(format!("\"{what}\" = {{ {} }}", figures.join(", ")));
        }
    }
    std::fs::write(FILE, text).map_err(|e| format!("{FILE}: {e}"))
}

/// Whether a figure is not quite the same each time: windows of time move on meanwhile, and all the more under a stepper;
/// other threads have allocated more or less.
fn moves(what: &str) -> bool {
    ["fusebox-honest/", "-shared/"].iter().any(|part| what.contains(part))
}

impl Budgets {
    /// Another compiler makes other instructions of the same source, and as many locked ones, allocations and bytes.
    fn allowed(&self, what: &str, figure: &str, budget: f64) -> f64 {
        match figure {
            INSTRUCTIONS if self.target != target() => f64::INFINITY,
            INSTRUCTIONS if moves(what) => budget * 1.2 + 2.0,
            INSTRUCTIONS if !self.is_of_this_compiler() => budget * 1.1 + 2.0,
            INSTRUCTIONS => budget * 1.02 + 1.0,
            LOCKED if moves(what) => budget + 4.0,
            LOCKED => budget + 0.5,
            ALLOCATIONS => budget + 0.002,
            BYTES if moves(what) => budget * 1.1,
            BYTES => budget * 1.01,
            // What is flat may be a little less or more so.
            _ => (budget * 1.1).max(Law::Flat.most()),
        }
    }

    fn is_of_this_compiler(&self) -> bool {
        self.compiler == machine::compiler()
    }

    fn old(&self, what: &str, figure: &str) -> Option<f64> {
        self.sections.get(SECTION)?.get(what)?.get(figure).copied()
    }

    fn verdict(&self, what: &str, figure: &str, old: Option<f64>, new: f64) -> Option<Verdict> {
        match old {
            None => Some(Verdict::New),
            Some(old) if new > self.allowed(what, figure, old) => Some(Verdict::Rise),
            // Not for every little: each asks for another file.
            Some(old) if new < old * 0.95 && !moves(what) => Some(Verdict::Fall),
            Some(_) => None,
        }
    }

    /// What differs. A figure that nothing measures any more is one too, unless it can't be measured here.
    pub fn changes(&self, now: &Figures, here: impl Fn(&str) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (what, figures) in now {
            for (&figure, &new) in figures {
                let old = self.old(what, figure);
                let verdict = self.verdict(what, figure, old, new);
                changes.extend(verdict.map(|verdict| Change {
                    what: what.clone(),
                    figure,
                    old,
                    new: Some(new),
                    verdict,
                }));
            }
        }
        let is_measured = |what: &str, figure: &str| now.get(what).is_some_and(|figures| figures.contains_key(figure));
        for (what, figures) in self.sections.get(SECTION).into_iter().flatten() {
            let gone = figures.iter().filter(|(figure, _)| here(figure) && !is_measured(what, figure));
            changes.extend(gone.map(|(&figure, &old)| Change {
                what: what.clone(),
                figure,
                old: Some(old),
                new: None,
                verdict: Verdict::Gone,
            }));
        }
        changes
    }

    /// A word on why instructions are compared loosely, or not at all.
    pub fn caution(&self) -> Option<String> {
        if self.target != target() {
            return Some(format!("The budgets are of {}: instructions are not compared here.", self.target));
        }
        let here = machine::compiler();
        (!self.is_of_this_compiler()).then(|| format!("The budgets are of {}, this is {here}.", self.compiler))
    }
}

pub fn table(changes: &[Change]) -> Table {
    let mut table = Table::new("", ["figure", "old", "new", ""]);
    let show = |x: Option<f64>| x.map_or("–".into(), |x| x.to_string());
    for Change { what, figure, old, new, verdict } in changes {
        let verdict = match verdict {
            Verdict::Rise => "**more**",
            Verdict::Fall => "less",
            Verdict::New => "**has no budget**",
            Verdict::Gone => "**is not measured**",
        };
        table.row(what, [figure.to_string(), show(*old), show(*new), verdict.into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(figure: &'static str, value: f64) -> Figures {
        [("a/closed".to_string(), [(figure, value)].into())].into()
    }

    fn budgets(figure: &'static str, value: f64) -> Budgets {
        let sections = [(SECTION.to_string(), one(figure, value))].into();
        Budgets { compiler: machine::compiler(), target: target(), sections }
    }

    /// Which figures are over their budget, as the table has them.
    fn over(budgets: &Budgets, now: &Figures) -> Vec<(Option<f64>, Option<f64>)> {
        let changes = budgets.changes(now, |_| true);
        changes.iter().filter(|change| change.is_over()).map(|change| (change.old, change.new)).collect()
    }

    #[test]
    fn a_rise_is_over_with_the_old_and_the_new_figure() {
        for (figure, old, new) in [
            (INSTRUCTIONS, 100.0, 104.0),
            (LOCKED, 2.0, 3.0),
            (ALLOCATIONS, 0.0, 0.25),
            (BYTES, 200.0, 208.0),
            (TIMES, 1.0, 1.2),
        ] {
            assert_eq!(over(&budgets(figure, old), &one(figure, new)), [(Some(old), Some(new))], "{figure}");
            assert_eq!(over(&budgets(figure, old), &one(figure, old)), [], "{figure}");
        }
    }

    #[test]
    fn what_has_no_budget_and_what_is_not_measured_are_over() {
        let (budgets, none) = (budgets(BYTES, 8.0), Figures::new());
        assert_eq!(over(&budgets, &one(LOCKED, 0.0)), [(None, Some(0.0)), (Some(8.0), None)]);
        assert_eq!(over(&budgets, &none), [(Some(8.0), None)]);
        assert!(budgets.changes(&none, |_| false).is_empty(), "it can't be measured here");
    }

    #[test]
    fn a_fall_is_told_of_and_not_over() {
        let budgets = budgets(INSTRUCTIONS, 100.0);
        let now = one(INSTRUCTIONS, 90.0);
        assert_eq!((budgets.changes(&now, |_| true).len(), over(&budgets, &now).len()), (1, 0));
    }

    #[test]
    fn another_compiler_has_room_for_other_code_and_for_nothing_else() {
        let other = |figure| Budgets { compiler: "rustc 0.1.0".into(), ..budgets(figure, 100.0) };
        assert_eq!(over(&other(INSTRUCTIONS), &one(INSTRUCTIONS, 108.0)).len(), 0);
        assert_eq!(over(&other(INSTRUCTIONS), &one(INSTRUCTIONS, 120.0)).len(), 1);
        assert_eq!(over(&other(LOCKED), &one(LOCKED, 101.0)).len(), 1);
        assert!(other(LOCKED).caution().is_some());
    }

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let budgets = read().expect("the file");
        assert!(["plain", "parts", "operated"].iter().all(|section| budgets.sections.contains_key(*section)));
        assert_eq!(budgets.old("fusebox/closed", ALLOCATIONS), Some(0.0));
    }
}
