//! Activation checkpointing: keep a block's inputs, compute its inside again during the backward pass.

use crate::cx::{Cx, Precision};
use crate::kept::SavedAs;
use crate::tape::{Node, NodeId, Recorded, Slots, Var};
use crate::{GradSink, ParamStore, Result, Tensor};

struct Replay<'w, F, const N: usize> {
    body: F,
    values: [Tensor; N],
    inputs: [Option<NodeId>; N],
    weights: &'w ParamStore,
    trainable: bool,
    precision: Precision,
    saved_as: SavedAs,
}

impl<'w, F, const N: usize> Recorded for Replay<'w, F, N>
where
    F: Fn(&Cx<'w>, [Var; N]) -> Result<Var>,
{
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn saved_bytes(&self) -> usize {
        self.values.iter().map(Tensor::bytes).sum()
    }

    fn run(self: Box<Self>, dy: Tensor, slots: &mut Slots<'_>) -> Result<()> {
        let Replay { body, values, inputs, weights, trainable, precision, saved_as } = *self;
        let cx = Cx { trainable, precision, saved_as, ..Cx::training(weights) };
        let mut watched = inputs.iter().map(Option::is_some);
        let vars = values.map(|v| if watched.next() == Some(true) { cx.watched_input(v) } else { cx.input(v) });
        let seeds = vars.clone();
        // Only where the walk begins is needed of the result, not its value nor how it is made again.
        let start = body(&cx, vars)?.node;
        let inner = cx.walk(start, dy, slots.grads)?;
        let mut sink = GradSink { inputs, slots };
        for (i, input) in seeds.iter().enumerate() {
            if let Some(gradient) = inner.get(input) {
                sink.add(i, gradient.clone())?;
            }
        }
        Ok(())
    }
}

impl<'w> Cx<'w> {
    /// Runs `body` and keeps only its inputs; the backward pass runs it again. Gradients are the same bit for bit.
    ///
    /// # Errors
    /// What `body` returns, and [`crate::Error::ForeignVar`] for a variable of another context.
    pub fn checkpoint<F, const N: usize>(&self, inputs: [&Var; N], body: F) -> Result<Var>
    where
        F: Fn(&Cx<'w>, [Var; N]) -> Result<Var> + 'w,
    {
        let nodes = self.own("checkpoint", inputs)?;
        let values = inputs.map(|v| v.value.clone());
        let quiet = Cx::inference(self.weights).with_precision(self.precision());
        let y = body(&quiet, values.clone().map(Var::unrecorded))?;
        let Cx { weights, trainable, precision, saved_as, .. } = *self;
        let recorded = self.tape.as_ref().filter(|_| trainable || nodes.iter().any(Option::is_some));
        let node = recorded.map(|tape| {
            let replay = Replay { body, values, inputs: nodes, weights, trainable, precision, saved_as };
            tape.push(Node::Applied(Box::new(replay)))
        });
        Ok(Var { node, ..Var::unrecorded(y.value) })
    }
}
