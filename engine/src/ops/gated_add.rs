//! The residual connection: `y = x + gate[g] * h`, the gate one slot of a modulation, or none.

use flg_kernels::{Out, gated_add};

use crate::ops::OpCase;
use crate::ops::layer_norm::{rows_per_group, slot};
use crate::{Again, Cx, DType, Error, GradSink, Kept, Op, Result, Tensor, Var};

/// Inputs `x [.., d]`, `h [.., d]` and a modulation `[slots, groups, d]`.
#[derive(Clone, Copy, Debug)]
pub struct GatedAdd {
    gate: usize,
}

fn forward(x: &Tensor, h: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
    h.shape().expect("gated_add", x.shape())?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    let groups = gate.map_or(1, |gate| gate.shape().rows());
    let mut y = Tensor::empty(x.device(), x.shape(), x.dtype())?;
    let args = gated_add::Forward {
        x: x.input()?,
        h: h.input()?,
        gate: gate.map(Tensor::input).transpose()?,
        y: y.output()?,
        rows,
        width,
        rows_per_group: rows_per_group(rows, groups),
    };
    gated_add::forward(x.device().runtime(), args)?;
    Ok(y)
}

impl Op<3> for GatedAdd {
    const NAME: &'static str = "gated_add";
    /// `h` and the modulation.
    type Saved = (Kept, Tensor);

    fn forward(&self, [x, h, modulation]: [&Tensor; 3]) -> Result<(Tensor, Self::Saved)> {
        let [slots, groups, _] = modulation.shape().expect_rank("gated_add")?;
        modulation.shape().expect("gated_add", [slots, groups, x.shape().width()])?;
        let y = forward(x, h, Some(&slot(modulation, self.gate)?))?;
        Ok((y, (Kept::Value(h.clone()), modulation.clone())))
    }

    fn backward(self, (h, modulation): Self::Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 3>) -> Result<()> {
        let h = h.get()?;
        let (rows, width) = (h.shape().rows(), h.shape().width());
        let [_, groups, _] = modulation.shape().expect_rank("gated_add")?;
        let (device, rt) = (dy.device().clone(), *dy.device().runtime());
        let gate = slot(&modulation, self.gate)?;
        let mut dh = Tensor::empty(&device, h.shape(), DType::F32)?;
        let mut run = |dgate_acc: Option<Out<'_>>| -> Result<()> {
            let args = gated_add::Backward {
                h: h.input()?,
                gate: Some(gate.input()?),
                dy: dy.input()?,
                dh: dh.output()?,
                dgate_acc,
                rows,
                width,
                rows_per_group: rows_per_group(rows, groups),
            };
            gated_add::backward(&rt, args).map_err(Error::from)
        };
        if dx.wants(2) {
            dx.accumulate(2, &device, modulation.shape(), |sum| {
                let len = groups * width;
                let (_, from_gate) = sum.split_at(self.gate * len);
                run(Some(from_gate.split_at(len).0))
            })?;
        } else {
            run(None)?;
        }
        dx.add(1, dh)?;
        dx.add(0, dy)
    }

    fn forget((kept, _): &mut Self::Saved, [_, h, _]: [Option<Again>; 3]) {
        kept.forget(h);
    }

    fn saved_bytes((h, _): &Self::Saved) -> usize {
        h.bytes()
    }
}

/// `y = x + h`; both gradients are `dy`.
#[derive(Clone, Copy, Debug)]
pub struct ResidualAdd;

impl Op<2> for ResidualAdd {
    const NAME: &'static str = "residual_add";
    type Saved = ();

    fn forward(&self, [x, h]: [&Tensor; 2]) -> Result<(Tensor, ())> {
        Ok((forward(x, h, None)?, ()))
    }

    fn backward(self, (): (), dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        dx.add(1, dy.clone())?;
        dx.add(0, dy)
    }

    fn saved_bytes((): &()) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// `x + gate * h`, the gate being slot `gate` of `modulation [slots, groups, d]`.
    ///
    /// # Errors
    /// Shapes that do not fit; rows that do not split into the groups.
    pub fn gated_add(&self, x: &Var, h: &Var, modulation: &Var, gate: usize) -> Result<Var> {
        self.apply_again(GatedAdd { gate }, [x, h, modulation])
    }

    /// `x + h`, stored as `x` is.
    ///
    /// # Errors
    /// Different shapes.
    pub fn residual_add(&self, x: &Var, h: &Var) -> Result<Var> {
        self.apply(ResidualAdd, [x, h])
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "gated_add",
        kernel: "gated_add",
        shapes: &[&[&[2, 3, 5], &[2, 3, 5], &[2, 2, 5]], &[&[4, 1], &[4, 1], &[2, 4, 1]]],
        run: |cx, v| cx.gated_add(&v[0], &v[1], &v[2], 1),
    },
    OpCase {
        name: "residual_add",
        kernel: "gated_add",
        shapes: &[&[&[2, 3, 5], &[2, 3, 5]], &[&[1], &[1]]],
        run: |cx, v| cx.residual_add(&v[0], &v[1]),
    },
];
