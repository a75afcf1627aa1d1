use recloser::{AsyncRecloser, Recloser};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let breaker = AsyncRecloser::from(Recloser::custom().error_rate(0.5).closed_len(100).build());
    let call = async { Ok::<_, std::io::Error>(2) };
    println!("{:?}", breaker.call(Box::pin(call)).await.ok());
}
