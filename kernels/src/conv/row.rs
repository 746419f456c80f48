//! The catalog's row of the convolution.

use super::{Args, Dims, OP, Sampling, conv, reference};
use crate::catalog::{Expected, Kernel, Problem, Stored, Work, operands};
use crate::gemm::{Prepack, Write, panels_len, prepack};
use crate::{DType, In, Result, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

/// What a variant is.
struct Form {
    taps: [usize; 3],
    sampling: Sampling,
    /// Frames that are there.
    present: usize,
    write: Write,
    bias: bool,
}

impl Form {
    fn of(variant: &str) -> Self {
        let causal = Form { taps: [3; 3], sampling: Sampling::Same, present: 3, write: Write::Overwrite, bias: true };
        let plane = Form { taps: [1, 3, 3], present: 1, ..causal };
        match variant {
            "causal" => causal,
            "causal_residual" => Form { write: Write::Accumulate, ..causal },
            "causal_first" => Form { present: 1, ..causal },
            "causal_absent" => Form { present: 0, ..causal },
            "time" => Form { taps: [3, 1, 1], bias: false, ..causal },
            "upsample" => Form { sampling: Sampling::Upsample, ..plane },
            _ => Form { sampling: Sampling::Downsample, ..plane },
        }
    }

    fn dims(&self, shape: &[usize]) -> Dims {
        let &[height, width, channels, out_channels] = shape else { unreachable!("four extents below") };
        Dims { height, width, channels, out_channels, taps: self.taps, sampling: self.sampling }
    }
}

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y[r, s, n] (= or +=) bias[n] + sum_{t, i, j, c} weight[n, t, i, j, c] * frames[t][r + i - 1, s + j - 1, c]"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["causal", "causal_residual", "causal_first", "causal_absent", "time", "upsample", "downsample"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["height", "width", "channels", "out_channels"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        // The last ones have several tasks, several parts of the sums, several regions.
        &[
            &[0, 3, 2, 3],
            &[3, 0, 2, 3],
            &[2, 3, 0, 5],
            &[3, 2, 4, 0],
            &[1, 1, 1, 1],
            &[2, 2, 1, 3],
            &[3, 7, 5, 17],
            &[7, 4, 9, 33],
            &[35, 3, 3, 5],
            &[3, 5, 201, 7],
            &[2, 147, 3, 2],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[9, 20, 30, 40]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[30, 52, 96, 96], &[120, 208, 96, 96], &[60, 104, 192, 192], &[30, 52, 384, 384]]
    }
    fn dtypes(&self) -> &'static [DType] {
        &[DType::F32]
    }
    fn multiplies_padding(&self) -> bool {
        true
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let form = Form::of(variant);
        let (dims, frames) = (form.dims(shape), form.present);
        let [height, width] = dims.output();
        let weight = dims.terms() / dims.taps[0] * frames * dims.out_channels;
        let (x, y) = (frames * dims.height * dims.width * dims.channels, height * width * dims.out_channels);
        Work { flops: 2 * (height * width * weight) as u64, bytes: 4 * (x + weight + y) as u64 }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let form = Form::of(variant);
        let Form { present, write, bias, .. } = form;
        let dims = form.dims(shape);
        let stored = |stream, len| Stored::new(operands(seed, stream, len), dtype);
        let (frame, y) = (dims.height * dims.width * dims.channels, dims.output().iter().product::<usize>());
        let y = y * dims.out_channels;
        let before = if write == Write::Accumulate { stored(5, y) } else { Stored::unwritten(y, dtype) };
        Box::new(Conv {
            frames: (0..present as u64).map(|i| stored(i, frame)).collect(),
            weight: stored(3, dims.out_channels * dims.terms()),
            bias: stored(4, if bias { dims.out_channels } else { 0 }),
            y: before.clone(),
            before,
            dims,
            write,
        })
    }
}

struct Conv {
    /// The last ones.
    frames: Vec<Stored>,
    weight: Stored,
    bias: Stored,
    y: Stored,
    before: Stored,
    dims: Dims,
    write: Write,
}

impl Conv {
    /// One for each tap.
    fn frames<T: Clone>(&self, of: impl Fn(&Stored) -> T) -> Vec<Option<T>> {
        let mut frames = vec![None; self.dims.taps[0] - self.frames.len()];
        frames.extend(self.frames.iter().map(|frame| Some(of(frame))));
        frames
    }
}

impl Problem for Conv {
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        let (n, k) = (self.dims.out_channels, self.dims.terms());
        let mut panels = Stored::unwritten(panels_len(rt, n, k)?, DType::F32).on(rt)?;
        prepack(rt, Prepack { b: self.weight.input(), panels: panels.output(), n, k })?;
        let mut frames: [Option<In<'_>>; 3] = [None; 3];
        let absent = self.dims.taps[0] - self.frames.len();
        for (to, frame) in frames[absent..].iter_mut().zip(&self.frames) {
            *to = Some(frame.input());
        }
        let (frames, weight) = (&frames[..self.dims.taps[0]], panels.input());
        let bias = Some(self.bias.input()).filter(|bias| !bias.is_empty());
        conv(rt, Args { frames, weight, bias, y: self.y.output(), write: self.write, dims: self.dims })
    }

    fn reset(&mut self) {
        self.y.clone_from(&self.before);
    }

    fn operands(&mut self) -> Vec<&mut Stored> {
        let Conv { frames, weight, bias, before, .. } = self;
        frames.iter_mut().chain([weight, bias, before]).collect()
    }

    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        vec![("y", self.y.f32())]
    }

    fn expected(&self) -> Vec<Expected> {
        let (frames, weight, bias) = (self.frames(Stored::f64), self.weight.f64(), self.bias.f64());
        let before = if self.write == Write::Accumulate { self.before.f64() } else { Vec::new() };
        let ([height, width], n) = (self.dims.output(), self.dims.out_channels);
        let element = |i: usize| {
            let at = [i / n / width, i / n % width, i % n];
            let (sum, scale) = reference::element(self.dims, &frames, &weight, at);
            let others = [bias.get(i % n), before.get(i)].map(|x| x.copied().unwrap_or(0.0));
            (sum + others[0] + others[1], scale + others[0].abs() + others[1].abs())
        };
        let (value, scale) = (0..height * width * n).map(element).unzip();
        vec![Expected::reduction(value, scale, self.dims.terms() + 2)]
    }
}
