//! How requests are sent more than once, and which types fit.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// A request that is not `Clone`.
#[derive(Debug, PartialEq)]
struct Order(u32);

/// Fails each order, and keeps their numbers.
fn orders() -> (Record<u32>, impl Service<Order, Response = (), Error = Down, Future: Send> + Clone) {
    let seen = Record::default();
    let log = seen.clone();
    let inner = tower::service_fn(move |order: Order| {
        log.add(order.0);
        ready(Err(Down))
    });
    (seen, inner)
}

#[test]
fn a_request_that_is_not_clone_is_cloned_by_a_function_and_the_first_attempt_gets_the_original() {
    let (seen, inner) = orders();
    let retry = retry(at_once()).clone_with(|order: &Order| Some(Order(order.0 + 1)));
    assert_eq!(retry.layer(inner).oneshot(Order(1)).now_or_never(), Some(Err(Down)));
    assert_eq!(seen.take(), [1, 3, 3, 3], "each a copy of the copy that was kept");
}

#[test]
fn a_request_that_cannot_be_cloned_is_sent_once() {
    let (seen, inner) = orders();
    let (builder, events) = listening(at_once());
    let service = retry(builder).clone_with(|_: &Order| None).layer(inner);
    assert_eq!(service.oneshot(Order(1)).now_or_never(), Some(Err(Down)));
    assert_eq!(seen.take(), [1]);
    assert_eq!(lines(&events), ["attempt 1 failed, given up: the request cannot be sent again"]);

    let fine = retry(at_once()).clone_with(|_: &u32| None).layer(Stub::new(Answer::Ok));
    assert_eq!(fine.oneshot(7).now_or_never(), Some(Ok(7)));
}

#[test]
fn a_request_that_cannot_be_cloned_any_more_costs_no_budget() {
    let (seen, inner) = orders();
    let budget = Budget::ratio(0.0).reserve_per_second(1).clock(ManualClock::new());
    let left = Arc::new(AtomicU32::new(2));
    let clone = move |order: &Order| {
        let is_left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        is_left.then_some(Order(order.0))
    };
    let (builder, events) = listening(at_once().budget(budget.clone()));
    let service = retry(builder).clone_with(clone).layer(inner);
    assert_eq!(service.oneshot(Order(1)).now_or_never(), Some(Err(Down)));
    assert_eq!(seen.take(), [1, 1]);
    assert_eq!(budget.available(), 9, "one retry was made");
    assert_eq!(events.take().last().and_then(reason), Some(StopReason::NotReplayable));
}

#[test]
fn requests_responses_and_errors_need_neither_send_nor_sync_nor_clone() {
    /// Neither `Send` nor `Sync` nor `Clone`.
    #[derive(Debug)]
    struct Odd(Rc<Cell<u32>>);

    let inner = tower::service_fn(|request: Rc<Cell<u32>>| {
        request.set(request.get() + 1);
        ready(if request.get() < 3 { Err(Odd(request)) } else { Ok(Odd(request)) })
    });
    let service = retry(at_once()).layer(inner);
    let response = service.oneshot(Rc::default()).now_or_never().expect("no wait").expect("the third works");
    assert_eq!(response.0.get(), 3);
}

#[test]
fn requests_and_responses_may_borrow() {
    fn shortest<'a>(words: &'a [&'a str]) -> Result<&'a str, Down> {
        let retries = Cell::new(0);
        let inner = tower::service_fn(|words: &'a [&'a str]| {
            retries.set(retries.get() + 1);
            ready(words.iter().copied().min_by_key(|word| word.len()).filter(|_| retries.get() > 1).ok_or(Down))
        });
        retry(at_once()).layer(inner).oneshot(words).now_or_never().expect("no wait")
    }
    let words = [String::from("long"), String::from("ox")];
    assert_eq!(shortest(&words.each_ref().map(String::as_str)), Ok("ox"));
}

#[test]
fn functions_that_are_called_may_borrow_and_change_what_is_around_them() {
    let mut log = Vec::new();
    let name = String::from("x");
    let retry = retry(at_once());
    let result = retry.call(|| {
        log.push(name.as_str());
        let is_last = log.len() == 3;
        async move { if is_last { Ok(()) } else { Err(Rc::new("down")) } }
    });
    assert_eq!(result.now_or_never(), Some(Ok(())));
    assert_eq!(log, ["x"; 3]);
}
