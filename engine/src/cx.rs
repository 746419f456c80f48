//! The context of one forward pass: whose weights, recorded or not, in which precision.

use std::rc::Rc;

use crate::grads::{Grads, InputGrads};
use crate::kept::{Again, Kept, SavedAs};
use crate::op::Op;
use crate::tape::{Applied, Node, NodeId, Tape, Var};
use crate::{DType, Device, Error, ParamId, ParamStore, Result, Tensor};

/// What activations are stored in. Statistics, losses and gradients are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything f32.
    #[default]
    F32,
    /// Activations and the weights' mixed-precision copies in bf16, accumulation in f32.
    Bf16,
}

impl Precision {
    /// The element type of activations.
    pub fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }
}

/// One forward pass. While a `Cx` lives its weights are borrowed, so updating them under a graph does not compile.
pub struct Cx<'w> {
    pub(crate) weights: &'w ParamStore,
    pub(crate) tape: Option<Rc<Tape<'w>>>,
    pub(crate) trainable: bool,
    pub(crate) precision: Precision,
    pub(crate) saved_as: SavedAs,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("recorded", &self.tape.is_some())
            .field("trainable", &self.trainable)
            .field("precision", &self.precision)
            .field("saved_as", &self.saved_as)
            .finish_non_exhaustive()
    }
}

impl<'w> Cx<'w> {
    /// Records nothing.
    pub fn inference(weights: &'w ParamStore) -> Self {
        Cx { weights, tape: None, trainable: false, precision: Precision::F32, saved_as: SavedAs::Computed }
    }

    /// Records everything that depends on a parameter or a watched input.
    pub fn training(weights: &'w ParamStore) -> Self {
        Cx { tape: Some(Rc::new(Tape::new(weights.device()))), trainable: true, ..Cx::inference(weights) }
    }

    /// The same tape with another network's weights, frozen: gradients flow through that network, not into it.
    pub fn through(&self, weights: &'w ParamStore) -> Self {
        Cx { weights, tape: self.tape.clone(), trainable: false, ..*self }
    }

