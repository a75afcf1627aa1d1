//! What a run's figures hold for.

use crate::measure::cores;
use std::process::Command;
use std::time::SystemTime;

pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

/// The version of the compiler that `cargo` uses here.
pub fn compiler() -> String {
    let output = Command::new(std::env::var("RUSTC").as_deref().unwrap_or("rustc")).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "an unknown compiler".into())
}

/// Such as `28 Nov 2026`.
pub fn date() -> String {
    let date = httpdate::fmt_http_date(SystemTime::now());
    date.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ")
}

/// One line for above a table, or below a plot.
pub fn line() -> String {
    let compiler = compiler();
    let version = compiler.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{}, {} cores, {version}, {}", processor(), cores(), date())
}
