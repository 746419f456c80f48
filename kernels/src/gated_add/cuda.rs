//! The gated residual connection on a GPU.

use super::{Backward, Forward, OP};
use crate::Result;
use crate::groups::Groups;
use crate::runtime::cuda::{Gpu, Launch, Operand, RowSums, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/gated_add.ptx")) };

pub(super) fn forward(gpu: &Gpu, groups: Groups, args: Forward<'_>) -> Result<()> {
    map(gpu, "gated_add_forward", groups, [args.x.into(), args.h.into(), args.gate.into(), args.y.into()])
}

pub(super) fn backward(gpu: &'static Gpu, groups: Groups, args: Backward<'_>) -> Result<()> {
    let (gate, dy, dh) = (args.gate.into(), args.dy.into(), args.dh.into());
    let Some(dgate) = args.dgate_acc.map(Operand::from) else {
        return map(gpu, "gated_add_backward", groups, [gate, dy, dh]);
    };
    if groups.rows == 0 {
        return Ok(());
    }
    let sums = RowSums::new(groups.rows / groups.rows_per_group, groups.rows_per_group, groups.width);
    let h = Operand::from(args.h);
    let first = |dgate: Operand, shape: RowSums| {
        let launch = Launch::new(gpu, OP, &SOURCE, "gated_add_backward_gate")?;
        Ok(launch.args([h, gate, dy, dh, dgate]).arg(shape))
    };
    // SAFETY: `check` found `[rows, width]` in `h`, `dy` and `dh` and `[groups, width]` in `gate` and `dgate`.
    unsafe { sums.run(gpu, OP, &[h, gate, dy, dh], dgate, first) }
}

/// The operands are `[rows, width]` or, the gate, `[groups, width]`.
fn map<const N: usize>(gpu: &Gpu, kernel: &'static str, groups: Groups, operands: [Operand; N]) -> Result<()> {
    let Groups { rows, width, rows_per_group } = groups;
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.args(operands).extents([rows, width, rows_per_group]);
    // SAFETY: the kernel touches rows below `rows`, their groups, and elements of both below `width`; `check` found them.
    unsafe { launch.run_over_rows(rows, width, &operands) }
}

#[cfg(test)]
mod tests {
    use crate::catalog::operands;
    use crate::gated_add::{Backward, backward};
    use crate::runtime::cuda::{Gpu, Memory};
    use crate::{DType, In, Out, Result, Runtime};

    const GROUPS: usize = 2;
    const ROWS_PER_GROUP: usize = 70;
    const WIDTH: usize = 36;

    /// `dh` and the gate's gradient, with every operand `first` elements into its memory.
    fn gradients(gpu: &'static Gpu, first: usize) -> Result<[Vec<u8>; 2]> {
        let (n, gates) = (GROUPS * ROWS_PER_GROUP * WIDTH, GROUPS * WIDTH);
        let mut memories = Vec::new();
        for (stream, len) in [n, gates, n, n, gates].into_iter().enumerate() {
            let mut memory = Memory::new(gpu, (first + len) * DType::F32.size())?;
            memory.upload(first * 4, bytemuck::cast_slice(&operands(3, stream as u64, len)))?;
            memories.push(memory);
        }
        let [h, gate, dy, dh, dgate] = &mut memories[..] else { unreachable!("five lengths above") };
        let args = Backward {
            h: In::Cuda(h.slice(first, n, DType::F32)),
            gate: Some(In::Cuda(gate.slice(first, gates, DType::F32))),
            dy: In::Cuda(dy.slice(first, n, DType::F32)),
            dh: Out::Cuda(dh.slice_mut(first, n, DType::F32)),
            dgate_acc: Some(Out::Cuda(dgate.slice_mut(first, gates, DType::F32))),
            rows: GROUPS * ROWS_PER_GROUP,
            width: WIDTH,
            rows_per_group: ROWS_PER_GROUP,
        };
        backward(&Runtime::Cuda(gpu), args)?;
        let mut bytes = [vec![0; 4 * n], vec![0; 4 * gates]];
        dh.download(first * 4, &mut bytes[0])?;
        dgate.download(first * 4, &mut bytes[1])?;
        Ok(bytes)
    }

    /// Four columns a thread or one, in two pieces a group: where an operand lies does not show in the bits.
    #[test]
    fn the_place_of_operands_does_not_show() -> Result<()> {
        let gpu = Gpu::open(0)?;
        assert_eq!(gradients(gpu, 0)?, gradients(gpu, 1)?);
        Ok(())
    }
}
