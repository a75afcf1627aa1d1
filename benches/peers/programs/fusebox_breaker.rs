use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
use tower::{Layer, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = tower::service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
    let service = CircuitBreakerLayer::new(CircuitBreakerConfig::new("api")).layer(service);
    println!("{:?}", service.oneshot(1).await.ok());
}
