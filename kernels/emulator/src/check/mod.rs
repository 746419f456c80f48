//! What is wrong although it ran.
//!
//! | file | what it says |
//! |---|---|
//! | `findings.rs` | reports, a few of each kind and line |
//! | `clock.rs` | what happened before what, by barriers, fences and flags |
//! | `race.rs` | accesses of a block with no order between |
//! | `grid.rs` | accesses of different blocks with no order between |

pub(crate) mod clock;
pub(crate) mod findings;
pub(crate) mod grid;
pub(crate) mod race;
#[cfg(test)]
mod tests;
