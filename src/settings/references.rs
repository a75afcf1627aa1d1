//! References of what stands elsewhere in the file, looked up as soon as both have been read.

use std::cell::RefCell;

use super::path::Path;
use super::table::{meant, or};
use crate::one_line::OneLine;

/// What can be named without a section, and in which it would stand.
const BUILT_IN: [(&str, &str); 1] = [("fleets", "pooled")];

/// The sections that have been read whole, and the names that wait for theirs.
///
/// A name whose section stands before it is looked up where it stands, one whose section stands behind it at the section: a
/// format's reader does not go back, and it is the reader that knows the line.
#[derive(Debug, Default)]
pub(super) struct References {
    read: RefCell<Vec<(String, Vec<String>)>>,
    waiting: RefCell<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    section: &'static str,
    name: String,
    /// Where the name stands.
    path: String,
}

impl References {
    /// Looks up a name that is read at a place.
    ///
    /// # Errors
    ///
    /// What follows the path in the message, where the section has been read and has none of that name.
    pub(super) fn look_up(&self, section: &'static str, name: &str, path: &Path<'_>) -> Result<(), String> {
        if let Some((_, known)) = self.read.borrow().iter().find(|(read, _)| read == section) {
            return check(section, name, known.iter().map(String::as_str));
        }
        let path = path.to_string();
        self.waiting.borrow_mut().push(Waiting { section, name: name.to_owned(), path });
        Ok(())
    }

    /// Takes in the names of a section, and looks up those that wait for it.
    ///
    /// # Errors
    ///
    /// The path of the first that is not among them, and what follows it in the message.
    pub(super) fn read(&self, section: &str, known: Vec<String>) -> Result<(), (String, String)> {
        let waiting = self.waiting.borrow();
        for Waiting { section, name, path } in waiting.iter().filter(|waiting| waiting.section == section) {
            check(section, name, known.iter().map(String::as_str)).map_err(|text| (path.clone(), text))?;
        }
        self.read.borrow_mut().push((section.to_owned(), known));
        Ok(())
    }
}

/// Tells whether a name stands for something.
///
/// # Errors
///
/// What follows the path in the message: what it could stand for.
pub(super) fn check<'a>(
    section: &str,
    name: &str,
    known: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), String> {
    let built_in = BUILT_IN.iter().filter(|(of, _)| *of == section).map(|(_, name)| *name);
    let mut known: Vec<_> = known.collect();
    for built_in in built_in {
        if !known.contains(&built_in) {
            known.push(built_in);
        }
    }
    if known.contains(&name) {
        return Ok(());
    }
    let near = meant(name, known.iter().copied()).unwrap_or_default();
    let known = or(&shown(known.into_iter()));
    Err(format!("is \"{}\", allowed is the name of one of `{section}` ({known}), or a table{near}", OneLine(name)))
}

/// The names that there are, or as many of them as a reader takes in.
pub(super) fn shown<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Vec<String> {
    const MOST: usize = 10;
    let more = names.len().saturating_sub(MOST);
    let mut shown: Vec<_> = names.take(MOST).map(|name| format!("\"{}\"", OneLine(name))).collect();
    shown.extend((more > 0).then(|| format!("one of {more} more")));
    shown
}
