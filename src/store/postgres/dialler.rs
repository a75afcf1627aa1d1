//! How the server is dialled.

use std::io::ErrorKind;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::address;
use crate::store::credentials::{Credentials, Provider};

/// Where the server is, and what is asked for credentials before each dial, where the address does not say all.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) options: PgConnectOptions,
    pub(super) credentials: Option<Provider>,
}

impl Dialler {
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let dialled = self.ready().await?.connect().await;
        dialled.map_err(|error| self.told(error))
    }

    /// The error of a dial, as it may be shown.
    pub(super) fn told(&self, error: sqlx::Error) -> sqlx::Error {
        let sqlx::Error::Io(error) = error else { return error };
        let mut text = error.to_string();
        let is_about_a_file = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
        if is_about_a_file && self.options.get_socket().is_none() && address::demanded(&self.options).is_some() {
            text.push_str("; `sslrootcert`, `sslcert` and `sslkey` must be files that this process can read");
        }
        // The server's words may have what it was told.
        if let Some(provider) = &self.credentials {
            text = provider.hide(text);
        }
        sqlx::Error::Io(std::io::Error::new(error.kind(), text))
    }

    /// The options with the credentials of now.
    pub(super) async fn ready(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let Some(provider) = &self.credentials else {
            return Ok(self.options.clone());
        };
        let failed = |why: String| sqlx::Error::Io(std::io::Error::other(why));
        let Credentials { user, password } = provider.ask().await.map_err(failed)?;
        let options = self.options.clone().password(&password);
        Ok(if let Some(user) = user { options.username(&user) } else { options })
    }
}
