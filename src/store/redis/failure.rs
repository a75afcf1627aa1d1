//! What a server's errors mean for us.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::nodes::Address;
use crate::one_line::OneLine;
use crate::store::credentials::Provider;
use crate::store::error::StoreError;

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// The connection broke: what became of the operation is unknown.
    Broken,
    /// The server answers no client now; nothing took place.
    Away,
    /// The server could not do it now; nothing took place.
    Busy,
    /// The server refuses, and would on any connection.
    Refused,
    /// The server refuses what comes over this connection; over another one may reach another server.
    RefusedHere,
    /// Another node of the cluster owns the key; nothing took place.
    Moved(Address),
    /// The cluster is sorting itself out; nothing took place, and the connection is as good as any.
    Unsettled,
}

impl Failure {
    /// There is no connection.
    pub(super) fn away(text: impl Into<String>) -> Self {
        Self { kind: Kind::Away, text: text.into() }
    }

    /// There was no answer in time.
    pub(super) fn silent(text: impl Into<String>) -> Self {
        Self { kind: Kind::Broken, text: text.into() }
    }

    /// Words of others lose what is secret.
    pub(super) fn of(error: &RedisError, secrets: &Secrets) -> Self {
        let text = error.to_string();
        let kind = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => match error.redirect_node() {
                Some((node, _)) => Address::parse(node).map_or(Kind::Unsettled, Kind::Moved),
                None => Kind::Unsettled,
            },
            ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::ClusterDown | ServerErrorKind::TryAgain) => {
                Kind::Unsettled
            }
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::ReadOnly) => Kind::RefusedHere,
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => Kind::Away,
            ErrorKind::Io | ErrorKind::Parse => Kind::Broken,
            // Before Redis 7, what a command in a script was refused for is only in the text.
            _ if text.contains("READONLY") => Kind::RefusedHere,
            _ if ["NOAUTH", "WRONGPASS"].contains(&error.code().unwrap_or_default()) => Kind::RefusedHere,
            _ if ["BUSY", "MASTERDOWN", "LOADING"].contains(&error.code().unwrap_or_default()) => Kind::Away,
            _ if ["OOM", "MISCONF", "NOREPLICAS"].contains(&error.code().unwrap_or_default()) => Kind::Busy,
            _ if text.contains("OOM command not allowed") => Kind::Busy,
            _ => Kind::Refused,
        };
        Self { kind, text: OneLine(&secrets.hide(text)).to_string() }
    }

    /// Whether a new connection might mend it.
    pub(super) const fn needs_redial(&self) -> bool {
        match self.kind {
            Kind::Broken | Kind::Away | Kind::RefusedHere => true,
            Kind::Busy | Kind::Refused | Kind::Moved(_) | Kind::Unsettled => false,
        }
    }

    /// Whether another node may have taken over from the one that was asked.
    pub(super) const fn doubts_the_node(&self) -> bool {
        !matches!(self.kind, Kind::Refused | Kind::Busy)
    }

    /// Whether the server was there and refused.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refused | Kind::RefusedHere)
    }

    /// Who owns the key instead.
    pub(super) const fn moved(&self) -> Option<&Address> {
        match &self.kind {
            Kind::Moved(address) => Some(address),
            _ => None,
        }
    }

    /// The same, from the only server there is.
    pub(super) fn alone(mut self) -> Self {
        if matches!(self.kind, Kind::Moved(_)) {
            self.kind = Kind::Refused;
            self.text = "this is a node of a cluster, of which `RedisServer::cluster` makes a store".to_owned();
        }
        self
    }

    /// The same, for an operation that never left.
    pub(super) fn unsent(mut self) -> Self {
        if self.kind == Kind::Broken {
            self.kind = Kind::Away;
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Broken => Self::no_answer(failure.text),
            Kind::Away | Kind::Unsettled | Kind::Moved(_) => Self::unreachable(failure.text),
            Kind::Busy => Self::busy(failure.text),
            Kind::Refused | Kind::RefusedHere => Self::refused(failure.text),
        }
    }
}

/// What no text may show.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    passwords: Vec<String>,
    /// And those that a provider has given.
    provider: Option<Provider>,
}

impl Secrets {
    pub(super) fn of(clients: &[redis::Client]) -> Self {
        let passwords = clients.iter().filter_map(|client| client.get_connection_info().redis_settings().password());
        let passwords = passwords.filter(|password| !password.is_empty()).map(ToOwned::to_owned).collect();
        Self { passwords, provider: None }
    }

    /// The same, and what a provider gives.
    pub(super) fn and_of(mut self, provider: Option<&Provider>) -> Self {
        self.provider = provider.cloned();
        self
    }

    fn hide(&self, text: String) -> String {
        let text = self.passwords.iter().fold(text, |text, password| text.replace(password, "[hidden]"));
        if let Some(provider) = &self.provider { provider.hide(text) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &'static str, detail: &str) -> Failure {
        let error = RedisError::from((ErrorKind::Extension, code, detail.to_owned()));
        Failure::of(&error, &Secrets { passwords: vec!["hunter2".into()], provider: None })
    }

    #[test]
    fn no_text_shows_a_password() {
        assert!(!format!("{:?}", failure("x", "args: `AUTH` `hunter2`")).contains("hunter2"));
    }

    #[test]
    fn a_replica_is_told_from_its_text() {
        assert!(failure("ERR", "script: -READONLY You can't write against a read only replica.").needs_redial());
        assert!(!failure("OOM", "command not allowed").needs_redial());
    }

    #[test]
    fn a_key_that_moved_says_where_to() {
        let text = b"-MOVED 3999 10.0.0.7:6381\r\n";
        let error = redis::parse_redis_value(text).unwrap().extract_error().unwrap_err();
        let failure = Failure::of(&error, &Secrets::default());
        assert_eq!(failure.moved().unwrap().to_string(), "10.0.0.7:6381");
        assert!(!failure.needs_redial());
    }
}
