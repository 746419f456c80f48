//! The command line: one file a subcommand, each of which parses, builds, calls and reports.
//!
//! A new subcommand is a file with `Args` and `run`, and one row in `commands!`.

mod audit;
mod bench;
pub mod config_args;
mod convert;
mod data;
mod demo;
mod distill;
mod eval;
pub mod exit;
mod form;
mod forward;
mod init;
pub mod input;
mod inspect;
pub mod progress;
mod prune;
mod report;
mod rest;
mod sample;
pub mod session;
pub mod stage;
mod train;
pub mod trained;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::session::{Session, SessionArgs};

/// A big video diffusion transformer in, a small and fast one out: audit, prune, distill.
#[derive(Debug, Parser)]
#[command(name = "flg", version, propagate_version = true, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    command: Command,
}

/// Declares the subcommands: variant, module, and what `flg --help` says of it.
macro_rules! commands {
    ($($(#[doc = $about:literal])+ $variant:ident => $module:ident,)+) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[doc = $about])+ $variant(Box<$module::Args>),)+
        }

        impl Command {
            fn run(self, session: &Session) -> anyhow::Result<()> {
                match self {
                    $(Command::$variant(args) => $module::run(*args, session),)+
                }
            }
        }
    };
}

commands! {
    /// Show the built-in worlds, preview one, or import clips of your own
    Data => data,
    /// Train a teacher by flow matching
    Train => train,
    /// Stage I: measure what each block is worth
    Audit => audit,
    /// Stage II: train a network to do without some of its blocks
    Prune => prune,
    /// Stage III: train the pruned network to sample in few steps
    Distill => distill,
    /// Make clips from captions
    Sample => sample,
    /// Measure checkpoints and samplers in one table, on the same captions and noise
    Eval => eval,
    /// Say what a checkpoint, a run or a safetensors file holds, from headers alone
    Inspect => inspect,
    /// Rewrite a checkpoint in another layout or type: diffusers, the authors' names, ComfyUI
    Convert => convert,
    /// Make a checkpoint of a published architecture with random weights
    Init => init,
    /// Run one denoiser call on given tensors
    Forward => forward,
    /// Run the whole pipeline and make a page of it: audit, prune, distill, evaluate
    Demo => demo,
    /// Make the page of a demo or of a run again
    Report => report,
    /// Time whole steps, or kernels one by one, as other implementations are timed
    Bench => bench,
}

/// Runs the command line and says how it went: a line on stderr and an exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Where even the message cannot be written, the code still says it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let outcome = Session::start(cli.session).and_then(|session| cli.command.run(&session));
    match outcome {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("error: {}", exit::message(&error));
            ExitCode::from(exit::code(&error))
        }
    }
}
