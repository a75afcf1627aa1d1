use tower::{Layer, ServiceExt};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience_retry::RetryLayer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = tower::service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
    let service = CircuitBreakerLayer::builder().build().unwrap().layer(service);
    let retry = RetryLayer::<u32, u32, CircuitBreakerError<std::io::Error>>::builder().max_attempts(3).build();
    println!("{:?}", retry.layer(service).oneshot(1).await.ok());
}
