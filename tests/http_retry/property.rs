//! 31, for any body, any cap, and whatever the attempts read of it.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use fusebox::RetryLayer;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use tower::{Layer, ServiceExt};

use super::script::{Knows, Seen, Step, trailers};
use super::*;

/// A piece of a body.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Data(usize),
    Pause,
}

/// What one attempt does before it answers 503.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Frames(usize),
    All,
}

/// What one attempt saw.
#[derive(Debug, PartialEq)]
struct Got {
    bytes: Vec<u8>,
    trailers: bool,
    ended: bool,
    exact: bool,
}

/// Reads as it is told, and checks what the body says of itself on the way.
async fn read(mut body: Pin<&mut Replayed>, reads: Reads, whole: u64, knows: Knows) -> Got {
    let mut got = Got { bytes: Vec::new(), trailers: false, ended: false, exact: true };
    let mut frames = match reads {
        Reads::Frames(frames) => frames,
        Reads::All => usize::MAX,
    };
    while frames > 0 && !got.ended {
        frames -= 1;
        let (left, hint) = (whole - got.bytes.len() as u64, body.size_hint());
        got.exact &= hint.lower() <= left && hint.upper().is_none_or(|upper| upper >= left);
        got.exact &= knows == Knows::Nothing || hint.exact() == Some(left);
        let said_end = body.is_end_stream();
        match body.frame().await {
            None => got.ended = true,
            Some(frame) => {
                got.exact &= !said_end;
                let frame = frame.expect("no error");
                got.trailers |= frame.is_trailers();
                got.bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            }
        }
    }
    got
}

/// Makes one call; returns its status and what each attempt saw, with how much had been read of the original by then.
fn call(script: Script, cap: usize, plan: Vec<Reads>, whole: u64, knows: Knows) -> (u16, Vec<(Got, usize)>) {
    let (seen, last): (Seen, _) = (script.seen(), plan.len());
    let attempts: Arc<Mutex<Vec<(Got, usize)>>> = Arc::default();
    let log = attempts.clone();
    let service = tower::service_fn(move |request: Request<Replayed>| {
        let (log, seen, plan) = (log.clone(), seen.clone(), plan.clone());
        async move {
            let number = log.lock().unwrap_or_else(PoisonError::into_inner).len();
            let reads = plan.get(number).copied().unwrap_or(Reads::All);
            let mut body = request.into_body();
            let got = read(Pin::new(&mut body), reads, whole, knows).await;
            log.lock().unwrap_or_else(PoisonError::into_inner).push((got, seen.bytes()));
            Ok::<_, Infallible>(response(if number < last { 503 } else { 200 }))
        }
    });
    let layer = RetryLayer::http(config(|builder| builder.max_retries(10))).replay_up_to(cap);
    let answer = futures::executor::block_on(layer.layer(service).oneshot(put(script))).expect("an answer");
    let attempts = std::mem::take(&mut *attempts.lock().unwrap_or_else(PoisonError::into_inner));
    (answer.status().as_u16(), attempts)
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    vec(prop_oneof![4 => (0..12_usize).prop_map(Piece::Data), 1 => Just(Piece::Pause)], 0..10)
}

fn plans() -> impl Strategy<Value = Vec<Reads>> {
    vec(prop_oneof![3 => (0..14_usize).prop_map(Reads::Frames), 1 => Just(Reads::All)], 0..6)
}

proptest! {
    #[test]
    fn c31_every_attempt_sends_the_same_bytes_and_none_is_made_without_them(
        pieces in pieces(),
        plan in plans(),
        cap in 0..80_usize,
        with_trailers in any::<bool>(),
        knows in prop_oneof![Just(Knows::All), Just(Knows::Nothing)],
    ) {
        let mut numbers = (0..=u8::MAX).cycle();
        let mut whole = Vec::new();
        let mut steps: Vec<_> = pieces.iter().map(|piece| match *piece {
            Piece::Pause => Step::Pause,
            Piece::Data(length) => {
                let data: Vec<u8> = numbers.by_ref().take(length).collect();
                whole.extend_from_slice(&data);
                Step::Data(Bytes::from(data))
            }
        }).collect();
        if with_trailers {
            steps.push(trailers(&[("checksum", "7f")]));
        }
        let (status, attempts) = call(Script::new(steps).knows(knows), cap, plan.clone(), whole.len() as u64, knows);

        let mut expected = 1;
        for (number, (got, pulled)) in attempts.iter().enumerate() {
            prop_assert!(got.exact, "attempt {number}: {got:?}");
            prop_assert!(whole.starts_with(&got.bytes), "attempt {number} sent something else: {got:?}");
            if got.ended {
                prop_assert_eq!(&got.bytes, &whole, "attempt {} left something out", number);
                prop_assert_eq!(got.trailers, with_trailers);
            }
            // It can be sent again exactly as long as all that was read of it fits under the cap.
            let known_too_long = knows == Knows::All && whole.len() > cap;
            if number < plan.len() && *pulled <= cap && !known_too_long {
                expected = number + 2;
            }
        }
        prop_assert_eq!(attempts.len(), expected);
        prop_assert_eq!(status, if expected == plan.len() + 1 { 200 } else { 503 });
    }
}
