//! Video to tokens and back: a permutation of elements.
//!
//! A video is `[batch, channels, frames, height, width]`; with `f = frames / pt`, `h = height / ph`, `w = width / pw`
//! its tokens are `[batch, f * h * w, channels * pt * ph * pw]`, ordered `(f, h, w)` row-major. Each direction is the
//! inverse and the backward pass of the other.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

const OP: &str = "patchify";

/// Extents of a video and of its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Videos.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Frames, a multiple of `patch[0]`.
    pub frames: usize,
    /// Rows of pixels, a multiple of `patch[1]`.
    pub height: usize,
    /// Pixels of a row, a multiple of `patch[2]`.
    pub width: usize,
    /// Frames, rows and columns of a patch, at least 1.
    pub patch: [usize; 3],
}

/// The order of the elements of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `(channel, frame, row, column)`: the order of a convolution's weight, for embedding patches.
    ChannelFirst,
    /// `(frame, row, column, channel)`: the order of Wan's output head.
    ChannelLast,
}

/// `to = permutation of from`
#[derive(Debug)]
pub struct Args<'a> {
    /// Video or tokens
    pub from: In<'a>,
    /// Tokens or video
    pub to: Out<'a>,
    /// Extents.
    pub grid: Grid,
    /// The order of the elements of a token.
    pub order: Order,
}

impl Grid {
    /// Patches along frames, rows and columns. The extents must be multiples of the patch.
    pub fn patches(&self) -> [usize; 3] {
        let [pt, ph, pw] = self.patch.map(|p| p.max(1));
        [self.frames / pt, self.height / ph, self.width / pw]
    }

    /// Elements of a token.
    pub fn patch_len(&self) -> usize {
        self.channels * self.patch.iter().product::<usize>()
    }

    /// The number of elements, after checking that every extent is a multiple of its patch.
    fn check(&self) -> Result<usize> {
        let [pt, ph, pw] = self.patch;
        let axes = [("frames", self.frames, pt), ("height", self.height, ph), ("width", self.width, pw)];
        for (what, got, patch) in axes {
            if patch == 0 {
                return Err(Error::Domain { op: OP, what: "patch", expected: "at least 1", got: 0 });
            }
            if got % patch != 0 {
                let expected = "a multiple of the patch";
                return Err(Error::Domain { op: OP, what, expected, got: got as i64 });
            }
        }
        extent(OP, &[self.batch, self.channels, self.frames, self.height, self.width])
    }
}

/// Cuts a video into tokens.
///
/// # Errors
/// Operands whose length is not that of the video; extents that are no multiples of the patch.
pub fn patchify(rt: &Runtime, mut args: Args<'_>) -> Result<()> {
    check(rt, &args)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(_) => args.to.write(|to| cpu::patchify(&args.from.widen(), to, args.grid, args.order)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::patchify(gpu, args)?,
    }
    Ok(())
}

/// Puts tokens together to a video.
///
/// # Errors
/// As for [`patchify`].
pub fn unpatchify(rt: &Runtime, mut args: Args<'_>) -> Result<()> {
    check(rt, &args)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(_) => args.to.write(|to| cpu::unpatchify(&args.from.widen(), to, args.grid, args.order)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::unpatchify(gpu, args)?,
    }
    Ok(())
}

fn check(rt: &Runtime, args: &Args<'_>) -> Result<()> {
    let n = args.grid.check()?;
    args.from.check(rt, OP, "from", n)?;
    args.to.check(rt, OP, "to", n)
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "tokens[b, (f, h, w), (c, pt, ph, pw)] = video[b, c, (f, pt), (h, ph), (w, pw)]"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["patchify_channel_first", "patchify_channel_last", "unpatchify_channel_first", "unpatchify_channel_last"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["batch", "channels", "f", "h", "w", "patch"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 1, 2, 2, 2, 2],
            &[1, 1, 1, 1, 1, 1],
            &[2, 0, 3, 2, 1, 2],
            &[2, 3, 0, 2, 1, 2],
            &[2, 3, 2, 0, 1, 2],
            &[2, 3, 2, 1, 0, 2],
            &[2, 5, 3, 2, 7, 2],
            &[1, 16, 3, 5, 4, 2],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 5, 4, 4, 5, 3]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4, 16, 5, 16, 16, 2]]
    }
    fn work(&self, _: &str, shape: &[usize]) -> Work {
        Work { flops: 0, bytes: 8 * grid(shape).check().unwrap_or(0) as u64 }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let grid = grid(shape);
        let n = shape[..5].iter().product::<usize>() * shape[5].max(1).pow(2);
        let order = if variant.ends_with("first") { Order::ChannelFirst } else { Order::ChannelLast };
        let cut = variant.starts_with("patchify");
        let run = if cut { patchify } else { unpatchify };
        Case::boxed(
            vec![Stored::new(operands(seed, 0, n), dtype)],
            vec![("to", Stored::unwritten(n, dtype))],
            move |rt, inputs, out| run(rt, Args { from: inputs[0].input(), to: out[0].output(), grid, order }),
            move |inputs| {
                let from = inputs[0].f64();
                let to = if cut { reference::patchify } else { reference::unpatchify };
                vec![Expected::exact(to(&from, grid, order))]
            },
        )
    }
}

/// Square patches of one frame, as Wan's, for the extents of a shape.
fn grid(shape: &[usize]) -> Grid {
    let &[batch, channels, f, h, w, patch] = shape else { unreachable!("a shape has as many entries as extents") };
    let patch = patch.max(1);
    Grid { batch, channels, frames: f, height: h * patch, width: w * patch, patch: [1, patch, patch] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_in_time_come_back() {
        let grid = Grid { batch: 2, channels: 3, frames: 4, height: 6, width: 15, patch: [2, 3, 5] };
        let video: Vec<f32> = (0..2 * 3 * 4 * 6 * 15).map(|i| i as f32).collect();
        for order in [Order::ChannelFirst, Order::ChannelLast] {
            let (mut tokens, mut back) = (vec![0.0; video.len()], vec![0.0; video.len()]);
            let rt = Runtime::cpu();
            patchify(&rt, Args { from: In::F32(&video), to: Out::F32(&mut tokens), grid, order }).unwrap();
            unpatchify(&rt, Args { from: In::F32(&tokens), to: Out::F32(&mut back), grid, order }).unwrap();
            assert_eq!(video, back);
            let wide: Vec<f64> = video.iter().map(|&x| x.into()).collect();
            let want = reference::patchify(&wide, grid, order);
            assert!(tokens.iter().zip(want).all(|(&got, want)| f64::from(got) == want), "{order:?}");
        }
    }

    #[test]
    fn extents_that_do_not_divide_are_refused() {
        let grid = Grid { batch: 1, channels: 1, frames: 1, height: 3, width: 2, patch: [1, 2, 2] };
        let mut to = [0.0; 6];
        let args = Args { from: In::F32(&[0.0; 6]), to: Out::F32(&mut to), grid, order: Order::ChannelFirst };
        assert!(matches!(patchify(&Runtime::cpu(), args), Err(Error::Domain { what: "height", got: 3, .. })));
    }
}
