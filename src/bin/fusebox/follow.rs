//! `watch` and `wait`.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use fusebox::fleet::FleetFilter;
use futures_core::Stream;

use crate::args::{Options, Wait};
use crate::failure::Failure;
use crate::opened::operator;
use crate::{json, names, terminal};

pub(crate) async fn watch(options: &Options, pattern: Option<&str>) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let filter = pattern.map_or_else(FleetFilter::all, FleetFilter::named);
    let mut transitions = pin!(operator.watch(filter));
    loop {
        match std::future::poll_fn(|cx| transitions.as_mut().poll_next(cx)).await {
            None => return Ok(()),
            // It is told once, and goes on when the store is back.
            Some(Err(error)) => Failure::from(error).tell(options.json),
            Some(Ok(told)) if options.json => json::print(&told)?,
            Some(Ok(told)) => {
                let at = told.breaker.snapshot().map(|seen| humantime::format_rfc3339_seconds(seen.since).to_string());
                let at = at.unwrap_or_else(|| "-".to_owned());
                terminal::print(format_args!("{at}  {told}\n"))?;
            }
        }
    }
}

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(200);

pub(crate) async fn wait(options: &Options, wait: &Wait) -> Result<(), Failure> {
    let operator = operator(options).await?;
    let wanted = wait.state.state();
    // What the last look came to, for when the time is over.
    let last = RefCell::new(None);
    let looks = async {
        let mut is_known = false;
        loop {
            match operator.get(&wait.name).await {
                Ok(Some(row)) if row.state() == Some(wanted) => return Ok(row),
                Ok(Some(row)) => {
                    is_known = true;
                    last.replace(Some(Ok(row.to_string())));
                }
                Ok(None) if is_known => return Err(Failure::no(format!("{:?} is in the store no more", wait.name))),
                Ok(None) => return Err(names::unknown(&operator, &wait.name, "").await),
                // It may be back before the time is over.
                Err(error) => drop(last.replace(Some(Err(Failure::from(error))))),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    let Ok(row) = tokio::time::timeout(wait.r#for, looks).await else {
        return Err(match last.take() {
            Some(Err(failure)) => failure,
            Some(Ok(row)) => Failure::no(format!("not {wanted} within {:?}: {row}", wait.r#for)),
            None => Failure::away(format!("the store did not answer within {:?}", wait.r#for)),
        });
    };
    let row = row?;
    if options.json {
        return json::print(&row);
    }
    terminal::print(format_args!("{row}\n"))
}
