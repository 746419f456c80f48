//! What this crate refuses, as data.

/// Shorthand for this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can stop a stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Tensors, kernels or their files.
    #[error(transparent)]
    Engine(#[from] flg_engine::Error),
    /// A network, a schedule or a checkpoint.
    #[error(transparent)]
    Model(#[from] flg_model::Error),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// A data set or a caption.
    #[error(transparent)]
    Data(#[from] crate::data::Error),
    /// A clip.
    #[error(transparent)]
    Video(#[from] crate::video::Error),
    /// The run folder, or the run itself.
    #[error(transparent)]
    Run(#[from] crate::run::Error),
    /// An evaluation.
    #[error(transparent)]
    Eval(#[from] crate::eval::Error),
    /// A published checkpoint that is asked for a video.
    #[error(transparent)]
    Pipeline(#[from] crate::pipeline::Error),
    /// A picture or a page.
    #[error("cannot draw the report: {cause}")]
    Drawing {
        /// What the drawing library says.
        cause: String,
    },
}
