//! Commands that change a breaker: each says what it saw before and after.

use fusebox::Override;
use fusebox::fleet::{FleetBreaker, FleetChange, Operator, OperatorError};

use crate::args::{Changed, Forget, Hold, Options, Trip};
use crate::failure::Failure;
use crate::opened::operator;
use crate::{json, names, terminal};

const CREATE: &str = "; --create makes it";

async fn opened(options: &Options, breaker: &Changed) -> Result<Operator, Failure> {
    let operator = operator(options).await?;
    Ok(if breaker.create { operator.create_missing() } else { operator })
}

/// Says what has changed, or why nothing has.
async fn told(
    options: &Options,
    operator: &Operator,
    name: &str,
    advice: &str,
    done: Result<FleetChange, OperatorError>,
) -> Result<(), Failure> {
    let change = match done {
        Ok(change) => change,
        Err(error) => return Err(names::explained(operator, name, error, advice).await),
    };
    if options.json {
        return json::print(&change);
    }
    let row = |row: &Option<FleetBreaker>| row.as_ref().map_or_else(|| "no record".to_owned(), ToString::to_string);
    terminal::print(if change.changed {
        format!("before: {}\nnow:    {}\n", row(&change.before), row(&change.after))
    } else {
        format!("as it was: {}\n", row(&change.after))
    })
}

pub(crate) async fn trip(options: &Options, trip: &Trip) -> Result<(), Failure> {
    let operator = opened(options, &trip.breaker).await?;
    let name = &trip.breaker.name;
    let done = match trip.cooldown {
        Some(cooldown) => operator.trip_for(name, cooldown).await,
        None => operator.trip(name).await,
    };
    told(options, &operator, name, CREATE, done).await
}

pub(crate) async fn reset(options: &Options, breaker: &Changed) -> Result<(), Failure> {
    let operator = opened(options, breaker).await?;
    let done = operator.reset(&breaker.name).await;
    told(options, &operator, &breaker.name, CREATE, done).await
}

pub(crate) async fn resume(options: &Options, breaker: &Changed) -> Result<(), Failure> {
    let operator = opened(options, breaker).await?;
    let done = operator.resume(&breaker.name).await;
    told(options, &operator, &breaker.name, CREATE, done).await
}

pub(crate) async fn forget(options: &Options, forget: &Forget) -> Result<(), Failure> {
    if !forget.yes {
        return Err(Failure::usage(format!("say --yes to take the record of {:?} out of the store", forget.name)));
    }
    let operator = operator(options).await?;
    let done = operator.forget(&forget.name).await;
    told(options, &operator, &forget.name, "", done).await
}

pub(crate) async fn hold(options: &Options, hold: &Hold, kind: fn(String) -> Override) -> Result<(), Failure> {
    if hold.reason.trim().is_empty() {
        return Err(Failure::usage("say why: the reason is shown to each caller that is rejected"));
    }
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    let actor = hold.actor.clone().or_else(user);
    let order = actor.iter().fold(kind(hold.reason.clone()), Override::by);
    let order = hold.r#for.into_iter().fold(order, Override::expires_after);
    let operator = opened(options, &hold.breaker).await?;
    let name = &hold.breaker.name;
    let done = operator.set_override(name, order).await;
    told(options, &operator, name, CREATE, done).await
}
