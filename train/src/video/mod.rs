//! Clips of pixels, and the files they are read from and written to.
//!
//! | extension | read | write |
//! |---|---|---|
//! | `gif` | yes | looping; greys exactly, up to 256 colours a frame exactly, more by a palette |
//! | `apng` | yes | looping, exact to 8 bits |
//! | `png` | one frame, or an animation | one picture with all frames side by side |
//! | `y4m` | 8-bit grey, 4:2:0, 4:2:2, 4:4:4 | grey exactly to 8 bits; RGB as 4:4:4, to one step |
//! | `npy` | `[channels, frames, height, width]` or `[frames, height, width]`: `f4`, `f8`, `u1` | the first, `f4` |
//! | `mp4` | through `ffmpeg` | H.264, with the feature `mp4` |
//! | a folder of PNG files | one frame a file | |
//! | any other | through `ffmpeg`, if it is installed | |
//!
//! Readers deliver one [`Frame`] after the other, so that a long video need not fit in memory, and treat every file as
//! hostile: sizes are checked against [`Limits`] before memory is asked for. Writers replace files atomically.

mod canvas;
mod clip;
mod error;
mod ffmpeg;
mod folder;
mod format;
mod frame;
mod gif;
mod grid;
mod limits;
#[cfg(feature = "mp4")]
mod mp4;
pub(crate) mod npy;
mod png;
mod rate;
mod read;
pub(crate) mod save;
mod y4m;
mod yuv;

pub use clip::{Clip, Geometry};
pub use error::{Cause, Error};
pub(crate) use folder::natural_key;
pub use format::{FORMATS, Format, FormatRow, write};
pub(crate) use frame::from_byte;
pub use frame::{Channels, Frame};
pub use grid::grid;
pub use limits::Limits;
pub use rate::FrameRate;
pub use read::{FrameReader, read, read_first_frame};

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod round_trip_tests;
