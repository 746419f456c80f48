//! What the backward pass keeps of a value: the value itself, or how to make it again.
//!
//! Results of cheap operations (norms, rotations, activations, residual sums) are made again from what is kept anyway,
//! by the same kernel and so with the same bits. It is done once, when the first operation on the way back asks, and
//! the result lives until the last one that kept it has run.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::tape::Var;
use crate::{Result, Tensor};

/// How to make a value again.
#[derive(Clone)]
pub struct Again(Arc<Recipe>);

struct Recipe {
    make: Box<dyn Fn() -> Result<Tensor> + Send + Sync>,
    made: OnceLock<Tensor>,
}

impl Again {
    /// A value that `make` makes, with the same bits each time. What `make` owns is kept.
    pub fn new(make: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Again(Arc::new(Recipe { make: Box::new(make), made: OnceLock::new() }))
    }

    fn get(&self) -> Result<Tensor> {
        let Recipe { make, made } = &*self.0;
        if let Some(value) = made.get() {
            return Ok(value.clone());
        }
        let value = make()?;
        Ok(made.get_or_init(|| value).clone())
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("made", &self.0.made.get().is_some()).finish_non_exhaustive()
    }
}

/// A value that the backward pass asks for.
#[derive(Clone, Debug)]
pub enum Kept {
    /// It is kept.
    Value(Tensor),
    /// It is made again.
    Again(Again),
}

impl Kept {
    /// What to keep of `x`.
    pub fn of(x: &Var) -> Self {
        x.again.clone().map_or_else(|| Kept::Value(x.value.clone()), Kept::Again)
    }

    /// The value.
    ///
    /// # Errors
    /// None of the caller's making; a device may fail.
    pub fn get(&self) -> Result<Tensor> {
        match self {
            Kept::Value(value) => Ok(value.clone()),
            Kept::Again(again) => again.get(),
        }
    }

    /// Keeps how to make the value instead of the value, where there is a way.
    pub fn forget(&mut self, again: Option<Again>) {
        if let Some(again) = again {
            *self = Kept::Again(again);
        }
    }

    /// Bytes kept alive.
    pub fn bytes(&self) -> usize {
        match self {
            Kept::Value(value) => value.bytes(),
            Kept::Again(_) => 0,
        }
    }
}
