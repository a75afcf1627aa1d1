//! Keys by where a client's request goes: one host, one breaker, however its name is written.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use http::{Request, header};

use super::contract::Key;

/// Returns the key of host and port: see [`Authority`].
///
/// ```
/// use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
///
/// let registry = Registry::new(|host| CircuitBreakerConfig::builder(host).build());
/// let by_host = CircuitBreakerLayer::keyed_by(registry, key::authority());
/// # let _ = by_host;
/// ```
#[must_use]
pub const fn authority() -> Authority {
    Authority
}

/// Returns the key of the host, whatever the port: see [`Host`].
///
/// ```
/// use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
///
/// let registry = Registry::new(|host| CircuitBreakerConfig::builder(host).build());
/// let by_host = CircuitBreakerLayer::keyed_by(registry, key::host());
/// # let _ = by_host;
/// ```
#[must_use]
pub const fn host() -> Host {
    Host
}

/// Host and port that a request goes to, for clients. Made by [`authority`].
///
/// They are those of its URI, else of the first `Host` header. However they are written, one host and port have one name:
/// lower case, no dot at the end, IPv6 addresses in the form of RFC 5952, and the port only where it is not the default of
/// the URI's scheme (80 for `http` and `ws`, 443 for `https` and `wss`; of another scheme, or none, it stays). Users and
/// passwords are never in it. What is no host, such as most bytes in a `Host` header, is no key.
///
/// With the feature `reqwest` it is a key of `reqwest::Request` as well.
///
/// ```
/// use fusebox::key::{self, Authority, Key};
/// use http::Request;
///
/// let by_host: Authority = key::authority();
/// let names = |uri: &str| by_host.key(&Request::get(uri).body(()).unwrap()).map(|name| name.into_owned());
/// assert_eq!(names("https://ana:secret@api.example:8443/prices").unwrap(), "api.example:8443");
/// for same in ["https://api.example/", "https://API.example:443/", "https://api.example./"] {
///     assert_eq!(names(same).unwrap(), "api.example");
/// }
/// assert_eq!(names("/prices"), None, "then the call is not guarded");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Authority;

/// Host that a request goes to, without the port, for clients. Made by [`host`].
///
/// It is the host of [`Authority`], in the same form.
///
/// ```
/// use fusebox::key::{self, Host, Key};
///
/// let by_host: Host = key::host();
/// let request = http::Request::get("https://api.example:8443/prices").body(())?;
/// assert_eq!(by_host.key(&request).as_deref(), Some("api.example"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Host;

impl<B> Key<Request<B>> for Authority {
    fn key<'a>(&self, request: &'a Request<B>) -> Option<Cow<'a, str>> {
        Place::of(request)?.name(request.uri().scheme_str())
    }
}

impl<B> Key<Request<B>> for Host {
    fn key<'a>(&self, request: &'a Request<B>) -> Option<Cow<'a, str>> {
        Place::of(request)?.without_port().name(None)
    }
}

#[cfg(feature = "reqwest")]
impl Key<reqwest::Request> for Authority {
    fn key<'a>(&self, request: &'a reqwest::Request) -> Option<Cow<'a, str>> {
        Place::read(request.url().authority())?.name(Some(request.url().scheme()))
    }
}

#[cfg(feature = "reqwest")]
impl Key<reqwest::Request> for Host {
    fn key<'a>(&self, request: &'a reqwest::Request) -> Option<Cow<'a, str>> {
        Place::read(request.url().authority())?.without_port().name(None)
    }
}

/// A host, and a port where one is given, as they were written.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// `host:port`, or the host alone.
    text: &'a str,
    host: Name<'a>,
    port: Option<u16>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    /// Without dots at its end.
    Registered(&'a str),
    /// With what stands in brackets, and the zone in it, from its `%` on.
    V6 { address: Ipv6Addr, zone: &'a str },
}

impl<'a> Place<'a> {
    fn of<B>(request: &'a Request<B>) -> Option<Self> {
        match request.uri().authority() {
            Some(authority) => Self::read(authority.as_str()),
            None => Self::read(request.headers().get(header::HOST)?.to_str().ok()?),
        }
    }

    fn read(authority: &'a str) -> Option<Self> {
        // A user and password must not become a breaker's name.
        let text = authority.rsplit('@').next()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, rest) = rest.split_once(']')?;
                (Name::v6(inside)?, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                (Name::registered(host)?, port)
            }
        };
        // A colon without a port is a URI's way to write the default.
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => Some(number(port)?),
            None => None,
        };
        Some(Self { text, host, port })
    }

    fn without_port(self) -> Self {
        Self { port: None, ..self }
    }

    /// The one name of the place; borrowed, if it is written so already.
    fn name(self, scheme: Option<&str>) -> Option<Cow<'a, str>> {
        let port = self.port.filter(|port| scheme.and_then(default_port) != Some(*port));
        let mut left = Unwritten(self.text);
        if write_name(&mut left, self.host, port).is_ok() {
            return Some(Cow::Borrowed(&self.text[..self.text.len() - left.0.len()]));
        }
        let mut name = String::with_capacity(self.text.len());
        write_name(&mut name, self.host, port).ok()?;
        Some(Cow::Owned(name))
    }
}

impl<'a> Name<'a> {
    fn v6(inside: &'a str) -> Option<Self> {
        let (address, zone) = inside.split_at(inside.find('%').unwrap_or(inside.len()));
        let address = address.parse().ok()?;
        is_host(zone).then_some(Self::V6 { address, zone })
    }

    fn registered(host: &'a str) -> Option<Self> {
        let host = host.trim_end_matches('.');
        (!host.is_empty() && is_host(host)).then_some(Self::Registered(host))
    }
}

/// Tells whether these are characters of a host's name (RFC 3986, 3.2.2).
fn is_host(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte))
}

fn number(port: &str) -> Option<u16> {
    // `parse` alone would take a sign.
    let is_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { port.parse().ok() } else { None }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

fn write_name(out: &mut impl fmt::Write, host: Name<'_>, port: Option<u16>) -> fmt::Result {
    match host {
        Name::Registered(host) => {
            // Long pieces at a time: most names are one.
            for piece in host.split_inclusive(|c: char| c.is_ascii_uppercase()) {
                let (rest, upper) = piece.split_at(piece.len() - usize::from(ends_in_upper(piece)));
                out.write_str(rest)?;
                upper.chars().try_for_each(|c| out.write_char(c.to_ascii_lowercase()))?;
            }
        }
        Name::V6 { address, zone } => write!(out, "[{address}{zone}]")?,
    }
    port.map_or(Ok(()), |port| write!(out, ":{port}"))
}

fn ends_in_upper(piece: &str) -> bool {
    piece.ends_with(|c: char| c.is_ascii_uppercase())
}

/// A text that is compared with what would be written: an error, as soon as they differ.
struct Unwritten<'a>(&'a str);

impl fmt::Write for Unwritten<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}
