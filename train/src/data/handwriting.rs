//! The embedded handwritten digits, and the images held out from training.
//!
//! 1797 images of 8x8 pixels by E. Alpaydin and C. Kaynak (UCI, CC BY 4.0); `assets/digits` names source, licence and
//! format. The first 1437 are for training and the last 360 are held out: no image is in both parts.

use super::Split;

/// Rows, and columns, of an image.
pub const GLYPH_SIDE: usize = 8;
/// Images for training.
pub const TRAINING_GLYPHS: usize = 1437;
/// Images held out.
pub const HELD_OUT_GLYPHS: usize = 360;

const PIXELS: usize = GLYPH_SIDE * GLYPH_SIDE;
const RECORD: usize = PIXELS + 1;
/// The value of full ink in the file.
const INK: f32 = 16.0;

static FILE: &[u8; (TRAINING_GLYPHS + HELD_OUT_GLYPHS) * RECORD] = include_bytes!("../../../assets/digits/digits.bin");

/// One handwritten digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyph {
    record: &'static [u8],
}

impl Glyph {
    /// The digit, 0 to 9.
    pub fn digit(self) -> usize {
        usize::from(self.record[PIXELS])
    }

    /// Ink at a row and a column below [`GLYPH_SIDE`], in 0..=1 (a multiple of 1/16).
    pub fn ink(self, row: usize, column: usize) -> f32 {
        f32::from(self.record[row * GLYPH_SIDE + column]) / INK
    }
}

/// The images of a part, in the order of the file.
pub fn glyphs(split: Split) -> impl ExactSizeIterator<Item = Glyph> + Clone {
    let (training, held_out) = FILE.split_at(TRAINING_GLYPHS * RECORD);
    let part = match split {
        Split::Training => training,
        Split::HeldOut => held_out,
    };
    part.chunks_exact(RECORD).map(|record| Glyph { record })
}

/// The images of a part sorted by digit, so that a world can draw a digit first and its handwriting second.
#[derive(Debug, Clone)]
pub(crate) struct ByDigit([Vec<Glyph>; 10]);

impl ByDigit {
    /// Sorts a part.
    pub(crate) fn new(split: Split) -> Self {
        let mut sorted: [Vec<Glyph>; 10] = Default::default();
        for glyph in glyphs(split) {
            sorted[glyph.digit()].push(glyph);
        }
        Self(sorted)
    }

    /// The images of a digit; never empty.
    pub(crate) fn of(&self, digit: usize) -> &[Glyph] {
        &self.0[digit]
    }

    /// Mean over digits of the mean over their images of `of(ink)`, averaged over pixels: the expectation under "a
    /// digit uniformly, then one of its images uniformly".
    pub(crate) fn expectation(&self, of: impl Fn(f64) -> f64) -> f64 {
        let image_mean = |g: &Glyph| g.record[..PIXELS].iter().map(|&v| of(f64::from(v) / f64::from(INK))).sum::<f64>();
        let digit_mean = |images: &Vec<Glyph>| images.iter().map(image_mean).sum::<f64>() / images.len() as f64;
        self.0.iter().map(digit_mean).sum::<f64>() / (10 * PIXELS) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_a_digit() {
        for split in [Split::Training, Split::HeldOut] {
            for glyph in glyphs(split) {
                assert!(glyph.digit() < 10);
                assert!(glyph.record[..PIXELS].iter().all(|&v| v <= 16));
            }
        }
    }

    #[test]
    fn the_parts_are_balanced() {
        let counts = |split| {
            let by_digit = ByDigit::new(split);
            std::array::from_fn::<usize, 10, _>(|d| by_digit.of(d).len())
        };
        assert_eq!(counts(Split::Training), [143, 146, 142, 146, 144, 145, 144, 143, 141, 143]);
        assert_eq!(counts(Split::HeldOut), [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]);
    }

    #[test]
    fn no_image_is_in_both_parts() {
        let pixels = |g: Glyph| g.record[..PIXELS].to_vec();
        let training: std::collections::BTreeSet<_> = glyphs(Split::Training).map(pixels).collect();
        assert!(glyphs(Split::HeldOut).all(|g| !training.contains(&pixels(g))));
    }
}
