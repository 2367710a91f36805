//! The command `incubate`.

use std::process::ExitCode;

/// Keeps the large blocks that every training step asks for again.
#[global_allocator]
static ALLOCATOR: incubate::allocator::LargeBlocks = incubate::allocator::LargeBlocks::new();

fn main() -> ExitCode {
    incubate::cli::main()
}
