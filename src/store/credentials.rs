//! Credentials that change while a store is in use.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use crate::error::BoxError;
use crate::guard::guarded;
use crate::sync::unpoisoned;

/// What a store logs in to its server by. See `RedisStoreBuilder::credentials` and `PostgresStoreBuilder::credentials`.
/// Its `Debug` shows no password.
///
/// ```
/// use fusebox::store::Credentials;
///
/// let credentials = Credentials::password("hunter2").user("app");
/// assert!(!format!("{credentials:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl Credentials {
    /// Makes them of a password, or a token in its place. The user is the one that the store's address names.
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: password.into() }
    }

    /// The same for another user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

type Given = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>>;

/// What is asked for credentials before each dial.
#[derive(Clone)]
pub(super) struct Provider {
    ask: Arc<dyn Fn() -> Given + Send + Sync>,
    /// Passwords that were given: no text may show one of them.
    known: Arc<Mutex<Vec<String>>>,
}

/// Passwords that are remembered, to be hidden.
const REMEMBERED: usize = 4;

impl Provider {
    pub(super) fn new<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        Self { ask: Arc::new(move || Box::pin(ask())), known: Arc::default() }
    }

    /// Asks. The provider is a user's code, and what it says of a failure may be secret where it is not an error's text.
    pub(super) async fn ask(&self) -> Result<Credentials, String> {
        let asked = guarded(|| (self.ask)()).ok_or("the provider of credentials panicked")?;
        // In a task of its own: one that panics has given none.
        match tokio::spawn(asked).await {
            Ok(Ok(credentials)) => {
                let mut known = unpoisoned(self.known.lock());
                if !known.contains(&credentials.password) {
                    known.push(credentials.password.clone());
                    let excess = known.len().saturating_sub(REMEMBERED);
                    known.drain(..excess);
                }
                Ok(credentials)
            }
            Ok(Err(error)) => {
                let words = guarded(|| error.to_string()).unwrap_or_default();
                Err(self.hide(format!("no credentials could be had: {words}")))
            }
            Err(_) => Err("the provider of credentials panicked".to_owned()),
        }
    }

    /// A text without the passwords that were given.
    pub(super) fn hide(&self, text: String) -> String {
        let known = unpoisoned(self.known.lock());
        let passwords = known.iter().filter(|password| !password.is_empty());
        passwords.fold(text, |text, password| text.replace(password.as_str(), "[hidden]"))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}
