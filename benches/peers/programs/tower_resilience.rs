use tower::{Layer, ServiceExt};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = tower::service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
    let service = CircuitBreakerLayer::builder().build().unwrap().layer(service);
    println!("{:?}", service.oneshot(1).await.ok());
}
