//! `y = activation(x W^T + b)`: one GEMM with its bias and activation in the epilogue.

use flg_kernels::gemm::{self, Activation, Batch, Dims, Epilogue, Layout, Write};
use flg_kernels::{Out, gelu, reduce, silu};

use crate::ops::OpCase;
use crate::{Again, Cx, DType, Error, GradSink, Kept, Op, Result, SavedAs, Tensor, Var};

/// Inputs `x [.., in]`, `weight [out, in]`, `bias [out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    activation: Activation,
    /// Whether a backward pass may follow: only that needs what the activation was given.
    recorded: bool,
    /// What that is kept as.
    saved_as: SavedAs,
    /// The weight in panels.
    panels: Option<Tensor>,
}

/// What the backward of [`Linear`] needs.
#[derive(Debug)]
pub struct Saved {
    x: Kept,
    weight: Tensor,
    /// `x W^T + b`, where an activation and perhaps a backward pass follow.
    preactivation: Option<Kept>,
}

impl Op<3> for Linear {
    const NAME: &'static str = "linear";
    type Saved = Saved;

    fn forward(&self, [x, weight, bias]: [&Tensor; 3]) -> Result<(Tensor, Saved)> {
        let [n, k] = weight.shape().expect_rank("linear")?;
        bias.shape().expect("linear", [n])?;
        x.shape().expect("linear", x.shape().with_width(k))?;
        let m = x.shape().rows();
        let shape = x.shape().with_width(n);
        let mut y = Tensor::empty(x.device(), shape, x.dtype())?;
        let keeps = self.recorded && self.activation != Activation::None;
        let mut preactivation = keeps.then(|| Tensor::empty(x.device(), shape, x.dtype())).transpose()?;
        let epilogue = Epilogue {
            bias: Some(bias.input()?),
            activation: self.activation,
            preactivation: preactivation.as_mut().map(Tensor::output).transpose()?,
            ..Epilogue::default()
        };
        let args = gemm::Args {
            a: x.input()?,
            b: self.panels.as_ref().unwrap_or(weight).input()?,
            c: y.output()?,
            layout: if self.panels.is_some() { Layout::NP } else { Layout::NT },
            dims: Dims { m, n, k },
            batch: Batch::one(),
            write: Write::Overwrite,
            epilogue,
        };
        gemm::gemm(x.device().runtime(), args)?;
        let preactivation = preactivation.map(|pre| self.saved_as.keep(pre));
        Ok((y, Saved { x: Kept::Value(x.clone()), weight: weight.clone(), preactivation }))
    }

    fn backward(self, saved: Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 3>) -> Result<()> {
        let Saved { x, weight, preactivation } = saved;
        let dy = match preactivation {
            Some(pre) => activation_backward(self.activation, &pre.get()?, dy)?,
            None => dy,
        };
        let (device, rt) = (dy.device().clone(), *dy.device().runtime());
        let [n, k] = weight.shape().expect_rank("linear")?;
        let m = dy.shape().rows();
        let product = |a: &Tensor, b: &Tensor, c: Out<'_>, layout, dims, write| -> Result<()> {
            let (a, b) = (a.input()?, b.input()?);
            let args = gemm::Args { a, b, c, layout, dims, batch: Batch::one(), write, epilogue: Epilogue::default() };
            gemm::gemm(&rt, args).map_err(Error::from)
        };
        dx.write(1, &device, weight.shape(), |c, write| {
            product(&dy, &x.get()?, c, Layout::TN, Dims { m: n, n: k, k: m }, write)
        })?;
        // Its gradient has the same size, and may be where it was.
        drop(x);
        dx.write(0, &device, dy.shape().with_width(k), |c, write| {
            product(&dy, &weight, c, Layout::NN, Dims { m, n: k, k: n }, write)
        })?;
        dx.accumulate(2, &device, [n], |sum_acc| {
            let args = reduce::ColumnSum { x: dy.input()?, sum_acc, rows: m, width: n };
            reduce::column_sum(&rt, args).map_err(Error::from)
        })
    }

    fn forget(saved: &mut Saved, [x, ..]: [Option<Again>; 3]) {
        saved.x.forget(x);
    }

    fn saved_bytes(saved: &Saved) -> usize {
        saved.x.bytes() + saved.preactivation.as_ref().map_or(0, Kept::bytes)
    }
}

/// What the epilogue of the forward pass made of the preactivation, bit for bit.
fn activated(activation: Activation, pre: &Tensor) -> Result<Tensor> {
    let mut y = Tensor::empty(pre.device(), pre.shape(), pre.dtype())?;
    let rt = *pre.device().runtime();
    let (x, out) = (pre.input()?, y.output()?);
    match activation {
        Activation::GeluTanh => gelu::forward(&rt, gelu::Forward { x, y: out, form: gelu::Form::Tanh })?,
        Activation::GeluErf => gelu::forward(&rt, gelu::Forward { x, y: out, form: gelu::Form::Erf })?,
        Activation::Silu => silu::forward(&rt, silu::Forward { x, y: out })?,
        Activation::None => unreachable!("only an activation keeps its input"),
    }
    Ok(y)
}

