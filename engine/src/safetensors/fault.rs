//! The rules that a safetensors file can break, as data.

use super::{MAX_HEADER, MAX_NAME, MAX_TENSORS, StoredType};
use crate::Shape;
use crate::files::error::brief;

/// What is wrong with a safetensors file or with a request to it. Positions and sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends before what it announces.
    #[error("truncated: {needed} bytes are announced, the file has {got}")]
    Truncated {
        /// Size that it must have.
        needed: u64,
        /// Size that it has.
        got: u64,
    },
    /// The file goes on after its last tensor.
    #[error("{got} bytes, but the last tensor ends at {expected}")]
    TrailingBytes {
        /// Size that it must have.
        expected: u64,
        /// Size that it has.
        got: u64,
    },
    /// A header beyond [`MAX_HEADER`].
    #[error("a header of {len} bytes; at most {MAX_HEADER} are allowed")]
    HeaderTooLarge {
        /// Announced length.
        len: u64,
    },
    /// A header after which elements would not be aligned.
    #[error("a header of {len} bytes: not a multiple of eight, so the elements are not aligned")]
    HeaderUnaligned {
        /// Its length.
        len: u64,
    },
    /// A header that is not a JSON object from its first byte on, or has members that it may not have.
    #[error("bad header: {}", brief(&.0.to_string()))]
    Json(serde_json::Error),
    /// A header that starts with something other than an object.
    #[error("bad header: it does not start with an opening brace")]
    HeaderStart,
    /// More tensors than [`MAX_TENSORS`].
    #[error("{got} tensors; at most {MAX_TENSORS} are allowed")]
    TooManyTensors {
        /// How many there are.
        got: usize,
    },
    /// Two entries of one name.
    #[error("\"{}\" is there twice", brief(name))]
    Duplicate {
        /// The tensor's name, the metadata's key, or `__metadata__`.
        name: String,
    },
    /// A tensor's name that is empty, too long, or has other characters than letters, digits and `._-/:`.
    #[error("\"{}\" is no name for a tensor: 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - : and / between parts", brief(name))]
    Name {
        /// The name.
        name: String,
    },
    /// An element type that is not supported.
    #[error("tensor \"{name}\": element type \"{}\" is not supported (F32, F16, BF16, I32, I64 are)", brief(dtype))]
    ElementType {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// More dimensions than a [`Shape`] has.
    #[error("tensor \"{name}\": {rank} dimensions; at most {} are supported", Shape::MAX_RANK)]
    Rank {
        /// The tensor.
        name: String,
        /// Its dimensions.
        rank: usize,
    },
    /// A shape whose size no computer can hold.
    #[error("tensor \"{name}\": its shape overflows")]
    Overflow {
        /// The tensor.
        name: String,
    },
    /// A range that is not as long as the shape needs (or ends before it starts).
    #[error("tensor \"{name}\": bytes {begin}..{end}, but {dtype} elements of shape {shape} take {expected}")]
    Length {
        /// The tensor.
        name: String,
        /// First byte.
        begin: u64,
        /// One past the last.
        end: u64,
        /// Its element type.
        dtype: StoredType,
        /// Its shape.
        shape: Shape,
        /// The length that shape and type need.
        expected: u64,
    },
    /// A tensor that does not start where the one before it ends.
    #[error("tensor \"{name}\" starts at byte {begin}, the one before it ends at {expected}: a hole or an overlap")]
    Position {
        /// The tensor.
        name: String,
        /// Where it starts.
        begin: u64,
        /// Where it must start.
        expected: u64,
    },
    /// A tensor that starts at no multiple of its element's size.
    #[error("tensor \"{name}\" starts at byte {begin}, where {dtype} elements are not aligned")]
    Unaligned {
        /// The tensor.
        name: String,
        /// Where it starts.
        begin: u64,
        /// Its element type.
        dtype: StoredType,
    },
    /// A tensor that the file does not have.
    #[error("no tensor is named \"{}\"", brief(name))]
    UnknownTensor {
        /// The name asked for.
        name: String,
    },
    /// Integers where numbers with a fraction are asked for.
    #[error("tensor \"{name}\" holds {dtype}, not floating-point numbers")]
    NotFloat {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: StoredType,
    },
    /// A 64-bit integer that 32 bits cannot hold.
    #[error("tensor \"{name}\": {value} does not fit 32 bits")]
    IntegerRange {
        /// The tensor.
        name: String,
        /// The integer.
        value: i64,
    },
    /// A weight that is no number.
    #[error("tensor \"{name}\": element {index} is {value}, and a network of such weights gives nothing else")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The first such element, counted row by row.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// A finite number that rounding would make infinite.
    #[error("tensor \"{name}\": {value} is too large for {dtype}")]
    TooLarge {
        /// The tensor.
        name: String,
        /// The number.
        value: f32,
        /// The narrower type.
        dtype: StoredType,
    },
    /// More or fewer elements than a file that is being written has announced.
    #[error("tensor \"{name}\": {got} elements were given, {expected} are announced")]
    Elements {
        /// The tensor.
        name: String,
        /// Elements of its shape.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// An index entry whose file is not a bare file name.
    #[error("shard \"{}\" is not a bare *.safetensors file name", brief(shard))]
    ShardName {
        /// What the index says.
        shard: String,
    },
    /// A tensor that is not in the file where the index says it is.
    #[error("the index puts tensor \"{}\" into {shard}, which does not have it", brief(name))]
    NotInShard {
        /// The tensor.
        name: String,
        /// The file.
        shard: String,
    },
    /// A tensor that a shard has and the index does not put there.
    #[error("{shard} has tensor \"{name}\", which the index does not put there")]
    NotInIndex {
        /// The tensor.
        name: String,
        /// The file.
        shard: String,
    },
}
