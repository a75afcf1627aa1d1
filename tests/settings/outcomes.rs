//! What counts as a failure and what is ignored, by a file.

use std::sync::mpsc;

use fusebox::classify::Outcomes;
use fusebox::settings::Settings;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Outcome, Registry};

use super::{read, refusal};

#[test]
fn a_status_named_by_itself_beats_those_named_together() {
    let outcomes: Outcomes = read("failures = ['5xx', 404]\nignored = [503, '4xx', 'UNAVAILABLE']");
    for (status, outcome) in [
        (399, None),
        (400, Some(Outcome::Ignored)),
        (404, Some(Outcome::Failure)),
        (499, Some(Outcome::Ignored)),
        (500, Some(Outcome::Failure)),
        (503, Some(Outcome::Ignored)),
        (599, Some(Outcome::Failure)),
        (600, None),
        (u16::MAX, None),
    ] {
        assert_eq!(outcomes.of_status(status), outcome, "{status}");
    }
    assert_eq!((outcomes.of_code(14), outcomes.of_code(13)), (Some(Outcome::Ignored), None));
    assert_eq!((outcomes.of_code(31), outcomes.of_code(u32::MAX)), (None, None));
    for (status, allowed) in [(400, true), (599, true), (399, false), (600, false)] {
        assert_eq!(Outcomes::new().failures([status.to_string()]).is_ok(), allowed, "{status}");
    }
}

