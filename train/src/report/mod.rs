//! What a run has to show: `summary.json` for programs, `report.html` for people.
//!
//! The page is made from files alone ([`page`]), so that `flg report` can make it again at any time. It is one file
//! without references to the network: pictures are part of it.

pub mod curves;
pub mod figures;
pub mod page;
mod summary;
pub mod verdict;

pub use summary::{Figures, Losses, Row, Shown, Summary, block_calls};

/// The file of the numbers.
pub const SUMMARY: &str = "summary.json";
/// The page.
pub const PAGE: &str = "report.html";
/// The folder of the clips that the page shows, with [`SHOWN`].
pub const CLIPS: &str = "clips";
/// The list of the clips that the page shows.
pub const SHOWN: &str = "shown.json";
