//! Names of release 0.1.0 that stand in a module of their subject now.

macro_rules! renamed {
    ($($module:ident, $note:literal: $($name:ident $(<$($of:ident),+>)?),+;)+) => {$($(
        #[doc = $note]
        #[deprecated(since = "0.2.0", note = $note)]
        pub type $name$(<$($of),+>)? = crate::$module::$name$(<$($of),+>)?;
    )+)+};
}

renamed! {
    detect, "in `fusebox::detect` since 0.2":
        Call, Combined, Counted, Evidence, Horizon, LoadError, Run, Tally;
    circuit_breaker, "in `fusebox::circuit_breaker` since 0.2":
        Classified<C>, CooldownContext, Events, Generation, NameTaken, Origin, Overridden, OverrideKind, PartTally,
        ProbeTally, Recent, RejectReason, StateScope, TransitionReason, Wrapped<F, C>;
    clock, "in `fusebox::clock` since 0.2":
        SystemClock, Timestamp;
}
