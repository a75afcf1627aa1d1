//! The comparison, with fusebox as a plain user has it.

fn main() -> std::process::ExitCode {
    fusebox_peers::main()
}
