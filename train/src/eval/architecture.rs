//! The evaluation network's layers, derived from what a world shows.

use crate::data::World;

/// Width of the features.
pub const FEATURES: usize = 64;

/// Kernel extent in each dimension that a layer sees.
const KERNEL: usize = 3;
/// Widths of the convolutions; the last one repeats.
const WIDTHS: [usize; 3] = [16, 32, 64];
/// The most convolutions.
const DEPTH: usize = 6;

/// What the network looks at in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole clip.
    Clip,
    /// One frame, in worlds where each frame shows a digit of its own.
    Frame,
}

/// A classifier on top of the features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it reads: `digit`, `direction`.
    pub name: String,
    /// Classes.
    pub classes: usize,
}

/// Everything that determines the network's shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// What it looks at.
    pub unit: Unit,
    /// Channels of a pixel.
    pub channels: usize,
    /// Frames, rows and columns of a unit.
    pub extents: [usize; 3],
    /// What it reads.
    pub heads: Vec<Head>,
}

/// A convolution with zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Frames, rows and columns that it reads.
    pub input: [usize; 3],
    /// Steps between the positions that it is computed at.
    pub stride: [usize; 3],
    /// Channels in and out.
    pub widths: [usize; 2],
}

impl Architecture {
    /// The network of a world: one head for each kind of label. A world without labels has one head for its captions.
    pub fn of(world: &dyn World) -> Self {
        let g = world.geometry();
        let head = |name: &str, classes| Head { name: name.to_owned(), classes };
        let (unit, frames, heads) = if world.frame_digit(0, 0).is_some() {
            (Unit::Frame, 1, vec![head("digit", 10)])
        } else if world.label_kinds().is_empty() {
            (Unit::Clip, g.frames, vec![head("caption", world.captions().len())])
        } else {
            let heads = world.label_kinds().iter().map(|kind| head(kind.name, kind.classes.len())).collect();
            (Unit::Clip, g.frames, heads)
        };
        Architecture { unit, channels: g.channels, extents: [frames, g.height, g.width], heads }
    }

    /// The convolutions: space and time are halved until two positions are left. The first layer keeps all frames, so
    /// that steps of one pixel are seen, and all of an image of 8 pixels or fewer.
    pub fn layers(&self) -> Vec<Layer> {
        let (mut layers, mut input, mut width) = (Vec::new(), self.extents, self.channels);
        while layers.len() < DEPTH && (layers.is_empty() || input.iter().any(|&extent| extent > 2)) {
            let first = layers.is_empty();
            let halved = |i: usize| input[i] > if first { [usize::MAX, 8, 8][i] } else { 2 };
            let stride = [0, 1, 2].map(|i| if halved(i) { 2 } else { 1 });
            let out = WIDTHS[layers.len().min(WIDTHS.len() - 1)];
            let layer = Layer { input, stride, widths: [width, out] };
            (input, width) = (layer.output(), out);
            layers.push(layer);
        }
        layers
    }
}

impl Layer {
    /// Frames, rows and columns that it writes.
    pub fn output(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| self.input[i].div_ceil(self.stride[i]))
    }

    /// Kernel extents: 1 where there is only one position to see.
    pub fn kernel(&self) -> [usize; 3] {
        self.input.map(|extent| if extent == 1 { 1 } else { KERNEL })
    }

    /// Rows of the input that each output position reads, kernel positions running fastest; -1 is padding.
    pub fn neighbours(&self) -> Vec<i32> {
        let mut index = Vec::new();
        for at in positions(self.output()) {
            for offset in positions(self.kernel()) {
                let source = [0, 1, 2].map(|i| {
                    let centred = at[i] * self.stride[i] + offset[i];
                    centred.checked_sub(self.kernel()[i] / 2).filter(|&p| p < self.input[i])
                });
                index.push(match source {
                    [Some(f), Some(h), Some(w)] => ((f * self.input[1] + h) * self.input[2] + w) as i32,
                    _ => -1,
                });
            }
        }
        index
    }
}

fn positions([f, h, w]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..f * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preset;

    #[test]
    fn neighbourhoods_are_centred_and_padded() {
        let layer = Layer { input: [1, 3, 4], stride: [1, 2, 2], widths: [1, 1] };
        assert_eq!((layer.output(), layer.kernel()), ([1, 2, 2], [1, 3, 3]));
        let index = layer.neighbours();
        assert_eq!(index[..9], [-1, -1, -1, -1, 0, 1, -1, 4, 5]);
        // Row 2, column 2: its neighbours end with the lower edge.
        assert_eq!(index[27..], [5, 6, 7, 9, 10, 11, -1, -1, -1]);
    }

    #[test]
    fn every_world_ends_in_few_positions() {
        for (name, unit, outputs) in [("digits", Unit::Clip, [2, 2, 2]), ("counter", Unit::Frame, [1, 2, 2])] {
            let architecture = Architecture::of(preset(name).unwrap().as_ref());
            assert_eq!((architecture.unit, architecture.layers().last().unwrap().output()), (unit, outputs), "{name}");
        }
    }
}
