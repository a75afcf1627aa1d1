//! The tables of databases.

use super::*;

/// What a row of the tables of databases says, and what the code does, of one error: bare and boxed.
fn holds<E: std::error::Error + Send + Sync + 'static>(row: &[String], error: E) {
    let rule = classify::errors();
    let bare = Err::<(), _>(error);
    let done = (breaker(rule.classify(&bare)), retry(rule.retry(&bare)));
    assert_eq!(done, (&*row[1], &*row[2]), "{bare:?}");
    let boxed = bare.map_err(fusebox::BoxError::from);
    assert_eq!((breaker(rule.classify(&boxed)), retry(rule.retry(&boxed))), done, "boxed: {boxed:?}");
}

#[cfg(feature = "postgres")]
mod sql {
    use std::borrow::Cow;
    use std::fmt;

    use sqlx::Error;
    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What some database says, by its code or by its kind.
    #[derive(Debug)]
    struct Said {
        code: String,
        is_unique: bool,
    }

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.code)
        }
    }

    impl std::error::Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            &self.code
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(&self.code))
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            if self.is_unique { ErrorKind::UniqueViolation } else { ErrorKind::Other }
        }
    }

    fn said(code: &str, is_unique: bool) -> Error {
        Error::Database(Box::new(Said { code: code.to_owned(), is_unique }))
    }

    #[test]
    fn the_table_of_sqlstates_is_what_the_code_does() {
        let rows = rows("SQL");
        let codes = |row: &[String]| row[0].split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        let all: Vec<_> = rows.iter().flat_map(|row| codes(row)).collect();
        for row in &rows {
            for code in codes(row) {
                match code.len() {
                    5 => holds(row, said(&code, false)),
                    // Any of a class that no row before has.
                    2 => ["000", "001", "ZZZ"]
                        .map(|rest| format!("{code}{rest}"))
                        .into_iter()
                        .filter(|code| !all.contains(code))
                        .for_each(|code| holds(row, said(&code, false))),
                    _ => ["HV000", "U0001", "ABCDE", "5", "2067", "\u{e4}1234", ""]
                        .iter()
                        .for_each(|code| holds(row, said(code, false))),
                }
            }
        }
        let constraint = rows.iter().find(|row| row[0] == "23").expect("the row of constraints");
        holds(constraint, said("2067", true));
        // A source of an error that stands in for sqlx's.
        let Error::Database(hidden) = said("23505", false) else { panic!("made so") };
        holds(constraint, hidden);
    }

    #[test]
    fn the_table_of_sqlx_is_what_the_code_does() {
        let text = document();
        let table = text.split_once("| error of sqlx |").expect("the table").1;
        let rows: Vec<Vec<String>> = table.lines().skip(2).take(3).map(cells).collect();
        let word = || "x".to_owned();
        let inner = || -> Box<dyn std::error::Error + Send + Sync> { "x".into() };
        let make: [&dyn Fn() -> Error; 16] = [
            &|| Error::RowNotFound,
            &|| Error::ColumnNotFound(word()),
            &|| Error::ColumnIndexOutOfBounds { index: 2, len: 1 },
            &|| Error::ColumnDecode { index: word(), source: inner() },
            &|| Error::Decode(inner()),
            &|| Error::TypeNotFound { type_name: word() },
            &|| Error::Configuration(inner()),
            &|| Error::InvalidArgument(word()),
            &|| Error::Encode(inner()),
            &|| Error::InvalidSavePointStatement,
            &|| Error::PoolClosed,
            &|| Error::Io(std::io::ErrorKind::ConnectionReset.into()),
            &|| Error::Tls(inner()),
            &|| Error::Protocol(word()),
            &|| Error::PoolTimedOut,
            &|| Error::WorkerCrashed,
        ];
        let names: Vec<(usize, String)> = rows
            .iter()
            .enumerate()
            .flat_map(|(at, row)| row[0].split(", ").map(move |name| (at, name.to_owned())))
            .collect();
        for (at, name) in &names {
            let made = make.iter().find(|make| format!("{:?}", make()).starts_with(&**name));
            let error = made.map_or(Error::BeginFailed, |make| make());
            assert!(format!("{error:?}").starts_with(&**name), "{name} is made");
            holds(&rows[*at], error);
        }
        assert_eq!(names.len(), make.len() + 1);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use ::redis::{ErrorKind, RedisError, ServerError, Value, parse_redis_value};

    use super::*;

    fn said(line: &str) -> ServerError {
        match parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_of_redis_is_what_the_code_does() {
        let text = document();
        let table = text.split_once("\n| code | breaker | retry | what it is |").expect("the table").1;
        let rows: Vec<Vec<String>> = table.lines().skip(2).take(6).map(cells).collect();
        for row in &rows {
            for code in row[0].split(' ') {
                let code = if code == "others" { "INDEXERR" } else { code };
                holds(row, RedisError::from(said(&format!("{code} of what was asked"))));
                holds(row, said(code));
            }
        }
        assert_eq!(rows[5][0], "others");
        holds(&rows[0], RedisError::from(said("ERR max number of clients reached")));
    }

    #[test]
    fn the_table_of_redis_rs_is_what_the_code_does() {
        let text = document();
        let table = text.split_once("| error of redis-rs |").expect("the table").1;
        let rows: Vec<Vec<String>> = table.lines().skip(2).take(4).map(cells).collect();
        let kinds = [
            (0, ErrorKind::UnexpectedReturnType),
            (1, ErrorKind::InvalidClientConfig),
            (1, ErrorKind::Client),
            (1, ErrorKind::EmptySentinelList),
            (1, ErrorKind::RESP3NotSupported),
            (2, ErrorKind::Io),
            (2, ErrorKind::MasterNameNotFoundBySentinel),
            (2, ErrorKind::NoValidReplicasFoundBySentinel),
            (2, ErrorKind::ClusterConnectionNotFound),
            (3, ErrorKind::AuthenticationFailed),
        ];
        for (at, kind) in kinds {
            let is_named = rows[at][0].contains(&format!("{kind:?}")) || kind == ErrorKind::UnexpectedReturnType;
            assert!(is_named, "{kind:?}");
            holds(&rows[at], RedisError::from((kind, "x")));
        }
        holds(
            &rows[0],
            RedisError::from(::redis::from_redis_value::<u32>(Value::BulkString(b"x".into())).unwrap_err()),
        );
        holds(&rows[2], parse_redis_value(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err());
    }
}
