//! Which breaker a request belongs to.
#![cfg(feature = "http")]
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::borrow::Cow;
use std::convert::Infallible;

use fusebox::key::{self, Key};
use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Registry};
use http::{HeaderValue, Request, Response, header};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};

fn registry() -> Registry {
    Registry::new(|name| CircuitBreakerConfig::builder(name).build())
}

fn to(uri: &str) -> Request<()> {
    Request::get(uri).body(()).expect("a request")
}

fn with_host(uri: &str, host: &[u8]) -> Request<()> {
    let mut request = to(uri);
    request.headers_mut().append(header::HOST, HeaderValue::from_bytes(host).expect("a header's value"));
    request
}

fn name<Req>(key: &impl Key<Req>, request: &Req) -> Option<String> {
    key.key(request).map(Cow::into_owned)
}

/// Release 0.1 had three breakers for these: each failed in its own window, and none opened in time.
#[tokio::test]
async fn c64_one_host_has_one_breaker_however_its_name_is_written() {
    let registry = registry();
    let layer = CircuitBreakerLayer::keyed_by(registry.clone(), key::authority());
    let service = layer.layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) }));
    for uri in [
        "https://api.example/prices",
        "https://API.Example/prices",
        "https://api.example:443/prices",
        "https://api.example./prices",
        "https://API.EXAMPLE.:0443",
        "https://api.example:/",
        "wss://api.example:443/feed",
        "https://ana:secret@api.example:443/prices",
    ] {
        service.clone().oneshot(to(uri)).await.expect("closed");
    }
    let names: Vec<_> = registry.iter().map(|breaker| breaker.name().to_string()).collect();
    assert_eq!(names, ["api.example"]);
}

#[test]
fn the_port_goes_only_where_the_scheme_implies_it() {
    for (uri, expected) in [
        ("http://a:80/", "a"),
        ("ws://a:80/", "a"),
        ("HTTP://a:80/", "a"),
        ("https://a:443/", "a"),
        ("wss://a:443/", "a"),
        ("http://a:443/", "a:443"),
        ("https://a:80/", "a:80"),
        ("https://a:8443/", "a:8443"),
        ("redis://a:80/", "a:80"),
        ("redis://a:6379/", "a:6379"),
        ("redis://a/", "a"),
    ] {
        assert_eq!(name(&key::authority(), &to(uri)).as_deref(), Some(expected), "{uri}");
        assert_eq!(name(&key::host(), &to(uri)).as_deref(), Some("a"), "{uri}");
    }
    // What CONNECT asks for has no scheme, and neither has a request as servers get it.
    let connect = Request::connect("a:443").body(()).expect("a request");
    assert_eq!(name(&key::authority(), &connect).as_deref(), Some("a:443"));
    assert_eq!(name(&key::authority(), &with_host("/", b"a:80")).as_deref(), Some("a:80"));
}

#[test]
fn an_address_of_ipv6_has_one_form() {
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000::0001]", "[::0.0.0.1]", "[0::1]"] {
        assert_eq!(name(&key::authority(), &to(&format!("http://{host}:80/"))).as_deref(), Some("[::1]"), "{host}");
        assert_eq!(name(&key::host(), &with_host("/", host.as_bytes())).as_deref(), Some("[::1]"), "{host}");
    }
    let upper = to("https://[2001:DB8::00:A]:8443/");
    assert_eq!(name(&key::authority(), &upper).as_deref(), Some("[2001:db8::a]:8443"));
    assert_eq!(name(&key::host(), &upper).as_deref(), Some("[2001:db8::a]"));
    let zones =
        ["[fe80::1%25eth0]", "[FE80:0::1%25eth0]"].map(|host| name(&key::host(), &with_host("/", host.as_bytes())));
    assert_eq!(
        zones,
        [Some("[fe80::1%25eth0]".to_owned()), Some("[fe80::1%25eth0]".to_owned())],
        "a zone is a name of its own"
    );
}

#[test]
fn a_name_that_is_normal_is_borrowed() {
    for uri in ["https://api.example/", "https://api.example:8443/", "http://10.0.0.7:8080/", "http://[::1]:8080/"] {
        assert!(matches!(key::authority().key(&to(uri)), Some(Cow::Borrowed(_))), "{uri}");
        assert!(matches!(key::host().key(&to(uri)), Some(Cow::Borrowed(_))), "{uri}");
    }
    for uri in ["https://api.example:443/", "https://api.example./", "http://u:p@[::1]:80/"] {
        assert!(
            matches!(key::authority().key(&to(uri)), Some(Cow::Borrowed(_))),
            "{uri}: without its end it is normal"
        );
    }
    assert!(matches!(key::host().key(&to("https://API.example/")), Some(Cow::Owned(_))));
}

#[test]
fn hostile_host_headers_make_no_key_or_a_harmless_one() {
    for host in [
        &b""[..],
        b".",
        b"...",
        b":80",
        b"@",
        b"ana@",
        b"a b",
        b"a/b",
        b"a\\b",
        b"a\tb",
        b"<b>",
        b"\xff\xfe",
        b"h\xc3\xa4",
        b"[",
        b"[]",
        b"]",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[::g]",
        b"a:b",
        b"a:+80",
        b"a:-1",
        b"a:99999",
        b"a:80:80",
        b"a,b c",
    ] {
        let request = with_host("/", host);
        assert_eq!(name(&key::authority(), &request), None, "{}", host.escape_ascii());
        assert_eq!(name(&key::host(), &request), None, "{}", host.escape_ascii());
    }
    assert_eq!(name(&key::authority(), &to("/")), None, "none at all");
    let mut several = with_host("/", b"first");
    several.headers_mut().append(header::HOST, HeaderValue::from_static("second"));
    assert_eq!(name(&key::authority(), &several).as_deref(), Some("first"));
    let absolute = with_host("http://real.example/", b"other.example");
    assert_eq!(name(&key::authority(), &absolute).as_deref(), Some("real.example"), "a proxy goes by the URI, too");
    let long = "a".repeat(60_000);
    let service = CircuitBreakerLayer::keyed_by(registry(), key::authority())
        .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) }));
    let answer = service.oneshot(with_host("/", long.as_bytes()));
    assert!(futures::executor::block_on(answer).is_ok(), "names are cut");
}

