//! Modulation: a learned table plus what the time embedding projects to, laid out slot by slot.

use flg_kernels::{Out, modulation};

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Shape, Tensor, Var};

/// `y[s, g, :] = table[s, :] + projection[g, s * d..]`. Inputs `table [.., slots, d]`, `projection [groups, slots * d]`.
#[derive(Clone, Copy, Debug)]
pub struct Modulation;

impl Op<2> for Modulation {
    const NAME: &'static str = "modulation";
    /// Shapes of the inputs.
    type Saved = (Shape, Shape);

    fn forward(&self, [table, projection]: [&Tensor; 2]) -> Result<(Tensor, Self::Saved)> {
        let width = table.shape().width();
        let slots = table.shape().rows();
        let groups = projection.shape().rows();
        projection.shape().expect("modulation", projection.shape().with_width(slots * width))?;
        let mut y = Tensor::empty(table.device(), [slots, groups, width], DType::F32)?;
        let (table_in, projection_in) = (table.input()?, projection.input()?);
        let args =
            modulation::Forward { table: table_in, projection: projection_in, y: y.output()?, slots, groups, width };
        modulation::forward(table.device().runtime(), args)?;
        Ok((y, (table.shape(), projection.shape())))
    }

    fn backward(self, (table, projection): Self::Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        let [slots, groups, width] = dy.shape().expect_rank("modulation")?;
        let (device, rt) = (dy.device().clone(), *dy.device().runtime());
        let mut dprojection = Tensor::empty(&device, projection, DType::F32)?;
        let mut run = |dtable_acc: Out<'_>| -> Result<()> {
            let (dy, dprojection) = (dy.input()?, dprojection.output()?);
            modulation::backward(&rt, modulation::Backward { dy, dtable_acc, dprojection, slots, groups, width })
                .map_err(Error::from)
        };
        if dx.wants(0) {
            dx.accumulate(0, &device, table, run)?;
        } else {
            run(Tensor::zeros(&device, table)?.output()?)?;
        }
        dx.add(1, dprojection)
    }

    fn saved_bytes(_: &Self::Saved) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// `table [.., slots, d]` plus `projection [groups, slots * d]`, as `[slots, groups, d]`, f32.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn modulation(&self, table: &Var, projection: &Var) -> Result<Var> {
        Ok(self.apply(Modulation, [table, projection])?.kept_whole())
    }
}

pub(super) const CASES: &[OpCase] = &[OpCase {
    name: "modulation",
    kernel: "modulation",
    shapes: &[&[&[1, 1, 1], &[1, 1]], &[&[1, 6, 5], &[3, 30]]],
    run: |cx, v| cx.modulation(&v[0], &v[1]),
}];
