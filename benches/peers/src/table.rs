//! A table in markdown.

use std::fmt::{self, Display, Formatter};

pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(corner: &str, columns: impl IntoIterator<Item = impl Into<String>>) -> Table {
        let head = std::iter::once(corner.to_string()).chain(columns.into_iter().map(Into::into)).collect();
        Table { head, rows: Vec::new() }
    }

    pub fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        self.rows.push(std::iter::once(name.to_string()).chain(cells).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|---|{}", "---:|".repeat(self.head.len() - 1))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

/// Three digits that mean something.
pub fn number(x: f64) -> String {
    match x {
        x if x.is_nan() => "–".into(),
        x if x >= 99.95 => format!("{x:.0}"),
        x => format!("{x:.1}"),
    }
}

pub fn hundredths(x: f64) -> String {
    format!("{}", (x * 100.0).round() / 100.0)
}

pub fn whole(x: f64) -> String {
    format!("{x:.0}")
}

pub fn or_dash(x: Option<f64>, show: impl Fn(f64) -> String) -> String {
    x.map_or("–".into(), show)
}
