//! AdamW on a GPU: one pass over all elements, four at a time where all operands' addresses allow it.

use super::cpu::Factors;
use super::{Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/adamw.ptx")) };

pub(super) fn step(gpu: &Gpu, args: Args<'_>, factors: Factors) -> Result<()> {
    let n = args.param.len();
    let decay = args.average.as_ref().map_or(1.0, |follow| follow.decay);
    let (shadow, average) = (args.shadow.into(), args.average.map(|follow| follow.average).into());
    // `State` and `Follow` in adamw.cu.
    let state: [Operand; 6] = [args.param.into(), args.grad.into(), args.m.into(), args.v.into(), shadow, average];
    let follow = [decay, 1.0 - decay];
    let launch = Launch::new(gpu, OP, &SOURCE, OP)?.arg(state).arg(factors).arg(follow);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in every operand that is present.
    unsafe { launch.run_over(n, &state) }
}