/// The gradient of the preactivation, where that of the output was. A part is put aside, and what it becomes is written
/// to its place.
fn activation_backward(activation: Activation, pre: &Tensor, mut dy: Tensor) -> Result<Tensor> {
    /// Elements of a part: they stay in the cache meanwhile, and threads still have a share each.
    const PART: usize = 1 << 18;
    let (device, rt, n) = (dy.device().clone(), *dy.device().runtime(), dy.elements());
    let pre = pre.reshape([n])?;
    let mut aside = Tensor::empty(&device, [PART.min(n)], DType::F32)?;
    for start in (0..n).step_by(PART) {
        let len = PART.min(n - start);
        // The view is gone before the gradient is written to: a tensor that shares its storage would be copied.
        aside.overwrite(0, 0, &dy.reshape([n])?.narrow(0, start, len)?)?;
        let (pre, part) = (pre.narrow(0, start, len)?, aside.narrow(0, 0, len)?);
        let (_, gradient) = dy.output()?.split_at(start);
        let (x, dy, dx) = (pre.input()?, part.input()?, gradient.split_at(len).0);
        match activation {
            Activation::GeluTanh => gelu::backward(&rt, gelu::Backward { x, dy, dx, form: gelu::Form::Tanh })?,
            Activation::GeluErf => gelu::backward(&rt, gelu::Backward { x, dy, dx, form: gelu::Form::Erf })?,
            Activation::Silu => silu::backward(&rt, silu::Backward { x, dy, dx })?,
            Activation::None => unreachable!("only an activation keeps its input"),
        }
    }
    Ok(dy)
}

impl<'w> Cx<'w> {
    /// `x [.., in]` times `weight [out, in]` transposed, plus `bias [out]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn linear(&self, x: &Var, weight: &Var, bias: &Var) -> Result<Var> {
        self.linear_activated(x, weight, bias, Activation::None)
    }

    /// [`Cx::linear`] followed by an activation, in one kernel.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn linear_activated(&self, x: &Var, weight: &Var, bias: &Var, activation: Activation) -> Result<Var> {
        let inputs = [x, weight, bias];
        let recorded = inputs.iter().any(|input| input.node.is_some());
        let op = Linear { activation, recorded, saved_as: self.saves(inputs), panels: weight.panels.clone() };
        let f32 = x.value.dtype() == DType::F32;
        self.apply_with(op, inputs, |saved| {
            // In f32 only: a preactivation in bf16 has lost what the activation was given in registers.
            let pre = saved.preactivation.clone().filter(|_| f32)?;
            Some(Again::new(move || activated(activation, &pre.get()?)))
        })
    }
}

const SHAPES: &[&[&[usize]]] =
    &[&[&[1, 1], &[1, 1], &[1]], &[&[2, 3, 5], &[7, 5], &[7]], &[&[13, 8], &[16, 8], &[16]], &[&[0, 3], &[2, 3], &[2]]];

pub(super) const CASES: &[OpCase] = &[
    OpCase { name: "linear", kernel: "gemm", shapes: SHAPES, run: |cx, v| cx.linear(&v[0], &v[1], &v[2]) },
    OpCase {
        name: "linear gelu_tanh",
        kernel: "gemm",
        shapes: SHAPES,
        run: |cx, v| cx.linear_activated(&v[0], &v[1], &v[2], Activation::GeluTanh),
    },
    OpCase {
        name: "linear gelu_erf",
        kernel: "gemm",
        shapes: SHAPES,
        run: |cx, v| cx.linear_activated(&v[0], &v[1], &v[2], Activation::GeluErf),
    },
    OpCase {
        name: "linear silu",
        kernel: "gemm",
        shapes: SHAPES,
        run: |cx, v| cx.linear_activated(&v[0], &v[1], &v[2], Activation::Silu),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Key};

    #[test]
    fn an_activation_made_again_has_the_bits_of_the_epilogue() {
        let device = Device::cpu();
        let key = Key::new(0);
        let [x, weight, bias] = [(0, [29, 67].as_slice()), (1, &[37, 67]), (2, &[37])]
            .map(|(i, shape)| key.at(i).normal(&device, crate::Shape::new(shape).unwrap()).unwrap());
        for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
            let (y, saved) = Linear { activation, recorded: true, saved_as: SavedAs::Computed, panels: None }
                .forward([&x, &weight, &bias])
                .unwrap();
            let again = activated(activation, &saved.preactivation.unwrap().get().unwrap()).unwrap();
            let bits = |t: &Tensor| t.to_vec().into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(&y), bits(&again), "{activation:?}");
        }
    }

    #[test]
    fn a_gradient_in_its_place_has_the_bits_of_one_beside_it() {
        let device = Device::cpu();
        // Two whole parts and a bit.
        let n = (2 << 18) + 77;
        let [pre, dy] = [0, 1].map(|i| Key::new(3).at(i).normal(&device, [n]).unwrap());
        let mut beside = Tensor::empty(&device, [n], DType::F32).unwrap();
        let (x, dx) = (pre.input().unwrap(), beside.output().unwrap());
        let args = gelu::Backward { x, dy: dy.input().unwrap(), dx, form: gelu::Form::Tanh };
        gelu::backward(device.runtime(), args).unwrap();
        // Once where it is, and once where somebody else keeps it.
        let kept = dy.clone();
        let shared = activation_backward(Activation::GeluTanh, &pre, dy).unwrap();
        let alone = activation_backward(Activation::GeluTanh, &pre, kept).unwrap();
        assert_eq!(beside.as_f32().unwrap(), shared.as_f32().unwrap());
        assert_eq!(beside.as_f32().unwrap(), alone.as_f32().unwrap());
    }
}
