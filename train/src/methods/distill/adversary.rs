//! The optional adversarial term of DMD2 (Yin et al., 2024, arXiv:2405.14867): a discriminator on the critic's features
//! tells the student's noised clips from real ones.
//!
//! ```text
//! L_D = CE(d(h(real)), real) + CE(d(h(made)), made)      trains d, and h through the critic
//! L_G = CE(d(h(made)), real)                             moves the student
//! ```
//!
//! `h` is the residual stream behind the critic's last block and `d` one linear layer with two logits a token, so that
//! every token of a generated frame is judged. Between two classes the cross-entropy is the softplus of a difference of
//! logits. `d` begins at zero, where it judges nothing.

use flg_engine::{Cx, Grads, InputGrads, ParamId, ParamStore, Tensor, Var};

use crate::config::OptimizerConfig;
use crate::error::Result;
use crate::methods::Setup;
use crate::optim::{Optimizer, Progress, Trained};
use crate::perturb::FirstFrame;

/// What a clip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The student's.
    Made,
    /// From the data.
    Real,
}

/// The discriminator and what trains it.
#[derive(Debug)]
pub struct Adversary {
    /// `weight [2, d]`, `bias [2]`.
    pub weights: ParamStore,
    /// Its moments.
    pub optimizer: Optimizer,
    ids: [ParamId; 2],
}

/// The discriminator's parameters on one tape.
#[derive(Debug)]
pub struct Judge([Var; 2]);

impl Adversary {
    /// A discriminator of features of this width.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(setup: &Setup, width: usize, config: &OptimizerConfig) -> Result<Self> {
        let device = setup.task.device();
        let mut weights = ParamStore::new(device);
        let weight = weights.insert("weight", Tensor::zeros(device, [2, width])?)?;
        let bias = weights.insert("bias", Tensor::zeros(device, [2])?)?;
        let optimizer = Optimizer::new(config, &weights)?;
        Ok(Adversary { weights, optimizer, ids: [weight, bias] })
    }

    /// The parameters, so that `cx` also finds their gradients.
    pub fn judge(&self, cx: &Cx<'_>) -> Judge {
        Judge(self.ids.map(|id| cx.watched_input(self.weights.get(id).clone())))
    }

    /// Gradients of the parameters that a pass left behind.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn gradients(&self, judge: &Judge, found: &InputGrads) -> Result<Grads> {
        let mut grads = Grads::new(&self.weights);
        for (id, var) in self.ids.into_iter().zip(&judge.0) {
            if let Some(gradient) = found.get(var) {
                grads.add(id, gradient.clone())?;
            }
        }
        Ok(grads)
    }

    /// Clips `grads` and updates the discriminator.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn update(&mut self, grads: &Grads, progress: Progress) -> Result<()> {
        self.optimizer.update(Trained::alone(&mut self.weights), grads, progress)?;
        Ok(())
    }
}

impl Judge {
    /// The mean over generated tokens of the cross-entropy of `stream [b, tokens, d]` (`frames` rows of tokens a clip)
    /// being from `origin`.
    ///
    /// # Errors
    /// A stream of another width.
    pub fn loss(
        &self,
        cx: &Cx<'_>,
        stream: &Var,
        (first, frames): (&[FirstFrame], usize),
        origin: Origin,
    ) -> Result<Var> {
        let [batch, tokens, width] = stream.value().shape().expect_rank("adversary")?;
        let in_frame = tokens / frames.max(1);
        let given = |row: usize| first[row / tokens] == FirstFrame::Given && row % tokens < in_frame;
        let rows: Vec<i32> = (0..batch * tokens).filter(|&row| !given(row)).map(|row| row as i32).collect();
        let count = rows.len();
        let index = Tensor::from_indices(cx.device(), rows, [count])?;
        let judged = cx.gather(&cx.reshape(stream, [1, batch * tokens, width])?, &index)?;
        let judged = cx.cast(&cx.reshape(&judged, [count, width])?, flg_engine::DType::F32)?;
        let logits = cx.linear(&judged, &self.0[0], &self.0[1])?;
        Ok(cx.cross_entropy(&logits, &vec![origin as usize; count])?)
    }
}
