//! What a server's errors mean for us.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::contract::StoreError;

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The connection broke: nobody knows what became of the operation.
    Broken,
    /// The server does not answer anybody now; nothing took place.
    Away,
    /// The server refuses, and would on any connection.
    Refused,
    /// The server refuses what comes over this connection; over another one may reach another server.
    RefusedHere,
}

impl Failure {
    /// There is no connection.
    pub(super) fn away(text: impl Into<String>) -> Self {
        Self { kind: Kind::Away, text: text.into() }
    }

    /// Words of others lose what is secret.
    pub(super) fn of(error: &RedisError, secrets: &Secrets) -> Self {
        let text = error.to_string();
        let kind = match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::ReadOnly) => Kind::RefusedHere,
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain,
            ) => Kind::Away,
            ErrorKind::Io | ErrorKind::Parse => Kind::Broken,
            // Before Redis 7, what a command in a script was refused for is only in the text.
            _ if text.contains("READONLY") => Kind::RefusedHere,
            _ if ["NOAUTH", "WRONGPASS"].contains(&error.code().unwrap_or_default()) => Kind::RefusedHere,
            _ if ["BUSY", "MASTERDOWN", "LOADING"].contains(&error.code().unwrap_or_default()) => Kind::Away,
            _ => Kind::Refused,
        };
        Self { kind, text: secrets.hide(text) }
    }

    /// Whether a new connection might mend it.
    pub(super) const fn needs_redial(&self) -> bool {
        match self.kind {
            Kind::Broken | Kind::Away | Kind::RefusedHere => true,
            Kind::Refused => false,
        }
    }

    /// As the error of an operation that never left.
    pub(super) fn of_dialling(&self) -> StoreError {
        match self.kind {
            Kind::Broken | Kind::Away => StoreError::unreachable(self.text.clone()),
            Kind::Refused | Kind::RefusedHere => StoreError::refused(self.text.clone()),
        }
    }

    /// As the error of an operation that was sent.
    pub(super) fn of_operation(self) -> StoreError {
        match self.kind {
            Kind::Broken => StoreError::no_answer(self.text),
            Kind::Away => StoreError::unreachable(self.text),
            Kind::Refused | Kind::RefusedHere => StoreError::refused(self.text),
        }
    }
}

/// What no text may show.
#[derive(Clone, Default)]
pub(super) struct Secrets(Option<String>);

impl Secrets {
    pub(super) fn of(client: &redis::Client) -> Self {
        let password = client.get_connection_info().redis_settings().password();
        Self(password.filter(|password| !password.is_empty()).map(ToOwned::to_owned))
    }

    fn hide(&self, text: String) -> String {
        match &self.0 {
            Some(password) if text.contains(password) => text.replace(password, "[hidden]"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &'static str, detail: &str) -> Failure {
        let error = RedisError::from((ErrorKind::Extension, code, detail.to_owned()));
        Failure::of(&error, &Secrets(Some("hunter2".into())))
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
}
