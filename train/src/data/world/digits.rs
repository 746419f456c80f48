//! A handwritten digit that moves: one decision (which digit, which way) seen in every frame.

use super::{Caption, LabelKind, Sample, Split, World, captions};
use crate::data::handwriting::{ByDigit, GLYPH_SIDE, Glyph};
use crate::data::{Draws, Error, Moments, SampleKey};
use crate::video::{Clip, Geometry};

pub(super) const NAME: &str = "digits";
pub(super) const ABOUT: &str = "a handwritten digit moves one pixel a frame: `a 7 moving left`";

const GEOMETRY: Geometry = Geometry { channels: 1, frames: 8, height: SIDE, width: SIDE };
const SIDE: usize = 16;
/// How far the digit can travel before it meets the edge and turns round.
const TRAVEL: usize = SIDE - GLYPH_SIDE;
/// Distances already travelled in the first frame: `0..HEAD_STARTS`. The largest one leaves [`TRAVEL`] / 2 pixels, so
/// that the first four steps always show the captioned direction.
const HEAD_STARTS: u32 = TRAVEL as u32 / 2 + 1;

const KINDS: [LabelKind; 2] =
    [super::DIGITS, LabelKind { name: "direction", classes: &["left", "right", "up", "down"] }];

/// Moving digits: 8 frames of 16x16, one 8x8 digit moving 1 pixel a frame along one of four directions, centred in
/// the other coordinate. Having travelled 0 to 4 pixels in the first frame, it may meet the edge after the fifth frame
/// and turn round.
#[derive(Debug, Clone)]
pub struct Digits {
    training: ByDigit,
    held_out: ByDigit,
    captions: Vec<Caption>,
    moments: Moments,
}

impl Digits {
    /// The world, sorted and measured.
    ///
    /// # Errors
    /// None with the embedded images; the signature is that of measuring any images.
    pub fn new() -> Result<Self, Error> {
        let training = ByDigit::new(Split::Training);
        // The digit is always whole and inside the frame, and the rest is black: the moments are exact.
        let covered = (GLYPH_SIDE * GLYPH_SIDE) as f64 / (SIDE * SIDE) as f64;
        let moments = Moments::new(covered * training.expectation(|p| p), covered * training.expectation(|p| p * p));
        Ok(Self {
            moments: moments?,
            training,
            held_out: ByDigit::new(Split::HeldOut),
            captions: captions(&KINDS, |digit, direction| format!("a {digit} moving {direction}")),
        })
    }
}

impl World for Digits {
    fn name(&self) -> &str {
        NAME
    }

    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn captions(&self) -> &[Caption] {
        &self.captions
    }

    fn label_kinds(&self) -> &'static [LabelKind] {
        &KINDS
    }

    fn moments(&self) -> Moments {
        self.moments
    }

    fn sample(&self, split: Split, key: SampleKey) -> Result<Sample, Error> {
        let (images, domain) = match split {
            Split::Training => (&self.training, "digits/training"),
            Split::HeldOut => (&self.held_out, "digits/held-out"),
        };
        let mut draws = Draws::new(domain, key);
        let caption = draws.position(self.captions.len());
        let [digit, direction] = [self.captions[caption].labels[0], self.captions[caption].labels[1]];
        let glyphs = images.of(digit);
        let glyph = glyphs[draws.position(glyphs.len())];
        let head_start = draws.below(HEAD_STARTS) as usize;

        let mut clip = Clip::black(GEOMETRY)?;
        for frame in 0..GEOMETRY.frames {
            let [top, left] = corner(direction, head_start + frame);
            draw(&mut clip, glyph, [frame, top, left]);
        }
        Ok(Sample { clip, caption })
    }
}

/// Row and column of the digit's upper left corner after a distance: a triangle wave between the two edges.
fn corner(direction: usize, distance: usize) -> [usize; 2] {
    let phase = distance % (2 * TRAVEL);
    let travelled = phase.min(2 * TRAVEL - phase);
    let centre = TRAVEL / 2;
    match KINDS[1].classes[direction] {
        "left" => [centre, TRAVEL - travelled],
        "right" => [centre, travelled],
        "up" => [TRAVEL - travelled, centre],
        _ => [travelled, centre],
    }
}

fn draw(clip: &mut Clip, glyph: Glyph, [frame, top, left]: [usize; 3]) {
    for row in 0..GLYPH_SIDE {
        let start = GEOMETRY.offset(0, frame, top + row, left);
        for column in 0..GLYPH_SIDE {
            clip.pixels_mut()[start + column] = glyph.ink(row, column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean row and column of the ink of a frame.
    fn centroid(clip: &Clip, frame: usize) -> [f32; 2] {
        let (mut ink, mut at) = (0.0, [0.0; 2]);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let p = clip.pixel(0, frame, row, column);
                ink += p;
                at[0] += p * row as f32;
                at[1] += p * column as f32;
            }
        }
        [at[0] / ink, at[1] / ink]
    }

    #[test]
    fn the_first_four_steps_show_the_captioned_direction() {
        let world = Digits::new().unwrap();
        for index in 0..200 {
            let sample = world.sample(Split::HeldOut, SampleKey { seed: 3, stream: 0, index }).unwrap();
            let step = match world.captions()[sample.caption].text.split_whitespace().last().unwrap() {
                "left" => [0.0, -1.0],
                "right" => [0.0, 1.0],
                "up" => [-1.0, 0.0],
                _ => [1.0, 0.0],
            };
            for frame in 0..4 {
                let (a, b) = (centroid(&sample.clip, frame), centroid(&sample.clip, frame + 1));
                for axis in 0..2 {
                    assert!((b[axis] - a[axis] - step[axis]).abs() < 1e-4, "sample {index}, frame {frame}");
                }
            }
        }
    }

    #[test]
    fn the_digit_turns_round_at_the_edge() {
        assert_eq!([7, 8, 9].map(|d| corner(1, d)), [[4, 7], [4, 8], [4, 7]]);
        assert_eq!([0, 8, 15, 16].map(|d| corner(0, d)[1]), [8, 0, 7, 8]);
        assert_eq!([corner(2, 1), corner(3, 1)], [[7, 4], [1, 4]]);
    }
}
