//! The build with features of fusebox that a plain user does not have.

use std::process::{Command, Stdio};

/// Whether this is it.
pub const IS_THIS: bool = cfg!(feature = "parts");

/// Builds it with a feature of this package, runs it, and returns what it prints.
pub fn output(feature: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(std::env::var("CARGO").as_deref().unwrap_or("cargo"));
    command.args(["run", "--locked", "--release", "--quiet", "--bin=fusebox-peers-parts", "--features", feature, "--"]);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What it found is worth reading also where it is not well.
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{text}\nthe build with more features: {}", output.status))
    }
}
