//! The norm on a GPU: a team of threads a row.

use bytemuck::NoUninit;

use super::{Activation, Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source, Teams, by_slots, row_width};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/unit_norm.ptx")) };

/// `Problem` in `unit_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Problem {
    x: Operand,
    weight: Operand,
    y: Operand,
    rows: u64,
    width: u32,
    team_size: u32,
    silu: u32,
    unused: u32,
}

pub(super) fn unit_norm(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let Args { x, weight, y, rows, width, activation } = args;
    let teams = Teams::new(width);
    let kernel = by_slots(width, ["unit_norm_vectors", "unit_norm_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(Problem {
        x: x.into(),
        weight: weight.into(),
        y: y.into(),
        rows: rows as u64,
        width: row_width(OP, width)?,
        team_size: teams.size,
        silu: u32::from(activation == Activation::Silu),
        unused: 0,
    });
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands.
    unsafe { launch.run(teams.grid(gpu, rows)) }
}
