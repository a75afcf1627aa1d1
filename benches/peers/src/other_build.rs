//! The builds with features of fusebox that a plain user does not have.

use std::process::{Command, Stdio};

/// What fusebox is built with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// None of its features, and all that the others don't look at.
    Plain,
    /// The features `fleet` and `http`, or more.
    Parts,
    /// The features `counts` and `tracing`.
    Operated,
}

impl Build {
    pub const THIS: Self = if cfg!(feature = "parts") {
        Self::Parts
    } else if cfg!(feature = "operated") {
        Self::Operated
    } else {
        Self::Plain
    };
    pub const OTHERS: [Self; 2] = [Self::Parts, Self::Operated];

    /// Its feature in this package, and its section in the file of budgets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Parts => "parts",
            Self::Operated => "operated",
        }
    }

    pub const fn features(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Parts if cfg!(feature = "wire") => "`axum`, `fleet` and `grpc`",
            Self::Parts => "`fleet` and `http`",
            Self::Operated => "`counts` and `tracing`",
        }
    }

    /// Builds it with a feature of this package, runs it, and returns what it prints.
    pub fn output(self, feature: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(std::env::var("CARGO").as_deref().unwrap_or("cargo"));
        let program = format!("--bin=fusebox-peers-{}", self.name());
        command.args(["run", "--locked", "--release", "--quiet", &program, "--features", feature, "--"]);
        let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| format!("cargo: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // What it found is worth reading also where it is not well.
        if output.status.success() {
            Ok(text)
        } else {
            Err(format!("{text}\nthe build with {}: {}", self.features(), output.status))
        }
    }
}
