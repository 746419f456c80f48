//! What the backward pass keeps of a value: the value itself, a rounded copy, or how to make it again.
//!
//! Results of cheap operations (norms, rotations, activations, residual sums) are made again from what is kept anyway,
//! by the same kernel and so with the same bits. It is done once, when the first operation on the way back asks, and
//! the result lives until the last one that kept it has run.
//!
//! A context may ask for what is left to be kept in bf16 ([`SavedAs`]). Only results of recorded operations are: weights
//! and inputs are there anyway, and statistics (log-sum-exp, means, reciprocal deviations) are few and matter most. All
//! operations that keep a value share its one rounded copy, and each widens it for itself while it runs.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::tape::Var;
use crate::{DType, Result, Tensor};

/// What the backward pass keeps activations as. The forward pass computes the same bits with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SavedAs {
    /// As they were computed.
    #[default]
    Computed,
    /// Rounded once to bf16: half of f32's memory. Gradients are those at the rounded values.
    Bf16,
}

impl SavedAs {
    /// How a result `value` is to be kept, where that is not as it is.
    pub(crate) fn instead(self, value: &Tensor) -> Option<Again> {
        let rounds = self == SavedAs::Bf16 && value.dtype() == DType::F32;
        rounds.then(|| Again(Way::Rounded(value.clone(), Arc::default())))
    }

    /// What to keep of a value that no variable holds.
    pub(crate) fn keep(self, value: Tensor) -> Kept {
        self.instead(&value).map_or(Kept::Value(value), Again::keep)
    }
}

/// What stands for a value that is not kept: how to make it again, or where its rounded copy is.
#[derive(Clone)]
pub struct Again(Way);

#[derive(Clone)]
enum Way {
    Made(Arc<Recipe>),
    /// The value, and its copy as soon as somebody keeps that.
    Rounded(Tensor, Arc<OnceLock<Tensor>>),
}

struct Recipe {
    make: Box<dyn Fn() -> Result<Tensor> + Send + Sync>,
    made: OnceLock<Tensor>,
}

impl Recipe {
    fn get(&self) -> Result<Tensor> {
        if let Some(value) = self.made.get() {
            return Ok(value.clone());
        }
        let value = (self.make)()?;
        Ok(self.made.get_or_init(|| value).clone())
    }
}

impl Again {
    /// A value that `make` makes, with the same bits each time. What `make` owns is kept.
    pub fn new(make: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Again(Way::Made(Arc::new(Recipe { make: Box::new(make), made: OnceLock::new() })))
    }

    fn keep(self) -> Kept {
        match self.0 {
            Way::Made(_) => Kept::Again(self),
            Way::Rounded(value, copy) => match copy.get().cloned().map_or_else(|| value.cast(DType::Bf16), Ok) {
                Ok(low) => Kept::Rounded(copy.get_or_init(|| low).clone()),
                // The value is as good as its copy where a device fails to make one.
                Err(_) => Kept::Value(value),
            },
        }
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, there) = match &self.0 {
            Way::Made(recipe) => ("made", recipe.made.get().is_some()),
            Way::Rounded(_, copy) => ("rounded", copy.get().is_some()),
        };
        f.debug_struct("Again").field(way, &there).finish_non_exhaustive()
    }
}

/// A value that the backward pass asks for.
#[derive(Clone, Debug)]
pub enum Kept {
    /// It is kept.
    Value(Tensor),
    /// Its copy in bf16 is kept.
    Rounded(Tensor),
    /// It is made again.
    Again(Again),
}

impl Kept {
    /// What to keep of `x`.
    pub fn of(x: &Var) -> Self {
        x.again.clone().map_or_else(|| Kept::Value(x.value.clone()), Again::keep)
    }

    /// The value; of a rounded copy, in f32.
    ///
    /// # Errors
    /// None of the caller's making; a device may fail.
    pub fn get(&self) -> Result<Tensor> {
        match self {
            Kept::Value(value) => Ok(value.clone()),
            Kept::Rounded(low) => low.cast(DType::F32),
            Kept::Again(Again(Way::Made(recipe))) => recipe.get(),
            Kept::Again(Again(Way::Rounded(value, _))) => Ok(value.clone()),
        }
    }

    /// Keeps what stands for the value instead of the value, where something does.
    pub fn forget(&mut self, again: Option<Again>) {
        if let Some(again) = again {
            *self = again.keep();
        }
    }

    /// What stands for the value where it is kept here as a rounded copy, for others to share that.
    pub(crate) fn shared(&self) -> Option<Again> {
        match self {
            Kept::Rounded(low) => Some(Again(Way::Rounded(low.clone(), Arc::new(low.clone().into())))),
            Kept::Value(_) | Kept::Again(_) => None,
        }
    }

    /// Bytes kept alive.
    pub fn bytes(&self) -> usize {
        match self {
            Kept::Value(value) | Kept::Rounded(value) => value.bytes(),
            Kept::Again(_) => 0,
        }
    }
}
