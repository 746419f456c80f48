//! What encoded data sets refuse, as data.

use flg_engine::Shape;

use super::{MAX_CLIPS, MAX_ELEMENTS, MAX_TEXT};

/// Why an encoded data set cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodedCause {
    /// Written by another version of this program.
    #[error("it has version {got}, this program reads version {expected}")]
    Version {
        /// What is read.
        expected: u32,
        /// What the file says.
        got: u32,
    },
    /// Encoding has begun and not ended.
    #[error("encoding has not been finished: run it again, it goes on where it stopped")]
    Unfinished,
    /// Encoding has ended.
    #[error("the set is finished: encode into another folder, or remove this one first")]
    Finished,
    /// A folder that an encoder began with other settings.
    #[error("it was begun with other settings: encode into another folder, or remove this one first")]
    OtherForm,
    /// An entry that no set can have.
    #[error("{key} = {got}: {allowed}")]
    Entry {
        /// The entry.
        key: &'static str,
        /// Its value.
        got: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A tensor larger than what is loaded.
    #[error("{key} has more than {MAX_ELEMENTS} elements")]
    TooLarge {
        /// The entry.
        key: &'static str,
    },
    /// More clips than are listed.
    #[error("more than {MAX_CLIPS} clips")]
    TooMany,
    /// A caption or a name that is too long.
    #[error("a text of {len} bytes; at most {MAX_TEXT} are allowed")]
    LongText {
        /// Its length.
        len: usize,
    },
    /// A listed file of another size.
    #[error("{got} bytes, the manifest says {expected}: it was changed or cut short")]
    Size {
        /// What the manifest says.
        expected: u64,
        /// What is there.
        got: u64,
    },
    /// A listed file of other contents.
    #[error("its SHA-256 is not the one in the manifest: it was changed or damaged")]
    Digest,
    /// A file outside of the set.
    #[error("entry `{file}` is not a file of this set")]
    Outside {
        /// What the manifest says.
        file: String,
    },
    /// A clip whose caption is not listed.
    #[error("clip `{clip}` has caption {caption}, there are {captions}")]
    Caption {
        /// The clip.
        clip: String,
        /// Its caption's number.
        caption: usize,
        /// Captions.
        captions: usize,
    },
    /// Two entries of one name.
    #[error("`{name}` is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A tensor that should be there.
    #[error("there is no tensor `{name}`")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A tensor that should not be there.
    #[error("tensor `{name}` is none of this set's")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("`{name}` is {got}, expected {expected}")]
    Shape {
        /// Its name.
        name: &'static str,
        /// What the set's clips have.
        expected: Shape,
        /// What it has.
        got: Shape,
    },
    /// A value that is not a number.
    #[error("`{name}` has values that are not finite")]
    NotFinite {
        /// The tensor.
        name: &'static str,
    },
    /// A text beside the tensors is missing or cannot be.
    #[error("its `{key}` is missing or wrong")]
    Metadata {
        /// Which one.
        key: &'static str,
    },
    /// A caption without an embedding.
    #[error("caption `{caption}` has no embedding yet")]
    NoText {
        /// The caption; empty for the null caption.
        caption: String,
    },
    /// The system, or a file of another form.
    #[error(transparent)]
    Engine(#[from] flg_engine::Error),
}

/// How a network and an encoded data set do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Text embeddings of another width.
    #[error("the network reads text {network} wide, the set's is {set} wide: another text encoder made it")]
    TextWidth {
        /// `text_dim`
        network: usize,
        /// The set's.
        set: usize,
    },
    /// Other channels of velocity than of latents.
    #[error("the network makes latents of {network} channels, the set's have {set}: another VAE made it")]
    OutChannels {
        /// `out_channels`
        network: usize,
        /// The set's.
        set: usize,
    },
    /// Other channels beside the latents.
    #[error(
        "the network takes {network} channels beside the latents (mask and given frames), the set's clips have {set}: \
         {}", if *set == 0 { "encode it for image to video" } else { "encode it for this network" }
    )]
    Channels {
        /// `in_channels - out_channels`
        network: usize,
        /// The set's.
        set: usize,
    },
    /// No image embeddings for a network that attends to them.
    #[error("the network attends to an image embedding, and the set has none: encode it for image to video")]
    NoImage,
    /// Image embeddings of another width.
    #[error("the network takes image embeddings {network} wide, the set's are {set} wide")]
    ImageWidth {
        /// `image_dim`
        network: usize,
        /// The set's.
        set: usize,
    },
    /// Image embeddings of other rows than the network has positions for.
    #[error("the network has positions for {network} rows of image embeddings, the set's clips have {set}")]
    ImageRows {
        /// `pos_embed_seq_len`
        network: usize,
        /// The set's.
        set: usize,
    },
    /// Latents that the patches do not divide, or too many of them.
    #[error("{reason}")]
    Grid {
        /// What the network says.
        reason: String,
    },
}
