//! What `FUSEBOX_STORE_URL` may be.

use crate::error::ConfigError;

/// The variable.
pub(super) const URL: &str = "FUSEBOX_STORE_URL";

/// Whose URL one is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Whose {
    Memory,
    #[cfg(feature = "redis")]
    Redis,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// Looks at the beginning of a URL. The rest is read when it is opened.
pub(super) fn whose(url: &str) -> Result<Whose, ConfigError> {
    if url == "memory:" {
        return Ok(Whose::Memory);
    }
    let begins = |scheme: &str| scheme.chars().all(|c| c.is_ascii_lowercase() || c == '+') && scheme.len() <= 20;
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| begins(scheme)) else {
        return Err(wrong("something else (not shown, a password may be in it)"));
    };
    // The rest of a password with a `/` in it would be taken for a database, and shown as that.
    if rest.split_once(['/', '?', '#']).is_some_and(|(_, path)| path.contains('@')) {
        let given = format!("a `{scheme}://` URL with an `@` behind its host (not shown, a password may be in it)");
        let allowed = "one where a password's `@`, `/`, `?` and `#` are `%40`, `%2F`, `%3F` and `%23`";
        return Err(ConfigError::new(URL, &given, allowed));
    }
    match scheme {
        #[cfg(feature = "redis-tls")]
        "rediss" => Ok(Whose::Redis),
        #[cfg(feature = "redis")]
        "redis" | "redis+sentinel" => Ok(Whose::Redis),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Whose::Postgres),
        _ => {
            let known = SCHEMES.iter().find(|(known, ..)| *known == scheme);
            let needs = known.map(|(_, feature, ..)| format!(", which needs fusebox's feature `{feature}`"));
            Err(wrong(&format!("a `{scheme}://` URL{}", needs.unwrap_or_default())))
        }
    }
}

/// For a URL whose beginning is right.
#[cfg(feature = "redis")]
pub(super) fn unreadable(url: &str) -> ConfigError {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    wrong(&format!("a `{scheme}://` URL that cannot be read (not shown, a password may be in it)"))
}

/// Says what is there instead, and what may be.
pub(super) fn wrong(given: &str) -> ConfigError {
    ConfigError::new(URL, &given, urls())
}

/// For a store of another kind where one in PostgreSQL is wanted.
#[cfg(feature = "postgres")]
pub(super) fn no_postgres() -> ConfigError {
    let urls: Vec<_> = SCHEMES.iter().filter(|(_, feature, ..)| *feature == "postgres").collect();
    let urls: Vec<_> = urls.iter().map(|(scheme, _, _, rest)| format!("`{scheme}://{rest}`")).collect();
    ConfigError::new(URL, &"that of another store (not shown, a password may be in it)", urls.join(", "))
}

/// Each with the feature it needs, whether that is on, and what comes behind it.
const SCHEMES: [(&str, &str, bool, &str); 5] = [
    ("redis", "redis", cfg!(feature = "redis"), "[user:password@]host[:port][/database]"),
    ("rediss", "redis-tls", cfg!(feature = "redis-tls"), ".."),
    ("redis+sentinel", "redis", cfg!(feature = "redis"), "[user:password@]host[:port][,host..]/name[/database]"),
    ("postgres", "postgres", cfg!(feature = "postgres"), "user:password@host:port/database"),
    ("postgresql", "postgres", cfg!(feature = "postgres"), ".."),
];

/// What a URL may be.
fn urls() -> String {
    let mut urls = "`memory:`".to_owned();
    for (scheme, feature, is_on, rest) in SCHEMES {
        urls.push_str(&format!(", `{scheme}://{rest}`"));
        if !is_on {
            urls.push_str(&format!(" (with the feature `{feature}`)"));
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(url: &str, given: &str) -> ConfigError {
        let error = whose(url).expect_err(given);
        assert!(error.field() == URL && error.to_string().contains(given), "{url}: {error}");
        error
    }

    #[test]
    fn each_url_needs_its_feature() {
        for (url, feature, is_on, whose_it_is) in [
            ("redis://h", "redis", cfg!(feature = "redis"), "Redis"),
            ("redis://u:p@h:1/2", "redis", cfg!(feature = "redis"), "Redis"),
            ("rediss://h", "redis-tls", cfg!(feature = "redis-tls"), "Redis"),
            ("redis+sentinel://h/main", "redis", cfg!(feature = "redis"), "Redis"),
            ("postgres://u:p@h:1/d", "postgres", cfg!(feature = "postgres"), "Postgres"),
            ("postgresql://u:p%40@h/d", "postgres", cfg!(feature = "postgres"), "Postgres"),
        ] {
            if is_on {
                assert_eq!(whose(url).map(|whose| format!("{whose:?}")).unwrap(), whose_it_is);
            } else {
                refused(url, &format!("needs fusebox's feature `{feature}`"));
            }
        }
    }

    #[test]
    fn other_urls_are_refused_with_those_that_are_allowed() {
        for (url, given) in [
            ("mysql://u:s3cret@h/d", "is a `mysql://` URL, allowed is `memory:`, `redis://"),
            ("memory://", "is a `memory://` URL"),
            ("s3cret", "is something else (not shown"),
            ("s3cret://h", "is something else (not shown"),
            ("localhost:6379", "is something else (not shown"),
            ("REDIS://h", "is something else (not shown"),
            (" redis://h", "is something else (not shown"),
        ] {
            let error = refused(url, given);
            assert!(!error.to_string().contains("s3cret"), "{error}");
            for (scheme, ..) in SCHEMES {
                assert!(error.allowed().contains(&format!("`{scheme}://")), "{error}");
            }
        }
        let is_off = |feature| urls().contains(&format!("(with the feature `{feature}`)"));
        assert_eq!(is_off("redis"), !cfg!(feature = "redis"));
        assert_eq!(is_off("redis-tls"), !cfg!(feature = "redis-tls"));
        assert_eq!(is_off("postgres"), !cfg!(feature = "postgres"));
    }

    #[test]
    fn a_password_that_would_be_taken_for_something_else_is_refused() {
        for url in ["redis://u:1/2@h", "redis://u:1#2@h", "postgres://u:1?2@h/d", "postgres://u:1/2@h/d"] {
            refused(url, "are `%40`, `%2F`, `%3F` and `%23`");
        }
    }
}
