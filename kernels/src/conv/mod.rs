//! Convolution of one frame, given the frames that its taps in time look at: `y (= or +=) conv(frames) + bias`.
//!
//! Frames are `[height, width, channels]`, channels side by side. Without resampling, with taps `kt, kh, kw` of which the
//! latter two are odd,
//!
//! ```text
//! y[r, s, n] = bias[n] + sum_{t, i, j, c} weight[n, t, i, j, c] * frames[t][r + i - kh / 2, s + j - kw / 2, c]
//! ```
//!
//! where pixels outside of a frame are zeros that are multiplied like others (so that a NaN in a weight reaches the
//! border), and a frame that is absent adds nothing. A video goes through frame by frame: the caller keeps those that are
//! still looked at, and a stream needs no copies.
//!
//! [`Sampling::Upsample`] reads every pixel as two by two of them, [`Sampling::Downsample`] keeps every other pixel of
//! every other row, both without the frame in between in memory.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod pack;
mod reference;
mod row;
mod tile;

use crate::gemm::{Write, panels_len};
use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "conv";

/// Taps along an axis at most.
pub const MAX_TAPS: usize = 3;

/// Which pixels the taps look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Those around the result's.
    Same,
    /// Those around the result's in a frame of twice the height and width, where each pixel is four (nearest neighbour).
    Upsample,
    /// Three rows from `2 r` on and three columns from `2 s` on: half the height and width, rounded down.
    Downsample,
}

/// Extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows of an input frame.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the result.
    pub out_channels: usize,
    /// Frames, rows and columns of a weight: 1 to 3 frames, 1 or 3 rows and columns. With resampling 3 rows and columns.
    pub taps: [usize; 3],
    /// Whether frames are resampled.
    pub sampling: Sampling,
}

impl Dims {
    /// Rows and columns of the result.
    pub fn output(&self) -> [usize; 2] {
        [self.height, self.width].map(|extent| match self.sampling {
            Sampling::Same => extent,
            Sampling::Upsample => extent.saturating_mul(2),
            Sampling::Downsample => extent / 2,
        })
    }

    /// Terms of each sum: the length of a row of the weight.
    pub fn terms(&self) -> usize {
        self.taps.iter().product::<usize>().saturating_mul(self.channels)
    }

