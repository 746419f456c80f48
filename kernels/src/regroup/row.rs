//! The catalog's row of the shortcuts.

use super::{Average, Dims, Duplicate, OP, average, duplicate, reference};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, In, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

/// Frames and side of a step, for an average the frames of it that are absent, for a copy the frame that is written.
fn parse(variant: &str) -> (usize, usize, usize) {
    match variant {
        "average" => (2, 2, 0),
        "average_first" => (2, 2, 1),
        "average_channels" => (1, 1, 0),
        "duplicate" => (2, 2, 1),
        _ => (1, 2, 0),
    }
}

/// Of a shape's `base` channels and `ratio`, the more and the fewer channels.
fn dims(variant: &str, shape: &[usize]) -> Dims {
    let &[height, width, base, ratio] = shape else { unreachable!("four extents below") };
    let (frames, side, _) = parse(variant);
    // The step times the fewer channels is a multiple of the more, for a ratio that divides the step.
    let step = frames * side * side;
    let ratio = [1, 2, 4, 8][ratio.min(3)].min(step);
    // A mean may be over channels too, then of any number.
    let (channels, out_channels) = match variant {
        "average_channels" => (base * (1 + shape[3]), base),
        "average" | "average_first" => (base, base * ratio),
        _ => (base * ratio, base),
    };
    Dims { height, width, channels, out_channels, frames, side }
}

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y += mean of groups of (c, dt, i, j), or copies of a channel to groups of them"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["average", "average_first", "average_channels", "duplicate", "duplicate_frame"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["height", "width", "base", "ratio"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 2, 3, 1],
            &[2, 0, 3, 1],
            &[2, 3, 0, 1],
            &[2, 3, 5, 0],
            &[1, 1, 1, 1],
            &[3, 5, 7, 2],
            &[5, 3, 4, 3],
            &[61, 3, 33, 1],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[5, 7, 9, 3]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[30, 52, 160, 1]]
    }
    fn dtypes(&self) -> &'static [DType] {
        &[DType::F32]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let dims = dims(variant, shape);
        let pixels = (dims.height * dims.width) as u64;
        let (step, channels, out) = (dims.step() as u64, dims.channels as u64, dims.out_channels as u64);
        match variant.starts_with("average") {
            true => Work { flops: pixels * step * channels, bytes: 4 * pixels * (step * channels + 2 * out) },
            false => {
                let results = pixels * (dims.side * dims.side) as u64 * out;
                Work { flops: results, bytes: 4 * (pixels * channels + 2 * results) }
            }
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], _: DType, seed: u64) -> Box<dyn Problem> {
        let (dims, (.., at)) = (dims(variant, shape), parse(variant));
        let pixels = dims.height * dims.width;
        let large = pixels * dims.side * dims.side;
        if variant.starts_with("average") {
            averages(dims, at, [large * dims.channels, pixels * dims.out_channels], seed)
        } else {
            duplicates(dims, at, [pixels * dims.channels, large * dims.out_channels], seed)
        }
    }
}

fn averages(dims: Dims, absent: usize, [x, y]: [usize; 2], seed: u64) -> Box<dyn Problem> {
    let inputs = (0..dims.frames - absent).map(|i| Stored::F32(operands(seed, i as u64, x))).collect();
    let before = operands(seed, 9, y);
    let outputs = vec![("y", Stored::F32(before.clone()))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let mut frames: [Option<In<'_>>; 2] = [None; 2];
        for (to, frame) in frames[absent..].iter_mut().zip(inputs) {
            *to = Some(frame.input());
        }
        average(rt, Average { frames: &frames[..dims.frames], y_acc: outputs[0].output(), dims })
    };
    Case::boxed(inputs, outputs, call, move |inputs| {
        let mut frames = vec![Vec::new(); absent];
        frames.extend(inputs.iter().map(Stored::f64));
        let element = |(i, before): (usize, &f32)| {
            let n = dims.out_channels;
            let (mean, scale) = reference::average(dims, &frames, [i / n / dims.width, i / n % dims.width, i % n]);
            (f64::from(*before) + mean, f64::from(before.abs()) + scale)
        };
        let (value, scale) = before.iter().enumerate().map(element).unzip();
        vec![Expected::reduction(value, scale, dims.channels * dims.step() + 2)]
    })
}

fn duplicates(dims: Dims, at: usize, [x, y]: [usize; 2], seed: u64) -> Box<dyn Problem> {
    let before = operands(seed, 9, y);
    let outputs = vec![("y", Stored::F32(before.clone()))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        duplicate(rt, Duplicate { frame: inputs[0].input(), y_acc: outputs[0].output(), at, dims })
    };
    Case::boxed(vec![Stored::F32(operands(seed, 0, x))], outputs, call, move |inputs| {
        let frame = inputs[0].f64();
        let element = |(i, before): (usize, &f32)| {
            let (n, columns) = (dims.out_channels, dims.width * dims.side);
            let copy = reference::duplicate(dims, at, &frame, [i / n / columns, i / n % columns, i % n]);
            (f64::from(*before) + copy, f64::from(before.abs()) + copy.abs())
        };
        let (value, scale) = before.iter().enumerate().map(element).unzip();
        vec![Expected::reduction(value, scale, 2)]
    })
}
