//! Where clips and captions come from.
//!
//! A [`World`] is a data set that can be asked for any sample at any time: the same [`SampleKey`] gives the same clip
//! on every machine, so a run is resumed by remembering one number, and no loader state has to be saved. Two worlds are
//! built in ([`Digits`], [`Counter`]), their handwriting embedded in the binary; any folder of captioned clips becomes
//! a third kind ([`import()`], [`Imported`]). Networks that work on the latents of a video autoencoder are given those,
//! computed once ([`encoded`]).

mod card;
mod dataset;
mod draw;
pub mod encoded;
mod error;
mod handwriting;
mod import;
mod moments;
mod source;
mod text;
mod world;

pub use crate::video::{Clip, Geometry};
pub use card::{CARD, Card, Conditions};
pub use dataset::DatasetCause;
pub use draw::{Draws, SampleKey};
pub use encoded::{Encoded, EncodedCard};
pub use error::Error;
pub use handwriting::{GLYPH_SIDE, Glyph, HELD_OUT_GLYPHS, TRAINING_GLYPHS, glyphs};
pub use import::{
    ImportReport, ImportRequest, ImportedFile, SkipReason, SkippedFile, Source, Timing, clips_of, fit, import, sources,
};
pub use moments::Moments;
pub use source::{CardRef, DataCard, DataSet};
pub use text::{Embedding, NULL_WORD, TextEncoder, TextShape};
pub use world::{Caption, Counter, Digits, Imported, LabelKind, PRESETS, Preset, Sample, Split, World, open, preset};
