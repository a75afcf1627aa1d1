//! No connection: the address is wrong, nothing listens there, or what listens is not trusted.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fusebox::BoxError;
use http::{Request, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tower::{ServiceExt, service_fn};

use crate::authority::Authority;
use crate::bodies::{Body, whole};
use crate::servers::{each, refusing};
use crate::verdict::{self, Verdict};

pub(crate) type PlainClient = Client<HttpConnector, Body>;

/// The pooled client over plain connections. `h2`: HTTP/2 without being asked.
pub(crate) fn plain(h2: bool) -> PlainClient {
    Client::builder(TokioExecutor::new()).http2_only(h2).build_http()
}

pub(crate) fn post(uri: &str, body: Body) -> Request<Body> {
    Request::post(uri).body(body).expect("a request")
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_processed() {
    let (_kept, address) = refusing();
    for h2 in [false, true] {
        let result = plain(h2).request(post(&format!("http://{address}/"), whole("order"))).await;
        verdict::check(result, Verdict::Unprocessed);
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_a_failure_and_nothing_was_processed() {
    let resolver = service_fn(|_| async { Err::<std::iter::Empty<SocketAddr>, _>(io::Error::other("no such name")) });
    let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new_with_resolver(resolver));
    verdict::check(client.request(post("http://nowhere.invalid/", whole("order"))).await, Verdict::Unprocessed);
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_is_the_callers_mistake() {
    let (_kept, address) = refusing();
    for uri in ["/orders", "mailto:orders@shop.example", "*"] {
        let result = plain(false).request(post(uri, whole("order"))).await;
        verdict::check(result, Verdict::Ignored);
    }
    for scheme in ["https", "ftp"] {
        // hyper-util's own connector knows one scheme.
        let result = plain(false).request(post(&format!("{scheme}://{address}/"), whole("order"))).await;
        verdict::check(result, Verdict::Ignored);
    }
    let result = https(&RootCertStore::empty()).request(post(&format!("ftp://{address}/"), whole("order"))).await;
    verdict::check(result, Verdict::Ignored);
}

#[test]
fn a_request_that_cannot_be_built_is_the_callers_mistake() {
    let no_host = Request::get("http://not a host/").body(()).expect_err("there is no such URI");
    verdict::check(Err::<(), _>(BoxError::from(no_host)), Verdict::Ignored);
    let header = Request::get("/").header("a name", "with a space").body(()).expect_err("there is no such header");
    verdict::check(Err::<(), _>(BoxError::from(header)), Verdict::Ignored);
    let uri = "http://not a host/".parse::<http::Uri>().expect_err("there is no such URI");
    verdict::check(Err::<(), _>(io::Error::other(uri)), Verdict::Ignored);
}

#[tokio::test]
async fn a_version_that_no_client_speaks_is_the_callers_mistake() {
    let (_kept, address) = refusing();
    for version in [Version::HTTP_09, Version::HTTP_3] {
        let mut request = post(&format!("http://{address}/"), whole("order"));
        *request.version_mut() = version;
        verdict::check(plain(false).request(request).await, Verdict::Ignored);
    }
}

/// The pooled client with hyper-rustls, which trusts these.
fn https(trusted: &RootCertStore) -> Client<HttpsConnector<HttpConnector>, Body> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(trusted.clone())
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_all_versions().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A server that shows a certificate of this authority, for itself or for another name.
pub(crate) async fn showing(authority: &Authority, whose: &str) -> SocketAddr {
    let chain = CertificateDer::from_pem_slice(&authority.read(&format!("{whose}.pem"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&authority.read(&format!("{whose}.key"))).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    each(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let ok = hyper::service::service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(whole("ok"))) });
            let stream = hyper_util::rt::TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new().serve_connection(stream, ok).await.ok();
        }
    })
    .await
}

fn trusting(authority: &Authority) -> RootCertStore {
    let mut trusted = RootCertStore::empty();
    trusted
        .add(CertificateDer::from_pem_slice(&authority.read("ca.pem")).expect("a certificate"))
        .expect("an authority");
    trusted
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_failure_that_no_attempt_mends() {
    let (ours, others) = (Authority::new("wire-ours"), Authority::new("wire-others"));
    let server = showing(&ours, "server").await;
    let request = || post(&format!("https://{server}/"), whole("order"));
    let response = https(&trusting(&ours)).request(request()).await.expect("it is trusted");
    assert_eq!(response.status(), 200);
    verdict::check(https(&trusting(&others)).request(request()).await, Verdict::Final);

    let elsewhere = showing(&ours, "elsewhere").await;
    let request = post(&format!("https://{elsewhere}/"), whole("order"));
    verdict::check(https(&trusting(&ours)).request(request).await, Verdict::Final);
}

#[tokio::test]
async fn a_handshake_that_fails_otherwise_is_a_failure_before_anything_was_processed() {
    let ours = Authority::new("wire-plain");
    // Not TLS at all.
    let server = each(|stream| async move {
        stream.readable().await.expect("a client");
        stream.try_write(b"220 mail.example ESMTP\r\n").expect("the client listens");
    })
    .await;
    let request = post(&format!("https://{server}/"), whole("order"));
    verdict::check(https(&trusting(&ours)).request(request).await, Verdict::Unprocessed);
}

#[tokio::test]
async fn boxed_and_bare_errors_mean_the_same() {
    let (_kept, address) = refusing();
    let fails = || plain(false).request(post(&format!("http://{address}/"), whole("order")));
    verdict::check(fails().await.map_err(BoxError::from), Verdict::Unprocessed);
    // An error of the program's own around it, as it is and in an error of input or output.
    #[derive(Debug)]
    struct Ours(Error);

    impl std::fmt::Display for Ours {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no price")
        }
    }

    impl std::error::Error for Ours {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    verdict::check(fails().await.map_err(|error| BoxError::from(Ours(error))), Verdict::Unprocessed);
    verdict::check(fails().await.map_err(io::Error::other), Verdict::Unprocessed);
    verdict::check(fails().await.map_err(|error| io::Error::other(Ours(error))), Verdict::Unprocessed);
    verdict::check(fails().await.map_err(|error| BoxError::from(io::Error::other(error))), Verdict::Unprocessed);
    // Of a type that nothing is known of, an error is the dependency's.
    verdict::check(fails().await.map_err(Ours), Verdict::Failed);
    verdict::check(fails().await.map_err(|error| error.to_string()), Verdict::Failed);
}

#[tokio::test]
async fn a_connector_is_judged_as_its_client_is() {
    let (_kept, address) = refusing();
    let connect = |uri: String| HttpConnector::new().oneshot(uri.parse().expect("a URI"));
    verdict::check(connect(format!("http://{address}")).await, Verdict::Unprocessed);
    verdict::check(connect(format!("ftp://{address}")).await, Verdict::Ignored);
    verdict::check(connect("/orders".to_owned()).await, Verdict::Ignored);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    connect(format!("http://{}", listener.local_addr().expect("bound"))).await.expect("connected");
}