#[test]
fn every_code_of_grpc_has_its_name() {
    #[cfg(feature = "grpc")]
    for number in 0..17_i32 {
        // tonic's own name of a code, in the letters that gRPC gives it.
        let shown = format!("{:?}", tonic::Code::from_i32(number));
        let name = shown.chars().enumerate().fold(String::new(), |name, (i, c)| {
            if i > 0 && c.is_uppercase() { name + "_" + &c.to_string() } else { name + &c.to_uppercase().to_string() }
        });
        let outcomes = Outcomes::new().failures([&name]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let failing: Vec<_> = (0..32).filter(|code| outcomes.of_code(*code).is_some()).collect();
        assert_eq!(failing, [u32::try_from(number).expect("no sign")], "{name}");
    }
}

#[test]
fn what_is_no_status_is_refused_and_so_is_what_is_both() {
    let of = |text: &str| refusal::<CircuitBreakerConfig>(text);
    let allowed = "allowed is a status from 400 to 599, \"4xx\", \"5xx\", one of gRPC such as \"UNAVAILABLE\", or an error such as \
        \"timeout\" or \"connection_reset\"";
    for (text, message) in [
        ("outcomes.failures = [200]", format!("`outcomes.failures[0]` is 200, {allowed}")),
        (
            "outcomes.failures = [503, '6xx']",
            format!("`outcomes.failures[1]` is \"6xx\", {allowed}; did you mean `4xx`?"),
        ),
        (
            "outcomes.ignored = ['UNAVAILABEL']",
            format!("`outcomes.ignored[0]` is \"UNAVAILABEL\", {allowed}; did you mean `UNAVAILABLE`?"),
        ),
        (
            "outcomes = { failures = [503], ignored = ['503'] }",
            "`outcomes.ignored` has \"503\", which `failures` has as well, allowed is one of both".to_owned(),
        ),
    ] {
        assert_eq!(of(text), message, "{text}");
    }
    assert_eq!(
        Outcomes::new().ignored(["timeout"]).expect("it is one").failures(["timeout"]).expect_err("both").field(),
        "outcomes.failures"
    );
}

#[test]
fn a_registry_s_are_for_the_one_layer_of_all_keys() {
    use fusebox::settings::Settings;

    let settings: Settings =
        read("[defaults]\noutcomes.ignored = [500]\n[registries.a]\noutcomes.failures = [404]\n[registries.b]");
    let [a, b] = ["a", "b"].map(|name| settings.outcomes(name).expect("it is there"));
    assert_eq!((a.of_status(404), a.of_status(500)), (Some(Outcome::Failure), None), "a table wins whole");
    assert_eq!((b.of_status(404), b.of_status(500)), (None, Some(Outcome::Ignored)));
    assert!(settings.outcomes("c").is_err());
    let of_key = refusal::<Settings>("[registries.a.keys.k]\noutcomes.failures = [404]");
    assert!(of_key.starts_with("`registries.a.keys.k.outcomes` is unknown"), "{of_key}");
}

#[test]
fn a_configuration_explains_what_it_was_given() {
    let config: CircuitBreakerConfig = read(
        "outcomes = { failures = ['timeout', 429, '5xx'], ignored = ['NOT_FOUND'] }
         override = { kind = 'dry_run', reason = 'new limits', expires_after = '1m' }",
    );
    let told = config.explain().to_string();
    assert!(
        told.starts_with("is held from the start, by this instance alone and for 60s: dry run: new limits\n"),
        "{told}"
    );
    let line = "\nbehind a layer for HTTP or gRPC, counts 5xx, 429, timeout as failures, NOT_FOUND neither way";
    assert!(told.contains(line), "{told}");
}

#[tokio::test(start_paused = true)]
async fn time_that_ran_out_is_a_timeout_by_any_clock() {
    use std::io::{Error, ErrorKind};

    let outcomes = Outcomes::new().ignored(["timeout"]).expect("a word that is known");
    let ran_out = || async {
        let never = std::future::pending::<()>();
        tokio::time::timeout(std::time::Duration::from_secs(1), never).await.expect_err("it never ends")
    };
    assert_eq!(outcomes.of_error(&ran_out().await), Some(Outcome::Ignored));
    assert_eq!(outcomes.of_error(&Error::other(ran_out().await)), Some(Outcome::Ignored), "within another");
    assert_eq!(outcomes.of_error(&Error::from(ErrorKind::TimedOut)), Some(Outcome::Ignored));
    assert_eq!(outcomes.of_error(&Error::from(ErrorKind::ConnectionReset)), None);
    #[cfg(feature = "tower")]
    assert_eq!(outcomes.of_error(&tower::timeout::error::Elapsed::new()), Some(Outcome::Ignored));
}

#[cfg(feature = "http")]
#[test]
fn the_layer_for_http_heeds_them() {
    use std::io::{Error, ErrorKind};

    use fusebox::{BoxError, CircuitBreakerLayer};
    use futures::FutureExt;
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    /// Whether one such answer opens a circuit.
    fn opens(outcomes: &str, answer: impl Fn() -> Result<u16, ErrorKind> + Clone + Send + Sync + 'static) -> bool {
        let text = format!("detector = {{ type = 'consecutive_failures', count = 1 }}\n{outcomes}");
        let layer = CircuitBreakerLayer::http(read(&text));
        let service = layer.layer(service_fn(move |_: Request<()>| {
            let answer = answer().map_err(|kind| BoxError::from(Error::other(Error::from(kind))));
            std::future::ready(answer.map(|status| Response::builder().status(status).body(()).expect("a response")))
        }));
        drop(service.oneshot(Request::new(())).now_or_never().expect("at once"));
        layer.breaker().is_open()
    }
    let said = "outcomes = { failures = ['5xx', 404], ignored = [500, 'connection_reset'] }";
    for (answer, before, after) in [
        (Ok(404), false, true),
        (Ok(500), true, false),
        (Ok(501), false, true),
        (Ok(503), true, true),
        (Ok(400), false, false),
        (Err(ErrorKind::ConnectionReset), true, false),
        (Err(ErrorKind::ConnectionRefused), true, true),
    ] {
        assert_eq!((opens("", move || answer), opens(said, move || answer)), (before, after), "{answer:?}");
    }
}

/// What the program knows to be its own is not the dependency's by a word of the file.
#[cfg(feature = "http")]
#[test]
fn what_a_program_leaves_out_counts_by_no_word() {
    use std::io::{Error, ErrorKind};

    use fusebox::{Classify, classify};

    let outcomes: Outcomes = read("failures = ['connection_reset', 'broken_pipe']");
    let rule = classify::http().outcomes(outcomes).exclude(|error: &Error| error.kind() == ErrorKind::BrokenPipe);
    let judged = |kind: ErrorKind| rule.classify(&Err::<http::Response<()>, _>(Error::from(kind)));
    assert_eq!(judged(ErrorKind::BrokenPipe), Outcome::Ignored);
    assert_eq!(judged(ErrorKind::ConnectionReset), Outcome::Failure);
}

/// Under the names of the file a failure still says when to come back.
#[cfg(feature = "http")]
#[test]
fn a_failure_by_configuration_keeps_its_retry_after() {
    use fusebox::{Classify, classify};

    let outcomes: Outcomes = read("failures = [404]");
    let answer = http::Response::builder().status(404).header("retry-after", "60").body(()).expect("a response");
    let outcome = classify::http().outcomes(outcomes).classify(&Ok::<_, ()>(answer));
    assert_eq!(outcome, Outcome::FailureAfter(std::time::Duration::from_secs(60)));
}

#[cfg(feature = "grpc")]
#[test]
fn the_layer_for_grpc_heeds_them() {
    use fusebox::{BoxError, CircuitBreakerLayer};
    use futures::FutureExt;
    use http::{Request, Response};
    use http_body_util::Empty;
    use tower::{Layer, ServiceExt, service_fn};

    let opens = |outcomes: &str, code: &'static str| {
        let text = format!("detector = {{ type = 'consecutive_failures', count = 1 }}\n{outcomes}");
        let layer = CircuitBreakerLayer::grpc(read(&text));
        let service = layer.layer(service_fn(move |_: Request<()>| {
            let response = Response::builder().header("grpc-status", code).header("content-type", "application/grpc");
            std::future::ready(Ok::<_, BoxError>(response.body(Empty::<bytes::Bytes>::new()).expect("a response")))
        }));
        drop(service.oneshot(Request::new(())).now_or_never().expect("at once"));
        layer.breaker().is_open()
    };
    let said = "outcomes = { failures = ['NOT_FOUND', 'CANCELLED'], ignored = ['UNAVAILABLE'] }";
    for (code, before, after) in
        [("5", false, true), ("1", false, true), ("14", true, false), ("13", true, true), ("0", false, false)]
    {
        assert_eq!((opens("", code), opens(said, code)), (before, after), "{code}");
    }
}

