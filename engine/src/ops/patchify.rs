//! Video to tokens and back.

use flg_kernels::patchify::{self, Grid, Order};

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Tensor, Var};

/// Which way a [`Patchify`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `[b, c, f, h, w]` to `[b, tokens, patch elements]`.
    ToTokens,
    /// `[b, tokens, patch elements]` to `[b, c, f, h, w]`.
    ToVideo,
}

/// Moves elements only: each direction is the other's inverse and its backward.
#[derive(Clone, Copy, Debug)]
pub struct Patchify {
    /// Extents of the video and of a patch.
    pub grid: Grid,
    /// Order of a patch's elements in a token.
    pub order: Order,
    /// Which way.
    pub direction: Direction,
}

impl Patchify {
    fn run(&self, x: &Tensor, direction: Direction, dtype: DType) -> Result<Tensor> {
        let Grid { batch, channels, frames, height, width, patch } = self.grid;
        let video = [batch, channels, frames, height, width];
        let tokens = [frames, height, width].iter().zip(patch).map(|(&n, p)| n / p.max(1)).product();
        let rows = [batch, tokens, channels * patch.iter().product::<usize>()];
        let mut y = match direction {
            Direction::ToTokens => {
                x.shape().expect("patchify", video)?;
                Tensor::empty(x.device(), rows, dtype)?
            }
            Direction::ToVideo => {
                x.shape().expect("unpatchify", rows)?;
                Tensor::empty(x.device(), video, dtype)?
            }
        };
        let args = patchify::Args { from: x.input()?, to: y.output()?, grid: self.grid, order: self.order };
        match direction {
            Direction::ToTokens => patchify::patchify(x.device().runtime(), args),
            Direction::ToVideo => patchify::unpatchify(x.device().runtime(), args),
        }
        .map_err(Error::from)?;
        Ok(y)
    }
}

impl Op<1> for Patchify {
    const NAME: &'static str = "patchify";
    type Saved = ();

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, ())> {
        Ok((self.run(x, self.direction, x.dtype())?, ()))
    }

    fn backward(self, (): (), dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let back = match self.direction {
            Direction::ToTokens => Direction::ToVideo,
            Direction::ToVideo => Direction::ToTokens,
        };
        dx.add(0, self.run(&dy, back, DType::F32)?)
    }

    fn saved_bytes((): &()) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// Cuts a video into tokens, or puts it together again.
    ///
    /// # Errors
    /// Shapes that do not fit the grid; extents that the patch does not divide.
    pub fn patchify(&self, x: &Var, patchify: Patchify) -> Result<Var> {
        self.apply(patchify, [x])
    }
}

const GRID: Grid = Grid { batch: 2, channels: 3, frames: 2, height: 4, width: 6, patch: [1, 2, 3] };

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "patchify",
        kernel: "patchify",
        shapes: &[&[&[2, 3, 2, 4, 6]]],
        run: |cx, v| {
            cx.patchify(&v[0], Patchify { grid: GRID, order: Order::ChannelFirst, direction: Direction::ToTokens })
        },
    },
    OpCase {
        name: "unpatchify",
        kernel: "patchify",
        shapes: &[&[&[2, 8, 18]]],
        run: |cx, v| {
            cx.patchify(&v[0], Patchify { grid: GRID, order: Order::ChannelLast, direction: Direction::ToVideo })
        },
    },
];
