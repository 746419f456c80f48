//! One differentiable operation, and where its backward puts gradients.

use flg_kernels::Out;
use flg_kernels::gemm::Write;

use crate::kept::Again;
use crate::tape::{NodeId, Slots};
use crate::{DType, Device, Result, Shape, Tensor};

/// A typed forward and backward pair with `N` inputs. The struct itself holds the attributes.
///
/// What backward keeps is the named type [`Op::Saved`], next to the formula; it is dropped as backward runs.
pub trait Op<const N: usize>: Sized {
    /// The name in errors, profiles and tests.
    const NAME: &'static str;
    /// What the forward pass keeps for the backward pass.
    type Saved;
    /// Computes the output, and what backward needs.
    ///
    /// # Errors
    /// Shapes and types that the operation does not take.
    fn forward(&self, inputs: [&Tensor; N]) -> Result<(Tensor, Self::Saved)>;
    /// Adds to `dx` the gradient of every input that it wants, given the gradient `dy` of the output (f32).
    ///
    /// # Errors
    /// None of the caller's making; a device may fail.
    fn backward(self, saved: Self::Saved, dy: Tensor, dx: &mut GradSink<'_, '_, N>) -> Result<()>;
    /// Has `saved` keep what stands for an input, `again[i]`, instead of the input. The default keeps what it keeps.
    fn forget(_saved: &mut Self::Saved, _again: [Option<Again>; N]) {}
    /// Bytes that `saved` keeps alive, for the memory report.
    fn saved_bytes(saved: &Self::Saved) -> usize;
}

/// Where a backward puts the gradients of its inputs. Inputs that nothing recorded are not wanted: skip their work.
///
/// Gradients are f32 whatever the type of the values.
#[derive(Debug)]
pub struct GradSink<'a, 's, const N: usize> {
    pub(crate) inputs: [Option<NodeId>; N],
    pub(crate) slots: &'a mut Slots<'s>,
}

impl<const N: usize> GradSink<'_, '_, N> {
    /// Whether anything upstream of input `i` needs its gradient.
    pub fn wants(&self, i: usize) -> bool {
        self.inputs[i].is_some()
    }

    /// Adds `gradient` to that of input `i`: the first is moved in, later ones are added.
    ///
    /// # Errors
    /// A gradient of another shape than an earlier one.
    pub fn add(&mut self, i: usize, gradient: Tensor) -> Result<()> {
        let Some(id) = self.inputs[i] else { return Ok(()) };
        match self.slots.get(id) {
            Some(sum) => sum.accumulate(1.0, &gradient),
            slot => {
                *slot = Some(gradient);
                Ok(())
            }
        }
    }

    /// Lets a kernel write the gradient of input `i` where it is kept: `body` is told whether to overwrite (the buffer
    /// is fresh) or to accumulate. For a parameter that is the buffer that outlives the tape.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn write(
        &mut self,
        i: usize,
        device: &Device,
        shape: impl Into<Shape>,
        body: impl FnOnce(Out<'_>, Write) -> Result<()>,
    ) -> Result<()> {
        let Some(id) = self.inputs[i] else { return Ok(()) };
        match self.slots.get(id) {
            Some(sum) => body(sum.output()?, Write::Accumulate),
            slot => body(slot.insert(Tensor::empty(device, shape, DType::F32)?).output()?, Write::Overwrite),
        }
    }

    /// Lets a kernel add to the gradient of input `i` where it is kept, starting at zero.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn accumulate(
        &mut self,
        i: usize,
        device: &Device,
        shape: impl Into<Shape>,
        body: impl FnOnce(Out<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(id) = self.inputs[i] else { return Ok(()) };
        let sum = match self.slots.get(id) {
            Some(sum) => sum,
            slot => slot.insert(Tensor::zeros(device, shape)?),
        };
        body(sum.output()?)
    }
}
