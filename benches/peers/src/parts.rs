//! What needs features of fusebox.

fn main() -> std::process::ExitCode {
    fusebox_peers::main()
}
