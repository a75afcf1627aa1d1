//! What the variables ask for. Nothing is connected here, and nothing but the lookup is read.

use std::ffi::OsString;

use super::legacy_env;
use super::place::Place;
use super::source::StoreSource;
use super::url::{self, Whose, whose};
use crate::error::ConfigError;

/// The store to open. Not to be printed: passwords are in it.
pub(super) enum Plan {
    Memory(StoreSource),
    #[cfg(feature = "redis")]
    Redis(String),
    #[cfg(feature = "postgres")]
    PostgresUrl(String),
    #[cfg(feature = "postgres")]
    LegacyEnv(legacy_env::LegacyEnv),
}

/// Where the values come from.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

pub(super) fn plan(lookup: Lookup<'_>) -> Result<Plan, ConfigError> {
    if let Some(url) = text(lookup, url::URL)? {
        return Ok(match whose(&url)? {
            Whose::Memory => Plan::Memory(StoreSource::StoreUrl),
            #[cfg(feature = "redis")]
            Whose::Redis => Plan::Redis(url),
            #[cfg(feature = "postgres")]
            Whose::Postgres => Plan::PostgresUrl(url),
        });
    }
    match legacy_env::read(|name| text(lookup, name))? {
        None => Ok(Plan::Memory(StoreSource::Unset)),
        #[cfg(feature = "postgres")]
        Some(legacy) => Ok(Plan::LegacyEnv(legacy)),
        #[cfg(not(feature = "postgres"))]
        Some(_) => {
            let given = "set, which needs fusebox's feature `postgres`";
            Err(ConfigError::new(legacy_env::HOST, &given, "nothing without it"))
        }
    }
}

/// Where in that store.
pub(super) fn place(lookup: Lookup<'_>) -> Result<Place, ConfigError> {
    Place::read(|name| text(lookup, name))
}

