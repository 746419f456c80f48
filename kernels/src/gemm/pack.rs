//! Operands laid out in the order in which the micro-kernel reads them.
//!
//! A *panel* holds `W` rows of `a` or `W` columns of `b` (its *lanes*); a panel is a list of *steps*, one for each index
//! of the sum, and a step is the `W` elements that the micro-kernel uses at once. Missing lanes hold anything: what they
//! give is not written. bf16 is widened on the way.

use std::ops::Range;

use half::bf16;

use super::{Dims, Layout};
use crate::In;
use crate::simd::{LANES, Simd};

/// `a` or `b` with its lane (row of `a`, column of `b`) and step (index of the sum) as coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand<'a> {
    pub data: In<'a>,
    pub stride: usize,
    pub order: Order,
}

/// Which coordinate of an operand has stride 1; the other has [`Operand::stride`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Steps,
    Lanes,
    /// Packed before: one panel after the other, each with all steps; the stride is their number.
    Panels,
}

impl<'a> Operand<'a> {
    /// `a` in its layout.
    pub(super) fn a(data: In<'a>, layout: Layout, dims: Dims) -> Self {
        match layout {
            Layout::NN | Layout::NT | Layout::NP => Operand { data, stride: dims.k, order: Order::Steps },
            Layout::TN => Operand { data, stride: dims.m, order: Order::Lanes },
        }
    }

    /// `b` in its layout.
    pub(super) fn b(data: In<'a>, layout: Layout, dims: Dims) -> Self {
        match layout {
            Layout::NT => Operand { data, stride: dims.k, order: Order::Steps },
            Layout::NN | Layout::TN => Operand { data, stride: dims.n, order: Order::Lanes },
            Layout::NP => Operand { data, stride: dims.k, order: Order::Panels },
        }
    }

    /// From this element on.
    pub(super) fn skip(self, elements: usize) -> Self {
        let data = match self.data {
            In::F32(x) => In::F32(&x[elements..]),
            In::Bf16(x) => In::Bf16(&x[elements..]),
            In::I32(x) => In::I32(&x[elements..]),
            #[cfg(feature = "cuda")]
            In::Cuda(x) => In::Cuda(x.from(elements)),
        };
        Operand { data, ..self }
    }

    /// From this step on.
    pub(super) fn skip_steps(self, steps: usize) -> Self {
        self.skip(match self.order {
            Order::Steps => steps,
            Order::Lanes => steps * self.stride,
            Order::Panels => unreachable!("sums over packed operands are not cut"),
        })
    }
}

/// Fills `out` with the panels of `lanes`, each `steps.len()` long.
#[inline(always)]
pub(super) fn pack<S: Simd, const W: usize>(
    s: S,
    from: Operand<'_>,
    lanes: Range<usize>,
    steps: Range<usize>,
    out: &mut [f32],
) {
    match from.data {
        In::F32(x) => Pack::<_, W> { x, stride: from.stride, lanes, steps }.run(s, from.order, out),
        In::Bf16(x) => Pack::<_, W> { x, stride: from.stride, lanes, steps }.run(s, from.order, out),
        // `check` has refused indices.
        In::I32(_) => {}
        #[cfg(feature = "cuda")]
        In::Cuda(_) => unreachable!("a check refuses operands of another device"),
    }
}

trait Element: Copy {
    fn widen(self) -> f32;
    /// Widens `x[..8]`.
    fn load<S: Simd>(s: S, x: &[Self]) -> S::V;
    /// Asks for the cache line of `x[0]`.
    fn prefetch<S: Simd>(s: S, x: &[Self]);
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self]) -> S::V {
        s.load(x)
    }
    #[inline(always)]
    fn prefetch<S: Simd>(s: S, x: &[Self]) {
        s.prefetch(x);
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[Self]) -> S::V {
        let x = &x[..LANES];
        let mut wide = [0.0; LANES];
        for i in 0..LANES {
            wide[i] = x[i].widen();
        }
        s.load(&wide)
    }
    #[inline(always)]
    fn prefetch<S: Simd>(_: S, _: &[Self]) {}
}

