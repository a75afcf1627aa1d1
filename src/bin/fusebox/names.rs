//! Names that the store has, for those that it has not.

use fusebox::fleet::{FleetFilter, Operator, OperatorError};
use strsim::osa_distance;

use crate::failure::Failure;

/// How many other names an error tells.
const MOST: usize = 3;

/// What became of a command; where there is no breaker of that name, with the names that are like it.
pub(crate) async fn explained(operator: &Operator, name: &str, error: OperatorError, advice: &str) -> Failure {
    if matches!(error, OperatorError::Unknown { .. }) { unknown(operator, name, advice).await } else { error.into() }
}

/// There is no breaker of that name; one that is misspelt is told what it may have been.
pub(crate) async fn unknown(operator: &Operator, name: &str, advice: &str) -> Failure {
    let place = operator.describe();
    let mut names = match operator.names().await {
        Ok(names) => names,
        Err(error) => return Failure::no(format!("no breaker {name:?} is in {place}, which lists none: {error}")),
    };
    names.sort_by_cached_key(|known| (osa_distance(&known.to_lowercase(), &name.to_lowercase()), known.clone()));
    let known = match names.len() {
        0 => "it has none".to_owned(),
        count if count <= MOST => format!("known: {}", quoted(&names)),
        count => format!("nearest of {count}: {}", quoted(&names[..MOST])),
    };
    Failure::no(format!("no breaker {name:?} is in {place}; {known}{advice}"))
}

/// A pattern that fits no name at all is likely misspelt.
pub(crate) async fn expect_some(operator: &Operator, pattern: &str) -> Result<(), Failure> {
    let names = operator.names().await?;
    let filter = FleetFilter::named(pattern);
    if names.iter().any(|name| filter.takes_name(name)) {
        return Ok(());
    }
    let place = operator.describe();
    Err(Failure::no(match names.len() {
        0 => format!("no breaker is in {place}"),
        count => format!("none of the {count} breakers in {place} fits {pattern:?}"),
    }))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