/// A file whose breakers write down what they are advised.
fn advised(text: &str) -> (Settings, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let settings = read::<Settings>(text).each(move |breaker| {
        let tell = tell.clone();
        breaker.on_event(move |event| {
            if event.kind().as_str() == "advice" {
                tell.send(event.to_string()).expect("the receiver lives");
            }
        })
    });
    (settings, told)
}

const NOT_FOUND_FAILS: &str = "outcomes.failures = [404]";

#[test]
fn outcomes_that_nothing_asks_for_are_told_of_once() {
    type Use = fn(CircuitBreakerConfig);
    let uses: [(Use, usize); 5] = [
        (|config| drop(CircuitBreakerLayer::new(config)), 1),
        (|config| drop(CircuitBreaker::new(config)), 1),
        (|config| drop(CircuitBreakerLayer::new(config.into_builder().build().expect("right"))), 1),
        (
            |config| {
                let outcomes = config.outcomes();
                let rule = move |result: &Result<(), u16>| match result {
                    Err(status) => outcomes.of_status(*status).unwrap_or(Outcome::Failure),
                    Ok(()) => Outcome::Success,
                };
                drop(CircuitBreakerLayer::new(config).classify(rule));
            },
            0,
        ),
        (
            |config| {
                let _ = config.clone().named("other").outcomes();
                drop(CircuitBreaker::new(config));
            },
            0,
        ),
    ];
    for (i, (used, count)) in uses.into_iter().enumerate() {
        let (settings, told) = advised(&format!("[breakers.payments]\n{NOT_FOUND_FAILS}\n[breakers.plain]"));
        used(settings.breaker("payments").expect("it is there"));
        drop(CircuitBreakerLayer::new(settings.breaker("plain").expect("it is there")));
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told.len(), count, "{i}: {told:?}");
        for line in told {
            assert!(line.starts_with("payments: advice: ") && line.contains("`outcomes`"), "{line}");
        }
    }
}

#[cfg(feature = "http")]
#[test]
fn outcomes_that_a_layer_heeds_are_not_told_of() {
    let (settings, told) = advised(&format!("[breakers.payments]\n{NOT_FOUND_FAILS}"));
    drop(CircuitBreakerLayer::http(settings.breaker("payments").expect("it is there")));
    let config = settings.breaker("payments").expect("it is there");
    let rule = fusebox::classify::http().outcomes(config.outcomes());
    drop(CircuitBreakerLayer::new(config).classify(rule));
    #[cfg(feature = "grpc")]
    drop(CircuitBreakerLayer::grpc(settings.breaker("payments").expect("it is there")));
    assert_eq!(told.try_iter().count(), 0);
}

/// One layer judges the calls of all keys, so that its classifier is asked, and the first breaker tells.
#[test]
fn outcomes_of_a_registry_are_told_of_once_unless_they_are_asked_for() {
    let file = format!("[registries.hosts]\nmax = 2\n{NOT_FOUND_FAILS}");
    let ask = |registry: &Registry| ["a", "b", "c"].map(|key| registry.breaker(key).expect("the template works"));
    for (asks, count) in [(false, 1), (true, 0)] {
        let (settings, told) = advised(&file);
        let registry = settings.registry("hosts").expect("it is there");
        if asks {
            assert_eq!(settings.outcomes("hosts").expect("it is there").of_status(404), Some(Outcome::Failure));
        }
        let held = ask(&registry);
        assert_eq!((told.try_iter().count(), registry.iter().count()), (count, held.len()), "{asks}");
    }
    let (settings, told) = advised("[registries.hosts]\nmax = 2");
    drop(ask(&settings.registry("hosts").expect("it is there")));
    assert_eq!(told.try_iter().count(), 0);
    let (settings, told) = advised(&format!("[registries.hosts]\nmax = 0\n{NOT_FOUND_FAILS}"));
    drop(ask(&settings.registry("hosts").expect("it is there")));
    assert_eq!(told.try_iter().count(), 1, "an overflow breaker tells of it as well");
}
