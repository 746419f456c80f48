//! A digit that counts: the handwriting is redrawn in every frame, so each frame is a decision of its own.
//!
//! With little energy per decision the probability-flow path is curved, and a sampler of few steps fails unless it was
//! distilled. Moving digits do not show that: one decision, repeated over eight frames, is taken early.

use super::{Caption, LabelKind, Sample, Split, World, captions};
use crate::data::handwriting::{ByDigit, GLYPH_SIDE};
use crate::data::{Draws, Error, Moments, SampleKey};
use crate::video::{Clip, Geometry};

pub(super) const NAME: &str = "counter";
pub(super) const ABOUT: &str = "a digit counts, redrawn by another hand in every frame: `counting up from 3`";

const GEOMETRY: Geometry = Geometry { channels: 1, frames: 8, height: GLYPH_SIDE, width: GLYPH_SIDE };

const KINDS: [LabelKind; 2] = [
    LabelKind { name: "start", classes: super::DIGITS.classes },
    LabelKind { name: "direction", classes: &["up", "down"] },
];

/// Counting digits: 8 frames of 8x8; frame `f` shows a random image of the digit `(start + f) mod 10`, or
/// `(start - f) mod 10`. The caption says start and direction, and therefore the digit of every frame.
#[derive(Debug, Clone)]
pub struct Counter {
    training: ByDigit,
    held_out: ByDigit,
    captions: Vec<Caption>,
    moments: Moments,
}

impl Counter {
    /// The world, sorted and measured.
    ///
    /// # Errors
    /// None with the embedded images; the signature is that of measuring any images.
    pub fn new() -> Result<Self, Error> {
        let training = ByDigit::new(Split::Training);
        // Start and direction are uniform, hence so is the digit of each frame: the moments are exact.
        let moments = Moments::new(training.expectation(|p| p), training.expectation(|p| p * p));
        Ok(Self {
            moments: moments?,
            training,
            held_out: ByDigit::new(Split::HeldOut),
            captions: captions(&KINDS, |start, direction| format!("counting {direction} from {start}")),
        })
    }

    /// The digit that a caption's labels ask for in a frame.
    pub fn digit(caption: &Caption, frame: usize) -> usize {
        let (start, steps) = (caption.labels[0], frame % 10);
        match KINDS[1].classes[caption.labels[1]] {
            "up" => (start + steps) % 10,
            _ => (start + 10 - steps) % 10,
        }
    }
}

impl World for Counter {
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
            Split::Training => (&self.training, "counter/training"),
            Split::HeldOut => (&self.held_out, "counter/held-out"),
        };
        let mut draws = Draws::new(domain, key);
        let caption = draws.position(self.captions.len());
        let mut clip = Clip::black(GEOMETRY)?;
        for (frame, pixels) in clip.pixels_mut().chunks_exact_mut(GLYPH_SIDE * GLYPH_SIDE).enumerate() {
            let glyphs = images.of(Self::digit(&self.captions[caption], frame));
            let glyph = glyphs[draws.position(glyphs.len())];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                *pixel = glyph.ink(i / GLYPH_SIDE, i % GLYPH_SIDE);
            }
        }
        Ok(Sample { clip, caption })
    }

    fn frame_digit(&self, caption: usize, frame: usize) -> Option<usize> {
        self.captions.get(caption).map(|caption| Self::digit(caption, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::glyphs;

    /// The digit whose image a frame is, if it is one of the training images.
    fn recognise(clip: &Clip, frame: usize) -> Option<usize> {
        let same = |row: usize, column: usize, ink: f32| clip.pixel(0, frame, row, column) == ink;
        glyphs(Split::Training)
            .find(|g| (0..64).all(|i| same(i / 8, i % 8, g.ink(i / 8, i % 8))))
            .map(|glyph| glyph.digit())
    }

    #[test]
    fn every_frame_is_an_image_of_its_digit() {
        let world = Counter::new().unwrap();
        for index in 0..40 {
            let sample = world.sample(Split::Training, SampleKey { seed: 3, stream: 0, index }).unwrap();
            let caption = &world.captions()[sample.caption];
            let words: Vec<_> = caption.text.split_whitespace().collect();
            let start: usize = words[3].parse().unwrap();
            for frame in 0..8 {
                let expected = if words[1] == "up" { start + frame } else { start + 10 - frame } % 10;
                assert_eq!(recognise(&sample.clip, frame), Some(expected), "{}, frame {frame}", caption.text);
            }
        }
    }
}
