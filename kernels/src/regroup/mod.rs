//! The shortcuts without weights of Wan 2.2's autoencoder: a frame in another resolution, with another number of channels.
//!
//! With a step of `ft` frames and `fs` rows and columns, `of(c, dt, i, j) = ((c * ft + dt) * fs + i) * fs + j`,
//!
//! ```text
//! average     y[r, s, n] += mean of frames[dt][r fs + i, s fs + j, c] over all (c, dt, i, j) with of(c, dt, i, j) / g = n
//!             where g = channels ft fs^2 / out_channels
//! duplicate   y[r fs + i, s fs + j, n] += frame[r, s, of(n, dt, i, j) / d]    where d = out_channels ft fs^2 / channels
//! ```
//!
//! (diffusers' `AvgDown3D` and `DupUp3D`; the latter one frame `dt` of its result at a time.)

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "regroup";

/// Extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows of the smaller frame.
    pub height: usize,
    /// Columns of the smaller frame.
    pub width: usize,
    /// Channels of what is read.
    pub channels: usize,
    /// Channels of what is added to.
    pub out_channels: usize,
    /// Frames of a step: 1 or 2.
    pub frames: usize,
    /// Rows and columns of a step: 1 or 2.
    pub side: usize,
}

impl Dims {
    /// Elements of the larger resolution, all frames of a step, for each of the smaller one.
    pub fn step(&self) -> usize {
        self.frames * self.side * self.side
    }

    /// Elements of a frame in the smaller and in the larger resolution.
    fn frame_lens(&self, channels: [usize; 2]) -> Result<[usize; 2]> {
        let small = extent(OP, &[self.height, self.width, channels[0]])?;
        Ok([small, extent(OP, &[self.height, self.width, self.side * self.side, channels[1]])?])
    }

    fn check(&self, numerator: usize, denominator: usize, what: &'static str) -> Result<()> {
        let domain = |what, expected, got| Err(Error::Domain { op: OP, what, expected, got: got as i64 });
        for (what, got) in [("frames", self.frames), ("side", self.side)] {
            if !(1..=2).contains(&got) {
                return domain(what, "1 or 2", got);
            }
        }
        let whole = extent(OP, &[numerator, self.step()])?;
        if denominator > 0 && !whole.is_multiple_of(denominator) {
            return domain(what, "a divisor of the other channels times the step", denominator);
        }
        Ok(())
    }
}

/// `y_acc += mean of groups of frames`
#[derive(Debug)]
pub struct Average<'a> {
    /// `dims.frames` of them, each f32 `[height * side, width * side, channels]`; `None` is a frame of zeros
    pub frames: &'a [Option<In<'a>>],
    /// f32 `[height, width, out_channels]`
    pub y_acc: Out<'a>,
    /// Extents; `out_channels` divides `channels` times the step.
    pub dims: Dims,
}

/// `y_acc += copies of frame`
#[derive(Debug)]
pub struct Duplicate<'a> {
    /// f32 `[height, width, channels]`
    pub frame: In<'a>,
    /// f32 `[height * side, width * side, out_channels]`
    pub y_acc: Out<'a>,
    /// Which frame of the step.
    pub at: usize,
    /// Extents; `channels` divides `out_channels` times the step.
    pub dims: Dims,
}

/// Runs it.
///
/// # Errors
/// Operands of the wrong length or type, another number of frames, channels that do not divide.
pub fn average(rt: &Runtime, args: Average<'_>) -> Result<()> {
    let dims = args.dims;
    dims.check(dims.channels, dims.out_channels, "out_channels")?;
    if args.frames.len() != dims.frames {
        let got = args.frames.len() as i64;
        return Err(Error::Domain { op: OP, what: "frames", expected: "as many as `dims` says", got });
    }
    let [small, large] = dims.frame_lens([dims.out_channels, dims.channels])?;
    for frame in args.frames.iter().flatten() {
        frame.check_type(rt, DType::F32, OP, "frames", large)?;
    }
    args.y_acc.check_f32(rt, OP, "y_acc", small)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::average(gpu, args)?,
        Runtime::Cpu(_) => {
            let frames: Vec<_> = args.frames.iter().map(|frame| frame.as_ref().map(In::f32)).collect();
            cpu::average(dims, &frames, args.y_acc.f32());
        }
    }
    Ok(())
}

/// Runs it.
///
/// # Errors
/// Operands of the wrong length or type, a frame that is not of the step, channels that do not divide.
pub fn duplicate(rt: &Runtime, args: Duplicate<'_>) -> Result<()> {
    let dims = args.dims;
    dims.check(dims.out_channels, dims.channels, "channels")?;
    if args.at >= dims.frames {
        return Err(Error::Domain { op: OP, what: "at", expected: "below `frames`", got: args.at as i64 });
    }
    let [small, large] = dims.frame_lens([dims.channels, dims.out_channels])?;
    args.frame.check_type(rt, DType::F32, OP, "frame", small)?;
    args.y_acc.check_f32(rt, OP, "y_acc", large)?;
    if dims.channels == 0 {
        return Ok(());
    }
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::duplicate(gpu, args)?,
        Runtime::Cpu(_) => cpu::duplicate(dims, args.at, args.frame.f32(), args.y_acc.f32()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_refused() {
        let dims = Dims { height: 1, width: 1, channels: 3, out_channels: 5, frames: 2, side: 1 };
        let what = |result: Result<()>| match result.unwrap_err() {
            Error::Domain { what, .. } => what,
            Error::Length { operand, .. } => operand,
            _ => "",
        };
        let (rt, x, mut y) = (Runtime::cpu(), [0.0; 8], [0.0; 8]);
        let mut averaged = |dims, frames: &[Option<In<'_>>]| {
            what(average(&rt, Average { frames, y_acc: Out::F32(&mut y[..5]), dims }))
        };
        assert_eq!(averaged(dims, &[None, None]), "out_channels");
        let dims = Dims { channels: 5, ..dims };
        assert_eq!(averaged(dims, &[None]), "frames");
        assert_eq!(averaged(dims, &[Some(In::F32(&x)), None]), "frames");
        assert_eq!(averaged(Dims { side: 3, ..dims }, &[None, None]), "side");
        let mut duplicated = |dims, at| {
            let frame = In::F32(&x[..5]);
            what(duplicate(&rt, Duplicate { frame, y_acc: Out::F32(&mut y[..4]), at, dims }))
        };
        assert_eq!(duplicated(dims, 2), "at");
        assert_eq!(duplicated(dims, 0), "y_acc");
        assert_eq!(duplicated(Dims { channels: 4, ..dims }, 0), "channels");
    }
}
