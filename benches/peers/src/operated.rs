//! What calls cost where an operator looks on.

fn main() -> std::process::ExitCode {
    fusebox_peers::main()
}
