//! How a command ends: the exit code and the one line on stderr.

use std::io::ErrorKind;

use crate::{config, data, pipeline, run, video};

pub(super) const OK: u8 = 0;
/// Something that has no code of its own.
const OTHER: u8 = 1;
/// A wrong flag, key, value or name.
pub(super) const USAGE: u8 = 2;
/// A file that is missing, damaged or of the wrong kind.
const INPUT: u8 = 3;
/// The numbers of a run went wrong.
const NUMERICAL: u8 = 4;
/// The system refused to read or write.
const SYSTEM: u8 = 5;
/// Stopped by Ctrl-C, with a checkpoint.
const INTERRUPTED: u8 = 130;

/// What `flg --help` says of it.
pub(super) const HELP: &str = "Exit codes: 0 done, 2 usage, 3 bad input file, 4 numerical stop (the last good checkpoint \
is kept), 5 I/O or disk, 130 interrupted (a checkpoint is saved).";

/// A wrong request that no library knows of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An input file that a command cannot use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Arithmetic that left the numbers.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Numerical(pub String);

/// A run that Ctrl-C stopped.
#[derive(Debug, thiserror::Error)]
#[error("interrupted after step {step}; go on with `--resume latest`")]
pub struct Interrupted {
    /// Steps done.
    pub step: u64,
}

/// The whole chain of causes in one line, without repeating those that name their own cause.
pub fn message(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

/// The code of the outermost cause that has one.
pub fn code(error: &anyhow::Error) -> u8 {
    // A full disk is a full disk, whatever was being written.
    if error.chain().filter_map(io_kind).any(|kind| kind == ErrorKind::StorageFull) {
        return SYSTEM;
    }
    error.chain().find_map(code_of).unwrap_or(OTHER)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<Usage>() {
        return Some(USAGE);
    }
    if cause.is::<BadInput>() {
        return Some(INPUT);
    }
    if cause.is::<Numerical>() {
        return Some(NUMERICAL);
    }
    if cause.is::<Interrupted>() {
        return Some(INTERRUPTED);
    }
    if let Some(error) = cause.downcast_ref::<crate::Error>() {
        return match error {
            crate::Error::Config(error) => Some(of_config(error)),
            crate::Error::Data(error) => Some(of_data(error)),
            crate::Error::Video(error) => Some(of_video(error)),
            crate::Error::Run(error) => Some(of_run(error)),
            crate::Error::Eval(_) => Some(INPUT),
            crate::Error::Model(error) => Some(of_model(error)),
            crate::Error::Engine(error) => Some(of_engine(error)),
            crate::Error::Pipeline(error) => Some(of_pipeline(error)),
            crate::Error::Drawing { .. } => None,
        };
    }
    let config = cause.downcast_ref().map(of_config);
    let data = || cause.downcast_ref().map(of_data);
    let video = || cause.downcast_ref().map(of_video);
    let run = || cause.downcast_ref().map(of_run);
    let pipeline = || cause.downcast_ref().map(of_pipeline);
    let model = || cause.downcast_ref().map(of_model);
    let engine = || cause.downcast_ref().map(of_engine);
    let io = || cause.downcast_ref::<std::io::Error>().map(|_| SYSTEM);
    config.or_else(data).or_else(video).or_else(run).or_else(pipeline).or_else(model).or_else(engine).or_else(io)
}

fn of_config(error: &config::Error) -> u8 {
    match error {
        config::Error::Read { .. } => INPUT,
        _ => USAGE,
    }
}

fn of_data(error: &data::Error) -> u8 {
    match error {
        data::Error::Video(error) => of_video(error),
        data::Error::UnknownWorld { .. } | data::Error::UnknownWord { .. } | data::Error::TooManyWords { .. } => USAGE,
        data::Error::TargetExists { .. } => USAGE,
        _ => INPUT,
    }
}

fn of_video(error: &video::Error) -> u8 {
    match error {
        video::Error::Write { .. } => SYSTEM,
        video::Error::Read { .. } => INPUT,
        _ => USAGE,
    }
}

fn of_run(error: &run::Error) -> u8 {
    match error {
        run::Error::Occupied { .. } | run::Error::Locked { .. } | run::Error::OtherStage { .. } => USAGE,
        run::Error::Io { .. } => SYSTEM,
        error if error.is_numerical() => NUMERICAL,
        run::Error::NoLoss { .. } => OTHER,
        _ => INPUT,
    }
}

fn of_pipeline(error: &pipeline::Error) -> u8 {
    match error {
        pipeline::Error::Interrupted { .. } => INTERRUPTED,
        pipeline::Error::Part { .. } | pipeline::Error::Apart { .. } => INPUT,
        _ => USAGE,
    }
}

fn of_model(error: &flg_model::Error) -> u8 {
    match error {
        flg_model::Error::Engine(error) => of_engine(error),
        flg_model::Error::Schedule { .. } | flg_model::Error::FewStep { .. } => USAGE,
        flg_model::Error::Conversion { .. } => USAGE,
        flg_model::Error::BlockIndex { .. } | flg_model::Error::BlockMask { .. } => USAGE,
        flg_model::Error::Stopped { .. } | flg_model::Error::EncodingStopped { .. } => INTERRUPTED,
        flg_model::Error::InFile { .. } => INPUT,
        _ => INPUT,
    }
}

fn of_engine(error: &flg_engine::Error) -> u8 {
    match error {
        flg_engine::Error::File(flg_engine::FileError::Io { action, cause, .. }) => match *action {
            "open" | "read" | "list" => of_io(cause.kind()),
            _ => SYSTEM,
        },
        _ => INPUT,
    }
}

/// A file that is not there is a bad request; a disk that fails is not.
fn of_io(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory => INPUT,
        _ => SYSTEM,
    }
}

fn io_kind(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return Some(error.kind());
    }
    let engine = match cause.downcast_ref::<crate::Error>() {
        Some(crate::Error::Engine(error)) => Some(error),
        Some(crate::Error::Model(flg_model::Error::Engine(error))) => Some(error),
        _ => cause.downcast_ref::<flg_engine::Error>(),
    };
    match engine {
        Some(flg_engine::Error::File(flg_engine::FileError::Io { cause, .. })) => Some(cause.kind()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_decide_the_code() {
        let io = |kind| std::io::Error::from(kind);
        let file = |action, kind| {
            let error = flg_engine::FileError::Io { action, path: PathBuf::from("x"), cause: io(kind) };
            crate::Error::Engine(error.into())
        };
        let nan = run::Error::NotFinite { step: 3, name: "loss", value: f64::NAN };
        for (error, expected) in [
            (anyhow::Error::from(Usage("no".to_owned())), USAGE),
            (file("open", ErrorKind::NotFound).into(), INPUT),
            (file("write", ErrorKind::PermissionDenied).into(), SYSTEM),
            (file("open", ErrorKind::StorageFull).into(), SYSTEM),
            (crate::Error::Run(nan).into(), NUMERICAL),
            (Interrupted { step: 3 }.into(), INTERRUPTED),
            (anyhow::anyhow!("what"), OTHER),
        ] {
            assert_eq!(code(&error), expected, "{error}");
            assert_eq!(code(&Err::<(), _>(error).context("outer").unwrap_err()), expected);
        }
    }

    #[test]
    fn a_message_is_one_line_and_says_nothing_twice() {
        let error = anyhow::anyhow!("disk\n  full").context("cannot write x: disk full").context("saving");
        assert_eq!(message(&error), "saving: cannot write x: disk full");
    }
}
