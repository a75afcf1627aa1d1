//! placeholder
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Dependency,
    Unprocessed,
    Untrusted,
    Caller,
    Cancelled,
}
pub(super) fn fault_in<E: 'static>(_error: &E) -> Option<Fault> {
    None
}
#[cfg(feature = "grpc")]
pub(super) fn fault_of_status(_status: &tonic::Status) -> Option<Fault> {
    None
}