    /// The same context in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Cx { precision, ..self }
    }

    /// The same context with another choice of what is kept for the backward pass.
    pub fn with_saved(self, saved_as: SavedAs) -> Self {
        Cx { saved_as, ..self }
    }

    /// What an operation on `inputs` keeps activations as: nothing but what they are where it is not recorded.
    pub(crate) fn saves<const N: usize>(&self, inputs: [&Var; N]) -> SavedAs {
        let recorded = inputs.iter().any(|input| input.node.is_some());
        if recorded { self.saved_as } else { SavedAs::Computed }
    }

    /// Whether anything that depends on a parameter or a watched input is recorded.
    pub fn records(&self) -> bool {
        self.tape.is_some()
    }

    /// What activations are stored in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whose weights.
    pub fn weights(&self) -> &'w ParamStore {
        self.weights
    }

    /// Where the pass runs.
    pub fn device(&self) -> &'w Device {
        self.weights.device()
    }

    /// A value from outside.
    pub fn input(&self, value: Tensor) -> Var {
        Var::unrecorded(value)
    }

    /// A value from outside whose gradient [`Cx::vjp`] returns.
    pub fn watched_input(&self, value: Tensor) -> Var {
        let node = self.tape.as_ref().map(|tape| tape.push(Node::Input));
        Var { node, ..Var::unrecorded(value) }
    }

    /// A parameter of this context's weights, in this context's precision.
    pub fn param(&self, id: ParamId) -> Var {
        let node = self.tape.as_ref().filter(|_| self.trainable).map(|tape| tape.push(Node::Leaf(id)));
        let value = match self.precision {
            Precision::F32 => self.weights.get(id),
            Precision::Bf16 => self.weights.low_precision(id),
        };
        let panels = self.weights.panels(id).filter(|_| node.is_none() && self.precision == Precision::F32);
        Var { node, panels: panels.cloned(), ..Var::unrecorded(value.clone()) }
    }

    /// Runs an operation; records it where an input is recorded.
    ///
    /// # Errors
    /// What the operation refuses, and [`Error::ForeignVar`] for a variable of another context.
    pub fn apply<O: Op<N> + 'w, const N: usize>(&self, op: O, inputs: [&Var; N]) -> Result<Var>
    where
        O::Saved: 'w,
    {
        self.apply_with(op, inputs, |_| None)
    }

    /// [`Cx::apply`] for an operation that is cheaper to run again than its result is to keep: where a later operation
    /// would keep the result for its backward pass, it keeps the inputs.
    ///
    /// # Errors
    /// As [`Cx::apply`].
    pub fn apply_again<O: Op<N> + Clone + Send + Sync + 'static, const N: usize>(
        &self,
        op: O,
        inputs: [&Var; N],
    ) -> Result<Var> {
        let (copy, kept) = (op.clone(), inputs.map(Kept::of));
        self.apply_with(op, inputs, |_| {
            Some(Again::new(move || {
                let inputs = kept.iter().map(Kept::get).collect::<Result<Vec<_>>>()?;
                Ok(copy.forward(std::array::from_fn(|i| &inputs[i]))?.0)
            }))
        })
    }

    /// [`Cx::apply`] where `again` may say, given what is saved, how the result is made again.
    pub(crate) fn apply_with<O: Op<N> + 'w, const N: usize>(
        &self,
        op: O,
        inputs: [&Var; N],
        again: impl FnOnce(&O::Saved) -> Option<Again>,
    ) -> Result<Var>
    where
        O::Saved: 'w,
    {
        let nodes = self.own(O::NAME, inputs)?;
        let (value, mut saved) = op.forward(inputs.map(|v| &v.value))?;
        let Some(tape) = self.tape.as_ref().filter(|_| nodes.iter().any(Option::is_some)) else {
            return Ok(Var::unrecorded(value));
        };
        O::forget(&mut saved, inputs.map(|v| v.again.clone()));
        let again = again(&saved).or_else(|| self.saved_as.instead(&value));
        let node = tape.push(Node::Applied(Box::new(Applied { op, saved, inputs: nodes })));
        Ok(Var { node: Some(node), again, ..Var::unrecorded(value) })
    }

    /// Bytes kept so far for the backward pass, by operation.
    pub fn saved_bytes(&self) -> Vec<(&'static str, usize)> {
        self.tape.as_ref().map_or_else(Vec::new, |tape| tape.saved_bytes())
    }

    /// Walks back from a scalar loss and adds `scale` times its gradients to `grads`. Frees the graph.
    ///
    /// # Errors
    /// A loss with more than one element or that nothing recorded leads to, or a tape still shared by `through`.
    pub fn backward(self, loss: &Var, scale: f32, grads: &mut Grads) -> Result<()> {
        let seed = Tensor::full(self.device(), scale, loss.value.shape())?;
        loss.value.item()?;
        self.vjp(loss, seed, grads).map(drop)
    }

    /// Walks back from any value with the gradient `dy`: adds the parameters' gradients to `grads`, returns those of the
    /// watched inputs. Frees the graph.
    ///
    /// # Errors
    /// As [`Cx::backward`]; `dy` of another shape than `y`.
    pub fn vjp(self, y: &Var, dy: Tensor, grads: &mut Grads) -> Result<InputGrads> {
        dy.shape().expect("backward", y.value.shape())?;
        self.walk(y.node, dy, grads)
    }

    /// [`Cx::vjp`] from a place on the tape, where `dy` has the shape of the value.
    pub(crate) fn walk(self, start: Option<NodeId>, dy: Tensor, grads: &mut Grads) -> Result<InputGrads> {
        let tape = self.tape.ok_or(Error::NotRecorded)?;
        let id = tape.id;
        let tape = Rc::try_unwrap(tape).map_err(|_| Error::ContextInUse)?;
        let pool = self.weights.device().pool();
        let kept = pool.walk_begins(tape.before);
        let table = tape.reverse(start, dy, grads);
        pool.walk_ends(kept);
        Ok(InputGrads { tape: id, table: table? })
    }

    pub(crate) fn own<const N: usize>(&self, op: &'static str, inputs: [&Var; N]) -> Result<[Option<NodeId>; N]> {
        let mine = self.tape.as_ref().map(|tape| tape.id);
        if inputs.iter().any(|v| v.node.is_some_and(|node| Some(node.tape) != mine)) {
            return Err(Error::ForeignVar { op });
        }
        Ok(inputs.map(|v| v.node))
    }
}
