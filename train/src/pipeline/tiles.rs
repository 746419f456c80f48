//! A frame in tiles: the autoencoder looks at one tile at a time, so that its memory does not grow with the frame.
//!
//! As diffusers' `tiled_decode` and `tiled_encode`: tiles of 256 pixels begin every 192, and are blended linearly where they
//! overlap. What comes out differs a little from what the whole frame gives, since convolutions do not see beyond their
//! tile.

use std::ops::Range;

/// Pixels of a tile's side.
pub const TILE: usize = 256;
/// Pixels from the beginning of a tile to that of the next.
pub const STRIDE: usize = 192;

/// Where tiles begin along an axis of `extent` latents of `factor` pixels each, and what part of it each covers.
pub fn spans(extent: usize, factor: usize) -> Vec<Range<usize>> {
    let (tile, stride) = ((TILE / factor).max(1), (STRIDE / factor).max(1));
    (0..extent).step_by(stride).map(|begin| begin..(begin + tile).min(extent)).collect()
}

/// Pixels, or latents of as many pixels each, `[planes, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Channels times frames.
    pub planes: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Pixels of an element's side: 1 for pixels.
    pub unit: usize,
    /// Row-major.
    pub pixels: Vec<f32>,
}

impl Tile {
    /// Elements that neighbours share.
    fn overlap(&self) -> usize {
        TILE / self.unit - self.stride()
    }

    /// Elements from the beginning of a tile to that of the next.
    fn stride(&self) -> usize {
        STRIDE / self.unit
    }

    /// Fades the last rows of `above` into the first of this tile.
    pub fn blend_below(&mut self, above: &Tile) {
        let extent = self.overlap().min(above.height).min(self.height);
        for plane in 0..self.planes {
            for row in 0..extent {
                let share = row as f32 / extent as f32;
                let from = (plane * above.height + above.height - extent + row) * above.width;
                let to = (plane * self.height + row) * self.width;
                let width = self.width.min(above.width);
                let (from, to) = (&above.pixels[from..][..width], &mut self.pixels[to..][..width]);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from * (1.0 - share) + *to * share);
            }
        }
    }

    /// Fades the last columns of `left` into the first of this tile.
    pub fn blend_right_of(&mut self, left: &Tile) {
        let extent = self.overlap().min(left.width).min(self.width);
        for row in 0..self.planes * self.height.min(left.height) {
            let (from, to) = (row * left.width + left.width - extent, row * self.width);
            for column in 0..extent {
                let share = column as f32 / extent as f32;
                let pixel = &mut self.pixels[to + column];
                *pixel = left.pixels[from + column] * (1.0 - share) + *pixel * share;
            }
        }
    }

    /// Writes what of this tile belongs to the frame, whose planes are `height` by `width`, from `[top, left]` on.
    pub fn place(&self, frame: &mut [f32], [height, width]: [usize; 2], [top, left]: [usize; 2]) {
        let stride = self.stride();
        let (rows, columns) = (self.height.min(stride).min(height - top), self.width.min(stride).min(width - left));
        for plane in 0..self.planes {
            for row in 0..rows {
                let from = &self.pixels[(plane * self.height + row) * self.width..][..columns];
                frame[(plane * height + top + row) * width + left..][..columns].copy_from_slice(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_an_axis_and_overlap() {
        assert_eq!(spans(60, 8), [0..32, 24..56, 48..60]);
        assert_eq!(spans(20, 8).first(), Some(&(0..20)));
        assert_eq!(spans(0, 8), [0..0; 0]);
    }

    #[test]
    fn equal_tiles_make_the_frame_that_they_were_cut_from() {
        let (height, width, planes) = (400, 300, 2);
        let pixel = |plane: usize, row: usize, column: usize| (plane * 7 + row * 3 + column) as f32 / 4096.0;
        let whole: Vec<f32> =
            (0..planes * height * width).map(|i| pixel(i / (height * width), i / width % height, i % width)).collect();
        let cut = |rows: &Range<usize>, columns: &Range<usize>| Tile {
            planes,
            height: rows.len(),
            width: columns.len(),
            unit: 1,
            pixels: (0..planes)
                .flat_map(|p| rows.clone().flat_map(move |r| (0..width).map(move |c| (p, r, c))))
                .filter(|(_, _, c)| columns.contains(c))
                .map(|(p, r, c)| pixel(p, r, c))
                .collect(),
        };
        let mut made = vec![f32::NAN; whole.len()];
        let mut above: Vec<Tile> = Vec::new();
        for rows in spans(height, 1) {
            let mut tiles: Vec<Tile> = Vec::new();
            for (j, columns) in spans(width, 1).iter().enumerate() {
                let mut tile = cut(&rows, columns);
                above.get(j).into_iter().for_each(|above| tile.blend_below(above));
                tiles.last().into_iter().for_each(|left| tile.blend_right_of(left));
                tile.place(&mut made, [height, width], [rows.start, columns.start]);
                tiles.push(tile);
            }
            above = tiles;
        }
        assert!(made.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
