//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    flg_train::cli::main(std::env::args_os())
}
