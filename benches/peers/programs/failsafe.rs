use failsafe::Config;
use failsafe::futures::CircuitBreaker;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let breaker = Config::new().build();
    let call = async { Ok::<_, std::io::Error>(2) };
    println!("{:?}", breaker.call(Box::pin(call)).await.ok());
}
