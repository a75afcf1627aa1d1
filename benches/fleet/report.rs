//! What was measured, beside what is allowed.

/// The table as it is printed, and whether everything is within its limit.
#[derive(Default)]
pub(crate) struct Report {
    over: u32,
}

impl Report {
    pub(crate) fn head(&self, server: &str) {
        let Self { .. } = self;
        println!("\n{server:<78} {:>10} {:>10}", "measured", "allowed");
    }

    /// A count, with the most that it may be.
    pub(crate) fn most(&mut self, what: &str, measured: f64, allowed: f64) {
        self.row(what, measured, allowed, measured <= allowed);
    }

    /// A count, with the least that it must be.
    pub(crate) fn least(&mut self, what: &str, measured: f64, allowed: f64) {
        self.row(what, measured, allowed, measured >= allowed);
    }

    fn row(&mut self, what: &str, measured: f64, allowed: f64, is_within: bool) {
        self.over += u32::from(!is_within);
        println!("  {what:<76} {measured:>10.2} {allowed:>10.2}{}", if is_within { "" } else { "   OVER" });
    }

    /// A count, with the most that it may be, if that is said.
    pub(crate) fn most_or_number(&mut self, what: &str, measured: f64, allowed: Option<f64>) {
        match allowed {
            Some(allowed) => self.most(what, measured, allowed),
            None => self.number(what, measured),
        }
    }

    /// A count that depends on the machine as well.
    pub(crate) fn number(&self, what: &str, measured: f64) {
        self.time(what, &format!("{measured:.2}"));
    }

    /// Something of the machine's.
    pub(crate) fn time(&self, what: &str, measured: &str) {
        let Self { .. } = self;
        println!("  {what:<76} {measured:>10}");
    }

    pub(crate) fn end(self) {
        println!();
        if self.over > 0 {
            println!("{} over their limit", self.over);
            std::process::exit(1);
        }
        println!("everything within its limit");
    }
}
