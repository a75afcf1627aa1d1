//! Which requests may be sent twice.

use http::{HeaderMap, HeaderName, Method};

/// Tells whether a request does no more harm twice than once.
pub(super) fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
    method.is_idempotent()
        || IDEMPOTENT.binary_search(&method.as_str()).is_ok()
        || headers.contains_key(IDEMPOTENCY_KEY)
}

/// The idempotent methods of IANA's registry (<https://www.iana.org/assignments/http-methods>) beside those of RFC
/// 9110: what RFC 7237 registered, and QUERY.
const IDEMPOTENT: [&str; 29] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];