/// Whether all of a place means something to that store. One in memory does not matter, whatever it is.
pub(super) fn check(plan: &Plan, place: &Place) -> Result<(), ConfigError> {
    match plan {
        Plan::Memory(StoreSource::Unset) => match place.variable() {
            Some(name) => Err(url::wrong(&format!("not set, while `{name}` is"))),
            None => Ok(()),
        },
        #[cfg(feature = "redis")]
        Plan::Redis(_) => match place.schema.as_ref().or(place.table.as_ref()) {
            Some(given) => {
                let allowed = "nothing, unless the store is in PostgreSQL";
                Err(ConfigError::new(given.from, &"set for a store in Redis", allowed))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// For an environment that names no store where one is required.
pub(super) fn nothing_set() -> ConfigError {
    url::wrong(&format!("not set, nor is `{}`, and a store is required", legacy_env::HOST))
}

/// One that is empty is not set: that is how compose files and shells pass on what they do not have.
fn text(lookup: Lookup<'_>, name: &'static str) -> Result<Option<String>, ConfigError> {
    match lookup(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(ConfigError::new(name, &"no UTF-8 (not shown)", "UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::legacy_env::{HOST, NAME, PASSWORD, PORT, USER};
    use super::url::URL;
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn planned(variables: Variables<'_>) -> Result<Plan, ConfigError> {
        plan(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
    }

    /// The plan in words.
    fn words(plan: Plan) -> String {
        match plan {
            Plan::Memory(source) => format!("memory, {source:?}"),
            #[cfg(feature = "redis")]
            Plan::Redis(url) => format!("redis, {url}"),
            #[cfg(feature = "postgres")]
            Plan::PostgresUrl(url) => format!("postgres, {url}"),
            #[cfg(feature = "postgres")]
            Plan::LegacyEnv(legacy_env::LegacyEnv { host, port, name, user, password }) => {
                format!("legacy, {user}:{password}@{host}:{port}/{name}")
            }
        }
    }

    #[track_caller]
    fn becomes(variables: Variables<'_>, plan: &str) {
        assert_eq!(planned(variables).map(words).unwrap(), plan, "{variables:?}");
    }

    #[track_caller]
    fn refused(variables: Variables<'_>, field: &str, part: &str) -> ConfigError {
        let error = planned(variables).map(words).expect_err(part);
        assert!(error.field() == field && error.to_string().contains(part), "{variables:?}: {error}");
        error
    }

    #[test]
    fn nothing_and_memory_are_memory_and_say_which() {
        becomes(&[], "memory, Unset");
        becomes(&[("PATH", "/bin"), ("HW_DB", "x")], "memory, Unset");
        becomes(&[(URL, ""), (HOST, ""), (PASSWORD, ""), (PORT, ""), (NAME, ""), (USER, "")], "memory, Unset");
        becomes(&[(URL, "memory:")], "memory, StoreUrl");
        becomes(&[(URL, "memory:"), (HOST, "h"), (PORT, "no port")], "memory, StoreUrl");
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn the_older_librarys_variables_have_its_defaults() {
        let both = [(HOST, "h"), (PASSWORD, "p/@:%")];
        becomes(&both, "legacy, postgres:p/@:%@h:5432/highway_circutbreaker_db");
        let all = [both[0], both[1], (PORT, "65535"), (NAME, "d"), (USER, "u")];
        becomes(&all, "legacy, u:p/@:%@h:65535/d");
        becomes(&[all[0], all[1], (PORT, ""), (NAME, ""), (USER, "")], &planned(&both).map(words).unwrap());
        for host in ["/run/postgresql", "10.0.0.1", "::1", "fe80::1%eth0", "db_1.example-2.org"] {
            becomes(&[(HOST, host), both[1]], &format!("legacy, postgres:p/@:%@{host}:5432/highway_circutbreaker_db"));
        }
    }

    #[test]
    #[cfg(not(feature = "postgres"))]
    fn the_older_librarys_variables_need_their_feature() {
        refused(&[(HOST, "h"), (PASSWORD, "p")], HOST, "needs fusebox's feature `postgres`");
    }

    #[test]
    fn some_of_the_older_librarys_variables_are_not_enough() {
        let all = [(HOST, "h"), (PASSWORD, "p"), (PORT, "1"), (NAME, "d"), (USER, "u")];
        for chosen in 1_u32..32 {
            let set: Vec<_> =
                all.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0).map(|(_, v)| *v).collect();
            let has = |name| set.iter().any(|(known, _)| *known == name);
            match (has(HOST), has(PASSWORD)) {
                (true, true) => assert!(!matches!(planned(&set), Ok(Plan::Memory(_))), "{set:?}"),
                (true, false) => drop(refused(&set, PASSWORD, "is not set, while `HW_DB_HOST` is, allowed is a value")),
                (false, _) => drop(refused(&set, HOST, &format!("is not set, while `{}` is", set[0].0))),
            }
        }
        refused(&[(HOST, "h"), (PASSWORD, "")], PASSWORD, "is not set");
    }

    #[test]
    fn wrong_hosts_and_ports_are_refused() {
        for port in ["0", "65536", "-1", "54e2", " 5432", "5432;", "\u{1b}[31m"] {
            let error = refused(&[(HOST, "h"), (PASSWORD, "p"), (PORT, port)], PORT, "a number from 1 to 65535");
            assert_eq!(error.given(), format!("{port:?}"), "what was given, harmless to print");
        }
        refused(&[(HOST, "localhost:5433"), (PASSWORD, "p")], HOST, "its port goes into `HW_DB_PORT`");
        for host in ["postgres://u:s3cret@h", "u:s3cret@h", "h s3cret", "h\n"] {
            let error = refused(&[(HOST, host), (PASSWORD, "p")], HOST, "(not shown");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        for name in [URL, HOST, PASSWORD, PORT, NAME, USER] {
            let lookup = |asked: &str| (asked == name).then(|| OsString::from_vec(b"s3cret\xff".to_vec()));
            let error = plan(&lookup).map(words).unwrap_err();
            assert_eq!((error.field(), error.given()), (name, "no UTF-8 (not shown)"));
        }
    }

    proptest! {
        /// A secret in any place of any value.
        #[test]
        fn no_error_quotes_what_may_be_a_password(
            name in prop::sample::select(vec![URL, HOST, PASSWORD]),
            before in "((redis|rediss|redis[+]sentinel|postgres|postgresql|mysql|memory)?:?/{0,3})?[ -~]{0,12}",
            after in "[ -~]{0,12}|@h(:1)?/[0-9]?",
        ) {
            let value = format!("{before}S3CRET{after}");
            if let Err(error) = planned(&[(name, &value)]) {
                prop_assert!(!format!("{error} {error:?}").to_uppercase().contains("S3CRET"), "{error:?}");
            }
        }

        /// Whatever is set, either there is a plan, or the error names one of the variables that are there to be mended.
        #[test]
        fn every_environment_has_a_plan_or_an_error_about_one_of_its_variables(
            values in prop::collection::vec(prop::option::of("|h|1|memory:|redis://h|postgres://h/d|x y"), 6),
        ) {
            let names = [URL, HOST, PASSWORD, PORT, NAME, USER];
            let set: Vec<_> = names.iter().zip(&values).filter_map(|(n, v)| Some((*n, v.as_deref()?))).collect();
            let filled: Vec<_> = set.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
            match planned(&set) {
                Ok(plan) => prop_assert_eq!(filled.is_empty(), words(plan) == "memory, Unset"),
                Err(error) if filled.iter().any(|(name, _)| *name == URL) => prop_assert_eq!(error.field(), URL),
                Err(error) => prop_assert!(names[1..4].contains(&error.field()) && !filled.is_empty(), "{error}"),
            }
        }
    }
}
