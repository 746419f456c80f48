//! The record of a forward pass, and the walk back.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::grads::Grads;
use crate::kept::Again;
use crate::op::{GradSink, Op};
use crate::{Device, Error, ParamId, Result, Tensor};

/// A place on a tape. The tape's number keeps the variables of two contexts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId {
    pub(crate) tape: u32,
    pub(crate) index: u32,
}

/// A value in a computation. `node` is `None` where nothing upstream is recorded.
#[derive(Clone, Debug)]
pub struct Var {
    pub(crate) value: Tensor,
    pub(crate) node: Option<NodeId>,
    /// What the backward pass keeps instead of the value, where that is cheaper.
    pub(crate) again: Option<Again>,
    /// A parameter's panels, where it has some and nothing is recorded.
    pub(crate) panels: Option<Tensor>,
}

impl Var {
    /// A value that nothing upstream of which is recorded.
    pub(crate) fn unrecorded(value: Tensor) -> Self {
        Var { value, node: None, again: None, panels: None }
    }

    /// The value. Passing it on to another context stops the gradient.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The value without its history: no gradient flows through it.
    pub fn detach(&self) -> Var {
        Var::unrecorded(self.value.clone())
    }

    /// The same variable, kept as it is by whatever keeps it: a few rows that operations hold in f32 anyway.
    pub(crate) fn kept_whole(self) -> Var {
        Var { again: None, ..self }
    }

    /// Whether anything upstream is recorded.
    pub fn is_recorded(&self) -> bool {
        self.node.is_some()
    }
}

/// Something that takes part in the walk back.
pub(crate) trait Recorded {
    fn name(&self) -> &'static str;
    fn saved_bytes(&self) -> usize;
    fn run(self: Box<Self>, dy: Tensor, slots: &mut Slots<'_>) -> Result<()>;
}

/// An operation with what it saved.
pub(crate) struct Applied<O: Op<N>, const N: usize> {
    pub(crate) op: O,
    pub(crate) saved: O::Saved,
    pub(crate) inputs: [Option<NodeId>; N],
}

impl<O: Op<N>, const N: usize> Recorded for Applied<O, N> {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn saved_bytes(&self) -> usize {
        O::saved_bytes(&self.saved)
    }
    fn run(self: Box<Self>, dy: Tensor, slots: &mut Slots<'_>) -> Result<()> {
        let Applied { op, saved, inputs } = *self;
        op.backward(saved, dy, &mut GradSink { inputs, slots })
    }
}

pub(crate) enum Node<'w> {
    /// A parameter: its gradient goes to, and starts from, the [`Grads`] of the caller.
    Leaf(ParamId),
    /// An input whose gradient the caller asked for.
    Input,
    /// Anything with a backward rule.
    Applied(Box<dyn Recorded + 'w>),
}

/// The nodes of one forward pass, in order.
pub(crate) struct Tape<'w> {
    pub(crate) id: u32,
    /// Bytes in living tensors when it began.
    pub(crate) before: usize,
    nodes: RefCell<Vec<Node<'w>>>,
}

impl<'w> Tape<'w> {
    pub(crate) fn new(device: &Device) -> Self {
        // Only distinctness matters: the number takes no part in any result.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Tape { id: NEXT.fetch_add(1, Ordering::Relaxed), before: device.memory().live, nodes: RefCell::default() }
    }

    pub(crate) fn push(&self, node: Node<'w>) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        NodeId { tape: self.id, index: nodes.len() as u32 - 1 }
    }

    /// Bytes kept for the backward pass, by operation, in order of first appearance.
    pub(crate) fn saved_bytes(&self) -> Vec<(&'static str, usize)> {
        let mut totals: Vec<(&'static str, usize)> = Vec::new();
        for node in self.nodes.borrow().iter() {
            let Node::Applied(applied) = node else { continue };
            match totals.iter_mut().find(|(name, _)| *name == applied.name()) {
                Some((_, bytes)) => *bytes += applied.saved_bytes(),
                None => totals.push((applied.name(), applied.saved_bytes())),
            }
        }
        totals
    }

    /// Walks back from `start` with gradient `dy`; returns the gradients of the watched inputs, by node index.
    pub(crate) fn reverse(self, start: Option<NodeId>, dy: Tensor, grads: &mut Grads) -> Result<Vec<Option<Tensor>>> {
        let Some(start) = start.filter(|node| node.tape == self.id) else { return Err(Error::NotRecorded) };
        let nodes = self.nodes.into_inner();
        let leaves = nodes.iter().map(|n| if let Node::Leaf(id) = n { Some(*id) } else { None }).collect();
        let mut slots = Slots { gradients: vec![None; nodes.len()], leaves, grads };
        slots.gradients[start.index as usize] = Some(dy);
        for (index, node) in nodes.into_iter().enumerate().rev() {
            match node {
                Node::Input => {}
                Node::Leaf(id) => {
                    if let Some(gradient) = slots.gradients[index].take() {
                        slots.grads.add(id, gradient)?;
                    }
                }
                Node::Applied(applied) => {
                    if let Some(dy) = slots.gradients[index].take() {
                        applied.run(dy, &mut slots)?;
                    }
                }
            }
        }
        Ok(slots.gradients)
    }
}

/// The gradients of a walk, by node. A parameter's slot starts from the caller's [`Grads`], so that kernels add to it in
/// place instead of through a temporary.
#[derive(Debug)]
pub(crate) struct Slots<'s> {
    gradients: Vec<Option<Tensor>>,
    leaves: Vec<Option<ParamId>>,
    pub(crate) grads: &'s mut Grads,
}

impl Slots<'_> {
    pub(crate) fn get(&mut self, id: NodeId) -> &mut Option<Tensor> {
        let index = id.index as usize;
        let slot = &mut self.gradients[index];
        if slot.is_none()
            && let Some(param) = self.leaves[index]
        {
            *slot = self.grads.take(param);
        }
        slot
    }
}
