//! What an evaluation refuses, as data.

/// A measurement that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No evaluation network comes with the program for a world.
    #[error(
        "no evaluation network is bundled for world `{world}`: train one with `flg eval --train-network FILE` and give \
         it with `--network FILE`"
    )]
    NoNetwork {
        /// The world.
        world: String,
    },
    /// A file that holds another network than the world's.
    #[error("not the evaluation network of world `{world}`: {reason}")]
    OtherNetwork {
        /// The world.
        world: String,
        /// What differs.
        reason: String,
    },
    /// A world whose held-out part does not give enough clips of a caption.
    #[error("world `{world}`: {wanted} held-out clips were not found in {drawn} draws")]
    TooFewClips {
        /// The world.
        world: String,
        /// Clips needed.
        wanted: usize,
        /// Clips looked at.
        drawn: u64,
    },
}
