use tower::ServiceExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = tower::service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
    println!("{:?}", service.oneshot(1).await.ok());
}
