//! Ctrl-C as a question that the trainer asks between steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that one side raises and the other reads. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
}

/// Which request to stop this was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first: save, then stop.
    First,
    /// Another one: stop now.
    Again,
}

impl Interrupt {
    /// Not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop after its current step.
    pub fn raise(&self) -> Request {
        if self.raised.swap(true, Ordering::SeqCst) { Request::Again } else { Request::First }
    }

    /// Whether the run was asked to stop.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}
