//! What a key is.

use std::borrow::Cow;

/// Finds the name of a request's breaker: its key.
///
/// Closures that borrow the name are keys, and those in this module. One of your own is for names that some requests have
/// ready and others don't: it borrows where it can. Requests whose names are equal share a breaker.
///
/// ```
/// use std::borrow::Cow;
/// use fusebox::key::Key;
///
/// struct Order { tenant: String }
///
/// /// Tenants write their names as they like.
/// #[derive(Clone, Copy)]
/// struct Tenant;
///
/// impl Key<Order> for Tenant {
///     fn key<'a>(&self, order: &'a Order) -> Option<Cow<'a, str>> {
///         let is_lower = !order.tenant.contains(char::is_uppercase);
///         Some(if is_lower { Cow::Borrowed(&order.tenant) } else { Cow::Owned(order.tenant.to_lowercase()) })
///     }
/// }
/// assert_eq!(Tenant.key(&Order { tenant: "ACME".into() }).as_deref(), Some("acme"));
///
/// fn by_tenant(order: &Order) -> Option<&str> {
///     Some(&order.tenant)
/// }
/// assert_eq!(by_tenant.key(&Order { tenant: "ACME".into() }).as_deref(), Some("ACME"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key of a `{Req}`",
    note = "a key is a closure `|request: &Request| -> Option<&str>`, one of the module `key`, or a type that implements `Key<Request>`"
)]
pub trait Key<Req> {
    /// Returns the name of the request's breaker. `None`: it has none, and the request is not guarded.
    fn key<'a>(&self, request: &'a Req) -> Option<Cow<'a, str>>;
}

impl<Req, F> Key<Req> for F
where
    F: Fn(&Req) -> Option<&str>,
{
    #[inline]
    fn key<'a>(&self, request: &'a Req) -> Option<Cow<'a, str>> {
        self(request).map(Cow::Borrowed)
    }
}

/// What requests are named for which axum has matched no route.
pub(super) const NO_ROUTE: &str = "(unmatched)";

/// Tells whether requests share this name for want of one.
pub(crate) fn is_unmatched(name: &str) -> bool {
    cfg!(feature = "axum") && name == NO_ROUTE
}