#[test]
fn closures_and_own_types_are_keys_alike() {
    #[derive(Clone)]
    struct Lower;

    impl Key<String> for Lower {
        fn key<'a>(&self, request: &'a String) -> Option<Cow<'a, str>> {
            Some(request.to_lowercase().into())
        }
    }
    #[expect(clippy::ptr_arg, reason = "the request is a `String`")]
    fn whole(request: &String) -> Option<&str> {
        Some(request)
    }
    let registry = registry();
    let echo = || service_fn(|request: String| async move { Ok::<_, Infallible>(request) });
    let call = |service: tower::util::BoxCloneService<String, String, fusebox::BoxError>| {
        futures::executor::block_on(service.oneshot("Ana".to_owned())).expect("closed");
    };
    call(tower::util::BoxCloneService::new(CircuitBreakerLayer::keyed_by(registry.clone(), Lower).layer(echo())));
    call(tower::util::BoxCloneService::new(CircuitBreakerLayer::keyed_by(registry.clone(), whole).layer(echo())));
    let mut names: Vec<_> = registry.iter().map(|breaker| breaker.name().to_string()).collect();
    names.sort();
    assert_eq!(names, ["Ana", "ana"]);
    assert_eq!(CircuitBreakerLayer::keyed_by(registry, Lower).to_string(), "circuit breakers by key");
}

/// What a URL parser of another make says of the same text.
#[cfg(feature = "reqwest")]
fn by_whatwg(url: &reqwest::Url) -> Option<(String, String)> {
    let host = url.host_str()?.trim_end_matches('.').to_owned();
    let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    Some((authority, host))
}

#[cfg(feature = "reqwest")]
#[test]
fn requests_of_reqwest_have_the_same_keys() {
    let request = |url: &str| reqwest::Request::new(reqwest::Method::GET, url.parse().expect("a URL"));
    for (url, authority, host) in [
        ("https://ana:secret@API.example:443/", "api.example", "api.example"),
        ("http://api.example.:8080/", "api.example:8080", "api.example"),
        ("http://[0:0::1]/", "[::1]", "[::1]"),
        ("https://b\u{fc}cher.example/", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        assert_eq!(name(&key::authority(), &request(url)).as_deref(), Some(authority), "{url}");
        assert_eq!(name(&key::host(), &request(url)).as_deref(), Some(host), "{url}");
    }
    assert!(matches!(key::authority().key(&request("https://api.example/")), Some(Cow::Borrowed(_))));
}

/// Hosts that are written in every way that means the same.
fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z][a-zA-Z0-9-]{0,6}(\\.[a-zA-Z][a-zA-Z0-9]{0,4}){0,2}\\.?",
        1 => any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        // Of an address of IPv4 within IPv6, RFC 5952 and the URL standard have different forms.
        2 => (any::<std::net::Ipv6Addr>().prop_filter("mapped", |a| a.to_ipv4_mapped().is_none()), any::<bool>()).prop_map(|(address, long)| {
            let groups: Vec<_> = address.segments().iter().map(|group| format!("{group:04X}")).collect();
            if long { format!("[{}]", groups.join(":")) } else { format!("[{address}]") }
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_in_a_host_header_are_harmless(host in prop::collection::vec(any::<u8>(), 0..40)) {
        let Ok(value) = HeaderValue::from_bytes(&host) else { return Ok(()) };
        let mut request = to("/");
        request.headers_mut().append(header::HOST, value);
        if let Some(name) = name(&key::authority(), &request) {
            prop_assert!(!name.is_empty() && !name.contains('@'));
            let again = with_host("/", name.as_bytes());
            let same = key::authority().key(&again);
            prop_assert!(matches!(&same, Some(Cow::Borrowed(same)) if *same == name), "{name}: a name is its own, borrowed");
        }
    }

    #[test]
    #[cfg(feature = "reqwest")]
    fn names_are_those_that_a_url_parser_finds(
        scheme in prop_oneof![Just("http"), Just("https"), Just("ws"), Just("wss")],
        user in prop_oneof![Just(""), Just("ana@"), Just("ana:se%40cret@")],
        host in host(),
        port in prop_oneof![Just(None), Just(Some(80)), Just(Some(443)), any::<u16>().prop_map(Some)],
    ) {
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let text = format!("{scheme}://{user}{host}{port}/x");
        let Ok(url) = text.parse::<reqwest::Url>() else { return Ok(()) };
        let expected = by_whatwg(&url).expect("it has a host");
        let by_uri = to(&text);
        let by_url = reqwest::Request::new(reqwest::Method::GET, url);
        for found in [
            (name(&key::authority(), &by_uri), name(&key::host(), &by_uri)),
            (name(&key::authority(), &by_url), name(&key::host(), &by_url)),
        ] {
            prop_assert_eq!(found, (Some(expected.0.clone()), Some(expected.1.clone())), "{}", text);
        }
    }
}
