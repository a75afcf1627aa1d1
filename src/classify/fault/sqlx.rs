//! `sqlx`: queries, connections and pools; and what a database says of them, by its SQLSTATE.

use std::error::Error;

use ::sqlx::Error as SqlxError;
use ::sqlx::error::{DatabaseError, ErrorKind};
use ::sqlx::postgres::PgDatabaseError;

use super::meaning::{Fault, Meaning};

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    let fault = if let Some(error) = link.downcast_ref::<SqlxError>() {
        of_sqlx(error)?
    } else if let Some(error) = link.downcast_ref::<Box<dyn DatabaseError>>() {
        // What is left where an error of the caller's own stands in for sqlx's.
        of_database(&**error)?
    } else {
        of_database(link.downcast_ref::<PgDatabaseError>()?)?
    };
    Some(Meaning::Is(fault))
}

fn of_sqlx(error: &SqlxError) -> Option<Fault> {
    match error {
        SqlxError::Database(error) => of_database(&**error),
        // The answer was read, and is not what the caller expects of it.
        SqlxError::RowNotFound
        | SqlxError::TypeNotFound { .. }
        | SqlxError::ColumnIndexOutOfBounds { .. }
        | SqlxError::ColumnNotFound(_)
        | SqlxError::ColumnDecode { .. }
        | SqlxError::Decode(_) => Some(Fault::Refused),
        // Nothing was asked. (A pool is closed by its owner.)
        SqlxError::Configuration(_)
        | SqlxError::InvalidArgument(_)
        | SqlxError::Encode(_)
        | SqlxError::PoolClosed
        | SqlxError::InvalidSavePointStatement => Some(Fault::Caller),
        SqlxError::PoolTimedOut | SqlxError::WorkerCrashed | SqlxError::Protocol(_) | SqlxError::BeginFailed => {
            Some(Fault::Dependency)
        }
        // What these have inside may be a certificate.
        _ => None,
    }
}

fn of_database(error: &dyn DatabaseError) -> Option<Fault> {
    // Databases whose codes are others know these.
    if error.kind() != ErrorKind::Other {
        return Some(Fault::Refused);
    }
    of_sqlstate(&error.code()?)
}

/// By PostgreSQL's appendix A, of which the classes up to 4 are those of the SQL standard. `None`: no such code is known, as
/// of a function of the caller's that raises one of its own.
fn of_sqlstate(code: &str) -> Option<Fault> {
    if code.len() != 5 {
        return None;
    }
    let class = code.get(..2)?;
    let fault = match code {
        // Another transaction came first, or stands in the way: the next attempt may find it gone.
        "40001" | "40P01" | "55P03" | "72000" => Fault::Conflict,
        // A server that has become a replica, one that ends a transaction for its length, one that does not know how it
        // ended.
        "25006" | "25P04" | "40000" | "40003" => Fault::Dependency,
        // Credentials that are not taken; a database that is not there.
        "28000" | "28P01" | "3D000" => Fault::Final,
        _ if TROUBLES.contains(&class) => Fault::Dependency,
        _ if ANSWERS.contains(&class) => Fault::Refused,
        _ => return None,
    };
    Some(fault)
}

/// The classes of what is wrong with the server, or with the way to it.
const TROUBLES: [&str; 6] = ["08", "53", "57", "58", "F0", "XX"];

/// The classes of what a database that is well says of a query.
const ANSWERS: [&str; 33] = [
    "01", "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25", "26", "27",
    "2B", "2D", "2F", "34", "38", "39", "3B", "3F", "40", "42", "44", "54", "55", "P0",
];
