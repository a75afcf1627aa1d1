//! Where the server is, as users say it.

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::ConfigError;

const UNREADABLE: &str = "one that cannot be read (not shown, a password may be in it)";
const URLS: &str = "postgres://user:password@host:port/database";

/// Neither the URL nor what is wrong with it is told: both may hold a password.
pub(super) fn parse(field: &'static str, url: &str) -> Result<PgConnectOptions, ConfigError> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let options = if is_postgres { url.parse().ok() } else { None };
    let options: PgConnectOptions = options.ok_or_else(|| ConfigError::new(field, &UNREADABLE, URLS))?;
    check_encryption(field, &options)?;
    Ok(ours(options))
}

/// Where nothing can encrypt, each dial would fail, as if the server were away.
pub(crate) fn check_encryption(field: &'static str, options: &PgConnectOptions) -> Result<(), ConfigError> {
    match demanded(options) {
        Some(mode) if !cfg!(feature = "postgres-tls") => {
            let given = format!("for `sslmode={mode}`, which needs fusebox's feature `postgres-tls`");
            let allowed = "`disable`, `allow` or `prefer` without it (also as `PGSSLMODE`)";
            Err(ConfigError::new(field, &given, allowed))
        }
        _ => Ok(()),
    }
}

/// The mode, where it takes no connection in clear.
pub(super) fn demanded(options: &PgConnectOptions) -> Option<&'static str> {
    match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => None,
        PgSslMode::Require => Some("require"),
        PgSslMode::VerifyCa => Some("verify-ca"),
        PgSslMode::VerifyFull => Some("verify-full"),
    }
}

/// Without what poolers refuse, and without records in the application's log.
pub(super) fn ours(options: PgConnectOptions) -> PgConnectOptions {
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("fusebox"),
    };
    options.extra_float_digits(None).disable_statement_logging()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_needs_its_feature() {
        for mode in ["disable", "allow", "prefer"] {
            assert!(parse("url", &format!("postgres://h/d?sslmode={mode}")).is_ok(), "{mode}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://u:s3cret@h/d?sslmode={mode}&sslrootcert=/ca.pem");
            let parsed = parse("listen_url", &url);
            if cfg!(feature = "postgres-tls") {
                assert_eq!(parsed.map(|options| demanded(&options)).expect(mode), Some(mode));
            } else {
                let error = parsed.expect_err(mode);
                let text = error.to_string();
                assert!(error.field() == "listen_url" && text.contains("feature `postgres-tls`"), "{text}");
                assert!(text.contains(mode) && !text.contains("s3cret"), "{text}");
            }
        }
    }
}
