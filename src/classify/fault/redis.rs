//! `redis`: commands, connections, and what a server says of them.

use std::error::Error;

use ::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use super::meaning::{Fault, Meaning};

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    let fault = match link.downcast_ref::<RedisError>() {
        Some(error) => of_redis(error)?,
        None => of_server(link.downcast_ref::<ServerError>()?),
    };
    Some(Meaning::Is(fault))
}

fn of_redis(error: &RedisError) -> Option<Fault> {
    match error.kind() {
        // Of a pipeline or a transaction each command has its own; the kind is that of the first.
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let errors = error.clone().into_server_errors();
            let faults = errors.iter().flat_map(|errors| errors.iter()).map(|(_, error)| of_server(error));
            Some(faults.reduce(|one, other| if one == Fault::Refused { other } else { one }).unwrap_or(Fault::Refused))
        }
        // The answer was read, and is not of the type that the caller asks for.
        ErrorKind::UnexpectedReturnType => Some(Fault::Refused),
        ErrorKind::Parse if !error.detail().is_some_and(is_no_redis) => Some(Fault::Refused),
        // Nothing was asked.
        ErrorKind::InvalidClientConfig
        | ErrorKind::Client
        | ErrorKind::EmptySentinelList
        | ErrorKind::RESP3NotSupported => Some(Fault::Caller),
        ErrorKind::AuthenticationFailed => Some(Fault::Final),
        ErrorKind::Parse
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::ClusterConnectionNotFound => Some(Fault::Dependency),
        // What these have inside may be a certificate.
        _ => None,
    }
}

/// By the code that an error begins with. One that is not known is that of a command, a module or a script, which the server
/// has understood.
fn of_server(error: &ServerError) -> Fault {
    match error.kind() {
        Some(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            // As after a failover: the server has become a replica, the slot has moved.
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => Fault::Dependency,
        Some(ServerErrorKind::ResponseError) if error.details().is_some_and(is_full) => Fault::Dependency,
        Some(_) => Fault::Refused,
        None => match error.code() {
            "BUSY" | "IOERR" | "MISCONF" | "NOGOODSLAVE" | "NOMASTERLINK" | "NOREPLICAS" | "OOM" => Fault::Dependency,
            "NOAUTH" | "WRONGPASS" => Fault::Final,
            _ => Fault::Refused,
        },
    }
}

/// Both that an answer cannot be read and that it is not of the caller's type are of one kind; only the words of the first
/// begin so.
fn is_no_redis(details: &str) -> bool {
    details.starts_with("Parse error at")
}

/// The one of the general errors that says something of the server.
fn is_full(details: &str) -> bool {
    details.starts_with("max number of clients")
}