struct Pack<'a, E, const W: usize> {
    x: &'a [E],
    stride: usize,
    lanes: Range<usize>,
    steps: Range<usize>,
}

/// Lanes that are copied together: whole cache lines of a row of the operand, and few enough panels that the lines
/// being written stay in the first cache.
const GROUP: usize = 6 * LINE;
/// Elements of a cache line.
const LINE: usize = 16;
/// How many steps ahead of its use a row of the operand is asked for: each may lie in a page of its own, which the
/// machine does not foresee.
const AHEAD: usize = 8;

impl<E: Element, const W: usize> Pack<'_, E, W> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S, order: Order, out: &mut [f32]) {
        if self.steps.is_empty() {
            return;
        }
        match order {
            Order::Lanes => self.copy(s, out),
            Order::Steps => {
                for (i, first) in self.lanes.clone().step_by(W).enumerate() {
                    self.transpose(s, first, &mut out[i * self.steps.len() * W..]);
                }
            }
            Order::Panels => unreachable!("packed operands are not packed again"),
        }
    }

    /// A step is consecutive in the operand.
    #[inline(always)]
    fn copy<S: Simd>(&self, s: S, out: &mut [f32]) {
        let (out, _) = out.as_chunks_mut::<W>();
        let group = GROUP / W * W;
        for first in self.lanes.clone().step_by(group) {
            let lanes = first..(first + group).min(self.lanes.end);
            let out = &mut out[(first - self.lanes.start) / W * self.steps.len()..];
            for (i, step) in self.steps.clone().enumerate() {
                let soon = self.x.get((step + AHEAD) * self.stride + lanes.start..).unwrap_or(&[]);
                for line in soon.chunks(LINE).take(GROUP / LINE) {
                    E::prefetch(s, line);
                }
                let (whole, rest) = self.x[step * self.stride..][lanes.clone()].as_chunks::<W>();
                for (panel, x) in whole.iter().enumerate() {
                    out[panel * self.steps.len() + i] = x.map(E::widen);
                }
                if !rest.is_empty() {
                    let last = &self.x[step * self.stride + lanes.end - rest.len()..];
                    out[whole.len() * self.steps.len() + i] = match last.first_chunk::<W>() {
                        Some(x) => x.map(E::widen),
                        None => std::array::from_fn(|lane| rest.get(lane).map_or(0.0, |x| x.widen())),
                    };
                }
            }
        }
    }

    /// A lane is consecutive in the operand: turns squares of eight, from lane `first` on. `out` starts with its panel.
    #[inline(always)]
    fn transpose<S: Simd>(&self, s: S, first: usize, out: &mut [f32]) {
        let steps = self.steps.len();
        // From the last lanes to the first, which then overwrite what the others left of the next step.
        for from in (0..W).step_by(LANES).rev() {
            let lanes = (self.lanes.end - first).saturating_sub(from).min(LANES);
            if lanes == 0 {
                continue;
            }
            let lane = |i: usize| &self.x[(first + from + i.min(lanes - 1)) * self.stride..][self.steps.clone()];
            // Lanes past the panel's width go where a later step or panel will be written, except at the end of `out`.
            let squares = steps.min((out.len() + W - from - LANES) / W) / LANES;
            if squares > 0 {
                let mut rows = [lane(0); LANES];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = lane(i);
                }
                for square in 0..squares {
                    let mut columns = [s.zero(); LANES];
                    for i in 0..LANES {
                        columns[i] = E::load(s, &rows[i][square * LANES..]);
                    }
                    let columns = s.transpose(columns);
                    for i in 0..LANES {
                        s.store(columns[i], &mut out[(square * LANES + i) * W + from..]);
                    }
                }
            }
            for i in 0..LANES.min(W - from) {
                for (step, x) in lane(i).iter().enumerate().skip(squares * LANES) {
                    out[step * W + from + i] = x.widen();
                }
            }
        }
    }
}
