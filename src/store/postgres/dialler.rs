//! How the server is dialled.

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

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
        // The server's words may have what it was told.
        dialled.map_err(|error| match (&self.credentials, error) {
            (Some(provider), sqlx::Error::Io(error)) => {
                sqlx::Error::Io(std::io::Error::new(error.kind(), provider.hide(error.to_string())))
            }
            (_, error) => error,
        })
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
