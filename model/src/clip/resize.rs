//! Bicubic resizing with the bits of PIL (`Resample.c`, 8 bits a channel): along rows, then along columns, each output a
//! sum with weights in fixed point, rounded to a whole number behind either pass.
//!
//! The order matters to the last bit. Up to PIL 11.3 at least rows come first, as here and as when encoders were trained;
//! PIL 13.0 was seen to take columns first in images more than twice as tall as wide, which moves single pixels of noise
//! by up to 27 of 255 in the resized image.

/// Bits behind the point of a weight.
const PRECISION: u32 = 22;
/// Pixels to either side that the filter reaches, where the image does not shrink.
const SUPPORT: f64 = 2.0;

/// One direction: `from` pixels become `to`, of which `len` from `start` on are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What one output is a sum of.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// `pixels [rows.from, columns.from, 3]` resized: `[rows.len, columns.len, 3]`.
pub(super) fn resize(pixels: &[u8], rows: Axis, columns: Axis) -> Vec<u8> {
    let (vertical, horizontal) = (rows.taps(), columns.taps());
    let first = vertical.iter().map(|tap| tap.first).min().unwrap_or(0);
    let end = vertical.iter().map(|tap| tap.first + tap.weights.len()).max().unwrap_or(0);
    let mut between = Vec::with_capacity((end - first) * columns.len * 3);
    for row in pixels.chunks_exact(columns.from * 3).take(end).skip(first) {
        for tap in &horizontal {
            between.extend(tap.apply(|i| &row[i * 3..]));
        }
    }
    let mut out = Vec::with_capacity(rows.len * columns.len * 3);
    for tap in &vertical {
        for column in 0..columns.len {
            out.extend(tap.apply(|i| &between[((i - first) * columns.len + column) * 3..]));
        }
    }
    out
}

impl Tap {
    /// The sum over pixels, given the slice that begins with each.
    fn apply<'a>(&self, pixel: impl Fn(usize) -> &'a [u8]) -> [u8; 3] {
        let mut sums = [1i32 << (PRECISION - 1); 3];
        for (i, weight) in self.weights.iter().enumerate() {
            for (sum, &value) in sums.iter_mut().zip(pixel(self.first + i)) {
                *sum += i32::from(value) * weight;
            }
        }
        sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8)
    }
}

impl Axis {
    fn taps(&self) -> Vec<Tap> {
        (self.start..self.start + self.len).map(|at| self.tap(at)).collect()
    }

    fn tap(&self, at: usize) -> Tap {
        if self.from == self.to {
            return Tap { first: at, weights: vec![1 << PRECISION] };
        }
        let scale = self.from as f64 / self.to as f64;
        let stretch = scale.max(1.0);
        let (center, support) = ((at as f64 + 0.5) * scale, SUPPORT * stretch);
        // Casts cut towards zero and at zero.
        let first = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(self.from);
        let inverse = 1.0 / stretch;
        let weights = (first..end).map(|i| bicubic((i as f64 - center + 0.5) * inverse));
        let weights: Vec<f64> = weights.collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| {
            let scaled = if sum == 0.0 { weight } else { weight / sum } * f64::from(1 << PRECISION);
            (scaled + 0.5f64.copysign(scaled)) as i32
        };
        Tap { first, weights: weights.into_iter().map(fixed).collect() }
    }
}

/// Keys' cubic convolution with `a = -0.5`.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
