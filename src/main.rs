//! The command line of tidegate, and nothing else.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request's way through takes some forty pieces of memory and gives them back, several of a few kilobytes: what is made for that
/// does it in less time than glibc's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
