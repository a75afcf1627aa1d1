//! Measures fusebox beside other circuit breakers and retries. The README says how a number is made.

#![deny(unsafe_code)]
// The crate's own rule, found by clippy because this folder is inside: here real time is the point.
#![allow(clippy::disallowed_methods)]

mod alloc;
mod budgets;
mod caller;
mod cli;
mod gate;
mod goals;
mod growth;
mod instr;
mod laws;
mod machine;
mod measure;
mod memory;
mod other_build;
mod plot;
mod programs;
mod publish;
mod report;
mod results;
mod rows;
mod run;
mod table;
#[cfg(all(unix, feature = "wire"))]
mod wire;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

pub use cli::main;
