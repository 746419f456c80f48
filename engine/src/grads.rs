//! Gradients: a table beside a [`ParamStore`], indexed by the same ids. It outlives the tapes that add to it.

use std::fmt::Debug;
use std::sync::Arc;

use crate::tape::Var;
use crate::{Error, ParamId, ParamStore, Result, Tensor};

/// Parameters that those of a network are a function of, and that are trained in their place.
pub trait Reparametrization: Debug + Send + Sync {
    /// What is trained.
    fn trained(&self) -> &ParamStore;

    /// The chain rule: gradients of what is trained that follow from the gradient of parameter `id` of the network; none
    /// where that depends on nothing that is trained. It must be linear in `gradient`.
    ///
    /// # Errors
    /// A gradient of another shape than the parameter's.
    fn chain(&self, id: ParamId, gradient: &Tensor) -> Result<Vec<(ParamId, Tensor)>>;
}

/// Gradients of a store's parameters, f32. A parameter that nothing reached has none.
#[derive(Clone, Debug)]
pub struct Grads {
    table: Vec<Option<Tensor>>,
    through: Option<Arc<dyn Reparametrization>>,
}

impl Grads {
    /// No gradient for any parameter of `store`.
    pub fn new(store: &ParamStore) -> Self {
        Grads { table: vec![None; store.len()], through: None }
    }

    /// No gradient for any parameter that a network's are a function of. Backward passes add to this table what follows
    /// from the network's gradients, each of which is let go as soon as it is known.
    pub fn through(parameters: Arc<dyn Reparametrization>) -> Self {
        Grads { through: Some(parameters.clone()), ..Grads::new(parameters.trained()) }
    }

    /// The same gradients, of parameters to update: nothing else refers to these any more.
    pub fn detached(self) -> Self {
        Grads { through: None, ..self }
    }

    /// The gradient of a parameter, if any backward pass reached it since the last [`Grads::clear`].
    pub fn get(&self, id: ParamId) -> Option<&Tensor> {
        self.table.get(id.index()).and_then(Option::as_ref)
    }

    /// All that there are, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Tensor)> {
        self.table.iter().enumerate().filter_map(|(i, g)| g.as_ref().map(|g| (ParamId::from_index(i), g)))
    }

    /// Forgets all gradients; their memory returns to the pool.
    pub fn clear(&mut self) {
        self.table.fill(None);
    }

    /// The Euclidean norm over all gradients, summed in f64 in order of id.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for (_, gradient) in self.iter() {
            sum += gradient.total(flg_kernels::reduce::Term::Square, None)? as f64;
        }
        Ok(sum.sqrt())
    }

    /// Adds all gradients of another table of the same store.
    ///
    /// # Errors
    /// A table of another store.
    pub fn add_all(&mut self, other: Grads) -> Result<()> {
        for (i, gradient) in other.table.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                self.sum(ParamId::from_index(i), gradient)?;
            }
        }
        Ok(())
    }

    /// The sum so far, for a kernel to add to; none where what is added is not what is kept.
    pub(crate) fn take(&mut self, id: ParamId) -> Option<Tensor> {
        if self.through.is_some() { None } else { self.table.get_mut(id.index())?.take() }
    }

    /// Adds a gradient of the network's parameter `id`: the first is moved in.
    ///
    /// # Errors
    /// A parameter of another store, or another shape than before.
    pub fn add(&mut self, id: ParamId, gradient: Tensor) -> Result<()> {
        match self.through.clone() {
            None => self.sum(id, gradient),
            Some(through) => {
                through.chain(id, &gradient)?.into_iter().try_for_each(|(id, gradient)| self.sum(id, gradient))
            }
        }
    }

    fn sum(&mut self, id: ParamId, gradient: Tensor) -> Result<()> {
        let got = self.table.len();
        let slot =
            self.table.get_mut(id.index()).ok_or(Error::ParamCount { op: "grads", expected: id.index() + 1, got })?;
        match slot {
            Some(sum) => sum.accumulate(1.0, &gradient),
            slot => {
                *slot = Some(gradient);
                Ok(())
            }
        }
    }
}

/// Gradients of the inputs that a context watched.
#[derive(Debug)]
pub struct InputGrads {
    pub(crate) tape: u32,
    pub(crate) table: Vec<Option<Tensor>>,
}

impl InputGrads {
    /// The gradient of a watched input, if the output depends on it.
    pub fn get(&self, input: &Var) -> Option<&Tensor> {
        let node = input.node.filter(|n| n.tape == self.tape)?;
        self.table.get(node.index as usize)?.as_ref()
    }
}
