//! `tower`: what its layers say instead of the service.

use std::error::Error;

use ::tower::load_shed::error::Overloaded;
use ::tower::timeout::error::Elapsed;

use super::meaning::{Fault, Meaning};

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    if link.is::<Overloaded>() {
        return Some(Meaning::Is(Fault::Caller));
    }
    link.is::<Elapsed>().then_some(Meaning::Is(Fault::Dependency))
}