    fn check(&self) -> Result<()> {
        let [kt, kh, kw] = self.taps;
        let domain = |what, expected, got| Err(Error::Domain { op: OP, what, expected, got: got as i64 });
        if !(1..=MAX_TAPS).contains(&kt) {
            return domain("taps[0]", "1 to 3", kt);
        }
        for (what, taps) in [("taps[1]", kh), ("taps[2]", kw)] {
            match self.sampling {
                Sampling::Same if taps != 1 && taps != 3 => return domain(what, "1 or 3", taps),
                Sampling::Upsample | Sampling::Downsample if taps != 3 => {
                    return domain(what, "3 with resampling", taps);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `y (= or +=) conv(frames) + bias`, all f32
#[derive(Debug)]
pub struct Args<'a> {
    /// `taps[0]` of them, the oldest first, each `[height, width, channels]`; `None` is a frame of zeros, which is passed
    /// over
    pub frames: &'a [Option<In<'a>>],
    /// `[out_channels, kt, kh, kw, channels]`, as [`crate::gemm::prepack`] lays a matrix of `out_channels` rows out
    pub weight: In<'a>,
    /// `[out_channels]`
    pub bias: Option<In<'a>>,
    /// `[rows, columns, out_channels]` of [`Dims::output`]
    pub y: Out<'a>,
    /// Whether `y` is added to.
    pub write: Write,
    /// Extents.
    pub dims: Dims,
}

/// Runs the convolution.
///
/// # Errors
/// Operands of the wrong length or type, another number of frames than taps, taps that are not supported.
pub fn conv(rt: &Runtime, args: Args<'_>) -> Result<()> {
    check(rt, &args)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::conv(gpu, args)?,
        Runtime::Cpu(isa) => {
            let Args { frames, weight, bias, y, write, dims } = args;
            let frames = frames.iter().enumerate().filter_map(|(tap, frame)| Some((tap, frame.as_ref()?.f32())));
            let frames: Vec<_> = frames.collect();
            let problem =
                cpu::Problem { frames: &frames, panels: weight.f32(), bias: bias.map(|bias| bias.f32()), write, dims };
            cpu::run(*isa, problem, y.f32());
        }
    }
    Ok(())
}

fn check(rt: &Runtime, args: &Args<'_>) -> Result<()> {
    let dims = args.dims;
    dims.check()?;
    if args.frames.len() != dims.taps[0] {
        let got = args.frames.len() as i64;
        return Err(Error::Domain { op: OP, what: "frames", expected: "as many as taps in time", got });
    }
    let frame = extent(OP, &[dims.height, dims.width, dims.channels])?;
    for x in args.frames.iter().flatten() {
        x.check_type(rt, DType::F32, OP, "frames", frame)?;
    }
    args.weight.check_type(rt, DType::F32, OP, "weight", panels_len(rt, dims.out_channels, dims.terms())?)?;
    if let Some(bias) = args.bias {
        bias.check_type(rt, DType::F32, OP, "bias", dims.out_channels)?;
    }
    let [rows, columns] = dims.output();
    args.y.check_f32(rt, OP, "y", extent(OP, &[rows, columns, dims.out_channels])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::operands;
    use crate::gemm::{Prepack, prepack};

    const DIMS: Dims =
        Dims { height: 3, width: 5, channels: 2, out_channels: 4, taps: [3, 3, 3], sampling: Sampling::Same };

    fn run(dims: Dims, frames: &[Option<&[f32]>]) -> Result<Vec<f32>> {
        let rt = Runtime::cpu();
        let weight = operands(1, 0, dims.out_channels * dims.terms());
        let (n, k) = (dims.out_channels, dims.terms());
        let mut panels = vec![0.0; panels_len(&rt, n, k)?];
        prepack(&rt, Prepack { b: In::F32(&weight), panels: Out::F32(&mut panels), n, k })?;
        let mut y = vec![0.0; dims.output().iter().product::<usize>() * n];
        let frames: Vec<_> = frames.iter().map(|frame| frame.map(In::F32)).collect();
        let (weight, y_out) = (In::F32(&panels), Out::F32(&mut y));
        conv(&rt, Args { frames: &frames, weight, bias: None, y: y_out, write: Write::Overwrite, dims })?;
        Ok(y)
    }

    #[test]
    fn absent_frames_are_frames_of_zeros() {
        let (x, zeros) = (operands(1, 1, 30), vec![0.0; 30]);
        assert_eq!(
            run(DIMS, &[None, None, Some(&x)]).unwrap(),
            run(DIMS, &[Some(&zeros), Some(&zeros), Some(&x)]).unwrap()
        );
        assert_eq!(
            run(DIMS, &[None, Some(&x), None]).unwrap(),
            run(DIMS, &[Some(&zeros), Some(&x), Some(&zeros)]).unwrap()
        );
    }

    #[test]
    fn odd_frames_lose_their_last_row_and_column_when_halved() {
        let dims = Dims { taps: [1, 3, 3], sampling: Sampling::Downsample, ..DIMS };
        assert_eq!(dims.output(), [1, 2]);
        assert_eq!(run(dims, &[Some(&operands(1, 1, 30))]).unwrap().len(), 8);
    }

    #[test]
    fn mistakes_are_refused() {
        let x = operands(1, 1, 30);
        let what = |dims, frames: &[Option<&[f32]>]| match run(dims, frames).unwrap_err() {
            Error::Domain { what, .. } => what,
            Error::Length { operand, .. } => operand,
            _ => "",
        };
        assert_eq!(what(DIMS, &[Some(&x)]), "frames");
        assert_eq!(what(DIMS, &[None, None, Some(&x[1..])]), "frames");
        assert_eq!(what(Dims { taps: [4, 3, 3], ..DIMS }, &[None; 4]), "taps[0]");
        assert_eq!(what(Dims { taps: [1, 2, 3], ..DIMS }, &[None]), "taps[1]");
        let plane = Dims { taps: [1, 3, 1], sampling: Sampling::Upsample, ..DIMS };
        assert_eq!(what(plane, &[None]), "taps[2]");
    }
}
