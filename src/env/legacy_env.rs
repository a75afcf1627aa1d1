//! The variables of the older library.

use crate::error::ConfigError;

pub(super) const HOST: &str = "HW_DB_HOST";
pub(super) const PASSWORD: &str = "HW_DB_PASSWORD";
pub(super) const PORT: &str = "HW_DB_PORT";
pub(super) const NAME: &str = "HW_DB_NAME";
pub(super) const USER: &str = "HW_DB_USER";

/// A PostgreSQL server in its words. Not to be printed: there is a password in it.
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "read to be checked, whatever is on"))]
pub(super) struct LegacyEnv {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) password: String,
}

/// Reads them all; `None` where none is set.
pub(super) fn read(
    text: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
) -> Result<Option<LegacyEnv>, ConfigError> {
    let (host, password, port) = (text(HOST)?, text(PASSWORD)?, text(PORT)?);
    let (name, user) = (text(NAME)?, text(USER)?);
    let values = [(HOST, &host), (PASSWORD, &password), (PORT, &port), (NAME, &name), (USER, &user)];
    let Some(set) = values.iter().find(|(_, value)| value.is_some()).map(|(name, _)| *name) else { return Ok(None) };
    let missing = |name| {
        let given = format!("not set, while `{set}` is");
        ConfigError::new(name, &given, "a value, or no variable `HW_DB_..` at all")
    };
    Ok(Some(LegacyEnv {
        host: checked_host(host.ok_or_else(|| missing(HOST))?)?,
        password: password.ok_or_else(|| missing(PASSWORD))?,
        port: port.map_or(Ok(5432), |port| checked_port(&port))?,
        name: name.unwrap_or_else(|| "highway_circutbreaker_db".to_owned()),
        user: user.unwrap_or_else(|| "postgres".to_owned()),
    }))
}

/// A name that cannot be resolved would only look like a server that is away.
fn checked_host(host: String) -> Result<String, ConfigError> {
    let wrong = |given: &str| {
        let allowed = format!("a host's name or address, or the folder of a socket; its port goes into `{PORT}`");
        Err(ConfigError::new(HOST, &given, allowed))
    };
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:%/".contains(c);
    if host.contains("://") || !host.chars().all(is_plain) {
        wrong("something else (not shown, a password may be in it)")
    } else if !host.starts_with('/') && host.matches(':').count() == 1 {
        wrong("a host and a port (not shown, a password may be in it)")
    } else {
        Ok(host)
    }
}

fn checked_port(port: &str) -> Result<u16, ConfigError> {
    let number = port.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        let shown: String = port.chars().take(20).collect();
        ConfigError::new(PORT, &format!("{shown:?}"), "a number from 1 to 65535")
    })
}
