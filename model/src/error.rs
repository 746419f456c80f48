//! What this crate refuses, as data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use flg_engine::Shape;

/// Shorthand for this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A configuration, checkpoint, input or schedule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused an operation.
    #[error(transparent)]
    Engine(#[from] flg_engine::Error),
    /// A configuration is no JSON of the expected form.
    #[error("configuration: {source}")]
    ConfigSyntax {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A configuration of another network.
    #[error("configuration of a `{got}`, expected `{expected}`")]
    Class {
        /// The class that it names.
        got: String,
        /// The class that was asked for.
        expected: &'static str,
    },
    /// An entry of a configuration that cannot be.
    #[error("configuration: {key} = {value}: {reason}")]
    Config {
        /// The entry.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file without configuration and without a tensor whose shape would tell the sizes.
    #[error("the sizes of the network cannot be told: there is no {tensor}, or it has too few dimensions")]
    NoSizes {
        /// diffusers' name of the tensor.
        tensor: &'static str,
    },
    /// Tensors that are not those of the configuration.
    #[error("the tensors are not those of the configuration: {0}")]
    Parameters(Mismatch),
    /// Latents of a shape that the network does not take.
    #[error("latents {shape}: {reason}")]
    Latents {
        /// Their shape.
        shape: Shape,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An image embedding that the network does not take, or none where it needs one.
    #[error("image embedding{}: {reason}", shape.map(|shape| format!(" {shape}")).unwrap_or_default())]
    Image {
        /// Its shape.
        shape: Option<Shape>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A video of a shape that the autoencoder does not take.
    #[error("video {shape}: {reason}")]
    Video {
        /// Its shape.
        shape: Shape,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Times that do not fit the samples and their tokens.
    #[error("{got} times for {batch} samples of {tokens} tokens")]
    Times {
        /// Times given.
        got: usize,
        /// Samples.
        batch: usize,
        /// Tokens of a sample.
        tokens: usize,
    },
    /// A block that the network does not have.
    #[error("block {index} of a network with {layers} blocks (they count from 0)")]
    BlockIndex {
        /// The block.
        index: usize,
        /// Blocks there are.
        layers: usize,
    },
    /// A mask for a network of another depth.
    #[error("a mask for {got} blocks on a network with {layers}")]
    BlockMask {
        /// Blocks of the mask.
        got: usize,
        /// Blocks of the network.
        layers: usize,
    },
    /// A schedule that no sampler can run.
    #[error("schedule: {reason} ({value})")]
    Schedule {
        /// What is wrong.
        reason: &'static str,
        /// The value at fault.
        value: String,
    },
    /// A few-step schedule other than the one that a network was distilled for.
    #[error("the network was distilled for {stored}; asked for {asked}")]
    FewStep {
        /// The schedule of the checkpoint.
        stored: String,
        /// What was asked for.
        asked: String,
    },
    /// The caller stopped a sampling run.
    #[error("sampling stopped after {done} of {steps} steps")]
    Stopped {
        /// Steps done.
        done: usize,
        /// Steps that there were to do.
        steps: usize,
    },
    /// The caller stopped a text or image encoder.
    #[error("encoding stopped after {done} of {blocks} blocks")]
    EncodingStopped {
        /// Blocks done.
        done: usize,
        /// Blocks that there were to do.
        blocks: usize,
    },
    /// A tokenizer that cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] crate::umt5::tokenizer::Fault),
    /// An image whose pixels are not those of its extents, or that has none.
    #[error("an image of {width} x {height} RGB pixels with {bytes} bytes")]
    ImagePixels {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// A file that can be read, but not used.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// A conversion that cannot be.
    #[error("{}: {reason}", path.display())]
    Conversion {
        /// Where to.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A folder or file that is no checkpoint, or not all of one.
    #[error("{}: {reason}", path.display())]
    NoCheckpoint {
        /// What was looked at.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Error {
    /// This error, in this file.
    pub(crate) fn in_file(self, path: impl Into<PathBuf>) -> Self {
        Error::InFile { path: path.into(), source: Box::new(self) }
    }
}

/// How a set of tensors differs from what a configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Tensors that are not there.
    pub missing: Vec<String>,
    /// Tensors that should not be there.
    pub extra: Vec<String>,
    /// Tensors of another shape: name, expected, got.
    pub misshapen: Vec<(String, Shape, Shape)>,
    /// Shapes that the configuration asks for, by name; to be told of missing tensors.
    pub expected: BTreeMap<String, Shape>,
    /// The file of each tensor at fault, where there are several.
    pub files: BTreeMap<String, String>,
}

impl Mismatch {
    /// Between the tensors of a network and those that there are, names and shapes.
    pub(crate) fn between<'e, 'a>(
        expected: impl Iterator<Item = (&'e str, Shape)>,
        found: impl Iterator<Item = (&'a str, Shape)>,
    ) -> Self {
        let mut found: BTreeMap<&str, Shape> = found.collect();
        let mut mismatch = Mismatch::default();
        for (name, shape) in expected {
            match found.remove(name) {
                None => mismatch.missing.push(name.to_owned()),
                Some(got) if got != shape => mismatch.misshapen.push((name.to_owned(), shape, got)),
                Some(_) => {}
            }
        }
        mismatch.extra = found.into_keys().map(str::to_owned).collect();
        mismatch
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |name: &String| self.expected.get(name).map_or(String::new(), |shape| format!(" {shape}"));
        let file = |name: &String| self.files.get(name).map_or(String::new(), |file| format!(" (in {file})"));
        let mut lists = Vec::new();
        if !self.missing.is_empty() {
            let each = self.missing.iter().map(|name| format!("{name}{}", shape(name)));
            lists.push(format!("missing {}", each.collect::<Vec<_>>().join(", ")));
        }
        if !self.extra.is_empty() {
            let each = self.extra.iter().map(|name| format!("{name}{}", file(name)));
            lists.push(format!("extra {}", each.collect::<Vec<_>>().join(", ")));
        }
        if !self.misshapen.is_empty() {
            let each = self
                .misshapen
                .iter()
                .map(|(name, expected, got)| format!("{name} is {got}, expected {expected}{}", file(name)));
            lists.push(each.collect::<Vec<_>>().join(", "));
        }
        f.write_str(&lists.join("; "))
    }
}
