//! `config check`: what a file of settings configures, in words.

use std::fs;
use std::path::Path;

use fusebox::settings::Settings;
use serde_json::json;

use crate::args::Options;
use crate::failure::{Failure, with_sources};
use crate::terminal::shown;
use crate::{json, terminal};

pub(crate) fn check(options: &Options, file: &Path) -> Result<(), Failure> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| Failure::no(format!("{name} cannot be read: {error}")))?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let settings: Result<Settings, String> = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            // The place in the file is shown by several lines.
            if !options.json {
                error.trim_end().lines().for_each(|line| eprintln!("{}", shown(line)));
            }
            let last = error.trim_end().lines().next_back().unwrap_or_default().to_owned();
            return Err(Failure::no(format!("{name}: {last}")));
        }
    };
    let explained = settings.explain().map_err(|error| Failure::no(format!("{name}: {}", with_sources(&error))))?;
    let lines: Vec<_> = explained.lines().collect();
    if options.json {
        return json::print(&json!({ "file": name.to_string(), "explained": lines }));
    }
    let lines: Vec<_> = lines.into_iter().map(shown).collect();
    terminal::print(lines.join("\n") + "\n")
}
