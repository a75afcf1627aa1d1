//! The store over TLS, to real servers with certificates of an authority that no other trusts.

use std::sync::Arc;

use fusebox::store::{self, RedisServer, RedisStore, Store, StoreError, Version};
use redis::{Client, ClientTlsConfig, TlsCertificates};

use crate::authority::Authority;
use crate::judged::{FINAL, is_judged};
use crate::redis::{all_texts, applied, newest, until_lagged, write};
use crate::redis_cluster::until_it_says;
use crate::servers::{FURTHER, Redis};

/// Where a server speaks TLS that was told to.
fn tls_url(server: &Redis, host: &str) -> String {
    format!("rediss://{host}:{}", server.port() + FURTHER)
}

impl Authority {
    /// A server with its certificate, which asks clients for theirs or not.
    async fn server(&self, asks_clients: bool, more: &[&str]) -> Redis {
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|file| self.path(file));
        let asks = if asks_clients { "yes" } else { "no" };
        let mut options = vec!["--tls-port", "{tls-port}", "--tls-cert-file", &cert, "--tls-key-file", &key];
        options.extend(["--tls-ca-cert-file", &ca, "--tls-auth-clients", asks]);
        options.extend(more);
        Redis::start_with(&options).await
    }

    /// Trusts this authority, and shows the client's certificate or not.
    fn client(&self, url: &str, shows_its_own: bool) -> Client {
        let own = || ClientTlsConfig { client_cert: self.read("client.pem"), client_key: self.read("client.key") };
        let root_cert = Some(self.read("ca.pem"));
        let certificates = TlsCertificates { client_tls: shows_its_own.then(own), root_cert };
        Client::build_with_tls(url, certificates).expect("certificates")
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_given() {
    let ours = Authority::new("trusted");
    let server = ours.server(false, &[]).await;
    for host in ["127.0.0.1", "localhost"] {
        let store = RedisStore::connect(ours.client(&tls_url(&server, host), false)).await.expect("trusts");
        let mut notices = store.watch();
        until_lagged(&mut notices).await;
        let passed = store::conformance(Arc::new(store)).await.expect("conforms");
        assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_talked_to() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let server = ours.server(false, &[]).await;
    let url = tls_url(&server, "localhost");
    for server in [RedisServer::from(url.as_str()), RedisServer::from(others.client(&url, false))] {
        let error = RedisStore::connect(server).await.expect_err("not trusted");
        assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
        assert!(all_texts(&error).contains("certificate"), "it says why: {error:?}");
    }
    let plain = server.url().replace("redis://", "rediss://");
    let error = RedisStore::connect(plain).await.expect_err("no TLS there");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let ours = Authority::new("mutual");
    let server = ours.server(true, &[]).await;
    let url = tls_url(&server, "localhost");
    let store = RedisStore::connect(ours.client(&url, true)).await.expect("shows its own");
    applied(&store, "a", write(Version::NONE, "x")).await;
    let error = RedisStore::connect(ours.client(&url, false)).await.expect_err("shows none");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
}

#[tokio::test]
async fn nodes_of_a_cluster_are_met_with_the_certificates_of_the_first() {
    let ours = Authority::new("cluster");
    let file = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--tls-cluster", "yes"];
    let node = ours.server(true, &file).await;
    let slots: Vec<_> = (0..16_384).map(|slot| slot.to_string()).collect();
    node.command(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
    until_it_says(&node, "CLUSTER INFO", "cluster_state:ok").await;
    let nodes = RedisServer::cluster([ours.client(&tls_url(&node, "localhost"), true)]);
    let store = RedisStore::connect(nodes).await.expect("connects");
    let mut notices = store.watch();
    until_lagged(&mut notices).await;
    let version = applied(&store, "a", write(Version::NONE, "x")).await;
    assert_eq!(newest(&store, "a").await.expect("an answer").version, version);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_failure_that_no_attempt_mends() {
    let (ours, others) = (Authority::new("judged"), Authority::new("judging"));
    let server = ours.server(false, &[]).await;
    let url = tls_url(&server, "localhost");
    let error = others.client(&url, false).get_multiplexed_async_connection().await.expect_err("not trusted");
    is_judged("another's certificate", error, FINAL.0, FINAL.1);
    ours.client(&url, false).get_multiplexed_async_connection().await.expect("trusted");
}
