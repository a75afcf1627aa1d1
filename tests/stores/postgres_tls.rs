//! The store over TLS, to real servers with certificates of an authority that no other trusts.

use std::sync::Arc;

use fusebox::store::{self, PostgresStore, Store, StoreError};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::authority::Authority;
use crate::judged::{FINAL, is_judged};
use crate::postgres_server::{Database, Server};

/// Takes no connection in clear.
const ENCRYPTED: &str = "hostssl all all all scram-sha-256\n";
/// .. and none without a certificate of the authority.
const MUTUAL: &str = "hostssl all all all scram-sha-256 clientcert=verify-ca\n";

/// A database on a server that has one of the authority's certificates, and lets in whom `hba` says.
async fn server(authority: &Authority, whose: &str, hba: &str) -> Database {
    let settings = "ssl = on\nssl_cert_file = 'ours.pem'\nssl_key_file = 'ours.key'\nssl_ca_file = 'ca.pem'\n";
    let (certificate, key) = (authority.read(&format!("{whose}.pem")), authority.read(&format!("{whose}.key")));
    let ca = authority.read("ca.pem");
    let server = Server::start_with_files(&[
        ("postgresql.auto.conf", settings.as_bytes()),
        ("pg_hba.conf", hba.as_bytes()),
        ("ours.pem", &certificate),
        ("ours.key", &key),
        ("ca.pem", &ca),
    ]);
    server.database().await
}

fn url(database: &Database, host: &str, parameters: &str) -> String {
    format!("{}?{parameters}", database.url().replace("127.0.0.1", host))
}

/// Demands what only the right server can show.
fn verified(authority: &Authority) -> String {
    format!("sslmode=verify-full&sslrootcert={}", authority.path("ca.pem"))
}

async fn refused(url: String) -> String {
    let error = PostgresStore::connect(url).await.expect_err("refused");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    error.to_string()
}

/// What was said where there is no talking to the server.
async fn not_reached(url: String) -> String {
    let error = PostgresStore::connect(url).await.expect_err("not trusted");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn commands_and_notices_are_encrypted_where_the_url_asks_for_it() {
    let ours = Authority::new("postgres");
    let database = server(&ours, "server", ENCRYPTED).await;
    PostgresStore::migrate(url(&database, "127.0.0.1", &verified(&ours))).await.expect("migrates");
    for host in ["127.0.0.1", "localhost"] {
        let store = PostgresStore::connect(url(&database, host, &verified(&ours))).await.expect("trusts");
        let passed = store::conformance(Arc::new(store)).await.expect("conforms");
        assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
    }

    let store = PostgresStore::connect(url(&database, "localhost", &verified(&ours))).await.expect("trusts");
    let mut notices = store.watch();
    futures::StreamExt::next(&mut notices).await.expect("it listens");
    store.load(&["a"]).await.expect("an answer");
    let connections = database
        .run("select bool_and(ssl)::text, count(*)::text from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'fusebox'")
        .await;
    assert_eq!(connections, [["true", "2"]], "one for commands and one that listens");

    let text = refused(url(&database, "127.0.0.1", "sslmode=disable")).await;
    assert!(text.contains("no encryption"), "the server takes nothing else: {text}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_talked_to() {
    let (ours, others) = (Authority::new("postgres-ours"), Authority::new("postgres-others"));
    let database = server(&ours, "server", ENCRYPTED).await;
    for parameters in [verified(&others), "sslmode=verify-full".to_owned(), "sslmode=verify-ca".to_owned()] {
        let text = not_reached(url(&database, "localhost", &parameters)).await;
        assert!(text.contains("invalid peer certificate: UnknownIssuer"), "{parameters}: {text}");
    }

    let missing = format!("sslmode=verify-full&sslrootcert={}", ours.path("missing.pem"));
    let text = not_reached(url(&database, "localhost", &missing)).await;
    assert!(text.contains("`sslrootcert`, `sslcert` and `sslkey` must be files that this process can read"), "{text}");
}

#[tokio::test]
async fn a_certificate_must_be_for_the_host_that_is_dialled() {
    let ours = Authority::new("postgres-elsewhere");
    let database = server(&ours, "elsewhere", ENCRYPTED).await;
    let text = not_reached(url(&database, "localhost", &verified(&ours))).await;
    assert!(text.contains("certificate not valid for name \"localhost\""), "{text}");
    let parameters = verified(&ours).replace("verify-full", "verify-ca");
    let text = refused(url(&database, "localhost", &parameters)).await;
    assert!(text.contains("migrate"), "it is talked to: {text}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let ours = Authority::new("postgres-mutual");
    let database = server(&ours, "server", &format!("host all owner 127.0.0.1/32 trust\n{MUTUAL}")).await;
    database.run("create role app login password 's3cret-of-the-owner'; grant all on schema public to app").await;
    let as_app = |parameters: &str| url(&database, "localhost", parameters).replace("owner:", "app:");
    let own = format!("{}&sslcert={}&sslkey={}", verified(&ours), ours.path("client.pem"), ours.path("client.key"));
    PostgresStore::migrate(as_app(&own)).await.expect("shows its own");
    PostgresStore::connect(as_app(&own)).await.expect("shows its own");
    let text = refused(as_app(&verified(&ours))).await;
    assert!(text.contains("connection requires a valid client certificate"), "{text}");
}

#[tokio::test]
async fn a_server_without_encryption_is_refused_where_it_is_asked_for() {
    let database = Database::fresh().await;
    for mode in ["require", "verify-full"] {
        let text = refused(url(&database, "127.0.0.1", &format!("sslmode={mode}"))).await;
        assert!(text.contains("no encrypted connection: server does not support TLS"), "{mode}: {text}");
    }
    PostgresStore::migrate(url(&database, "127.0.0.1", "sslmode=prefer")).await.expect("in clear");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_failure_that_no_attempt_mends() {
    let (ours, others) = (Authority::new("judged"), Authority::new("others"));
    let database = server(&ours, "server", ENCRYPTED).await;
    let options = url(&database, "localhost", &verified(&others)).parse::<PgConnectOptions>().expect("a URL");
    let error = PgConnection::connect_with(&options).await.expect_err("not trusted");
    is_judged("another's certificate", error, FINAL.0, FINAL.1);
    let options = url(&database, "localhost", &verified(&ours)).parse::<PgConnectOptions>().expect("a URL");
    PgConnection::connect_with(&options).await.expect("trusted");
}
