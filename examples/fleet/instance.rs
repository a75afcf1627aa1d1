//! One instance: a process that calls the dependency through the shared breaker, a hundred times a second.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use fusebox::store::Store;
use fusebox::{
    BoxError, CallError, CircuitBreaker, CircuitBreakerConfig, EventKind, Probes,
    circuit_breaker::{Origin, StateScope},
    detect,
};

/// What the application would do at its start: the store, then a breaker that shares its state there.
fn breaker(store: Arc<dyn Store>) -> Result<CircuitBreaker, BoxError> {
    let config = CircuitBreakerConfig::builder("prices")
        .detector(detect::failures(5).within(Duration::from_secs(10)))
        .cooldown(super::COOLDOWN)
        .probes(Probes::one().deadline(super::PROBE_DEADLINE))
        .store(store)
        .on_event(|event| {
            if let EventKind::StateChanged { to, .. } = event.kind()
                && event.scope() == StateScope::Fleet
            {
                let decided = if event.origin() == Origin::Decided { "decided" } else { "adopted" };
                println!("state {} {} {decided}", to.as_str(), event.generation());
            }
        })
        .build()?;
    Ok(CircuitBreaker::new(config))
}

/// Arguments: the store's URL, the dependency's address, the number of the instance.
pub(crate) fn run(args: &[String]) -> Result<(), BoxError> {
    let [store, dependency, number] = args else {
        return Err("usage: fleet instance <store> <dependency> <number>".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let breaker = breaker(runtime.block_on(super::server::connect(store))?)?;
    // Calls need no runtime, and the breaker has an engine of its own.
    drop(runtime);
    let stream = TcpStream::connect(dependency)?;
    let (mut writer, mut reader) = (stream.try_clone()?, BufReader::new(stream));
    let mut call = || -> Result<(), BoxError> {
        writer.write_all(format!("{number}\n").as_bytes())?;
        let mut answer = String::new();
        reader.read_line(&mut answer)?;
        if answer == "ok\n" { Ok(()) } else { Err(format!("the dependency said {answer:?}").into()) }
    };
    loop {
        match breaker.call_blocking(&mut call) {
            Ok(()) => println!("call"),
            Err(CallError::Inner(_) | CallError::Rejected(_)) => {}
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
