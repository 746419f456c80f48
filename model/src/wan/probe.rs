//! Looking at activations as they pass.

use std::fmt::Arguments;

use flg_engine::{Tensor, Var};

/// Is shown an activation and the name of the module that it comes from.
pub type See<'s> = dyn FnMut(&str, &Tensor) + 's;

/// Sees activations by diffusers' module names; formats no name where nobody looks.
pub(super) struct Probe<'p> {
    see: Option<&'p mut See<'p>>,
}

impl<'p> Probe<'p> {
    /// Looks at nothing.
    pub(super) fn none() -> Self {
        Probe { see: None }
    }

    pub(super) fn new(see: &'p mut See<'p>) -> Self {
        Probe { see: Some(see) }
    }

    pub(super) fn looks(&self) -> bool {
        self.see.is_some()
    }

    pub(super) fn see(&mut self, name: Arguments<'_>, x: &Var) {
        if let Some(see) = &mut self.see {
            see(&name.to_string(), x.value());
        }
    }
}
