//! JSON for programs, which is also safe on a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::failure::Failure;
use crate::one_line::is_seen;

/// An object, with the number of the schema that it follows: `docs/fusebox-cli.schema.json`.
#[derive(Serialize)]
struct Told<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// Prints an object as one line.
pub(crate) fn print(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut out, Escaping);
    let told = Told { schema: 1, value };
    told.serialize(&mut to).map_err(|error| Failure::unwritten(&error.into()))?;
    out.push(b'\n');
    io::stdout().write_all(&out).map_err(|error| Failure::unwritten(&error))
}

/// Writes what cannot be seen as it is by its number.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if is_seen(c) {
                CompactFormatter.write_string_fragment(out, c.encode_utf8(&mut [0; 4]))?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
