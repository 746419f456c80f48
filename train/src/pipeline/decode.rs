//! From latents to pixels, a latent frame at a time.

use std::ops::Range;

use flg_engine::{Device, Tensor};
use flg_model::VaeConfig;
use flg_model::vae::{Decoder, load_decoder};

use super::image::{Counted, OnPart};
use super::tiles::{self, TILE, Tile};
use crate::Result;
use crate::video::{Clip, Geometry};

/// How much of a frame the autoencoder looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// All of it.
    Whole,
    /// A tile at a time, for less memory: at seams a little differs from the whole frame.
    Tiles,
}

impl View {
    /// The parts of an axis of `extent` latents that it looks at one by one.
    pub(super) fn spans(self, extent: usize, factor: usize) -> Vec<Range<usize>> {
        match self {
            View::Whole => std::iter::once(0..extent).collect(),
            View::Tiles => tiles::spans(extent, factor),
        }
    }

    /// The most bytes that decoding `frames` frames of latents `[height, width]` holds, the clip itself left out.
    ///
    /// # Errors
    /// A configuration that is not supported.
    pub fn bytes(self, vae: &VaeConfig, frames: usize, [height, width]: [usize; 2]) -> Result<usize> {
        let factor = vae.spatial_factor();
        let most = (TILE / factor).max(1);
        let pixels = |height: usize, width: usize| 3 * frames * height * width * factor * factor * size_of::<f32>();
        Ok(match self {
            View::Whole => vae.decode_bytes([height, width])?.peak,
            View::Tiles => {
                let peak = vae.decode_bytes([height.min(most), width.min(most)])?.peak;
                // Two rows of tiles, each a little wider than the frame together.
                peak + pixels(2 * height.min(most), width.div_ceil(most) * most * 2)
            }
        })
    }
}

/// The autoencoder's way out.
#[derive(Clone, Debug)]
pub struct Pixels(Decoder);

impl Pixels {
    /// Reads the decoder of a checkpoint.
    ///
    /// # Errors
    /// As [`load_decoder`].
    pub fn open(parts: &super::Parts, device: &Device) -> Result<Pixels> {
        Ok(Pixels(load_decoder(parts.vae(), device)?))
    }

    /// The clip of latents `[1, c, f, h, w]` as the transformer makes them. `on_part` hears of every latent frame (of every
    /// tile, in tiles).
    ///
    /// # Errors
    /// Latents of another autoencoder; [`super::Error::Interrupted`].
    pub fn decode(&self, latents: &Tensor, view: View, on_part: &mut OnPart<'_>) -> Result<Clip> {
        let config = self.0.config();
        let latents = config.denormalise(latents)?;
        let [_, _, count, height, width] = latents.shape().expect_rank("latents")?;
        let factor = config.spatial_factor();
        let frames = config.temporal_factor() * count.saturating_sub(1) + usize::from(count > 0);
        let geometry = Geometry { channels: 3, frames, height: height * factor, width: width * factor };
        geometry.pixels()?;
        let [rows, columns] = [height, width].map(|extent| view.spans(extent, factor));
        let mut parts = Counted::new("decoding", rows.len() * columns.len() * count, on_part);
        if let ([rows], [columns]) = (&rows[..], &columns[..]) {
            let whole = self.tile(&latents, [rows.clone(), columns.clone()], &mut parts)?;
            return Ok(Clip::from_pixels(geometry, whole.pixels)?);
        }
        let mut pixels = vec![0.0; geometry.pixels()?];
        let (mut above, size): (Vec<Tile>, _) = (Vec::new(), [geometry.height, geometry.width]);
        for rows in rows {
            let mut tiles: Vec<Tile> = Vec::new();
            for (j, columns) in columns.iter().enumerate() {
                let mut tile = self.tile(&latents, [rows.clone(), columns.clone()], &mut parts)?;
                above.get(j).into_iter().for_each(|above| tile.blend_below(above));
                tiles.last().into_iter().for_each(|left| tile.blend_right_of(left));
                tile.place(&mut pixels, size, [rows.start * factor, columns.start * factor]);
                tiles.push(tile);
            }
            above = tiles;
        }
        Ok(Clip::from_pixels(geometry, pixels)?)
    }

    /// Pixels in 0 to 1 of some rows and columns of latents.
    fn tile(&self, latents: &Tensor, [rows, columns]: [Range<usize>; 2], parts: &mut Counted<'_, '_>) -> Result<Tile> {
        let (config, count) = (self.0.config(), latents.dims()[2]);
        let factor = config.spatial_factor();
        let (height, width) = (rows.len() * factor, columns.len() * factor);
        let frames = config.temporal_factor() * count.saturating_sub(1) + usize::from(count > 0);
        let latents = latents.narrow(3, rows.start, rows.len())?.narrow(4, columns.start, columns.len())?;
        let plane = height * width;
        let mut pixels = vec![0.0; 3 * frames * plane];
        let (mut stream, mut at) = (self.0.start(), 0);
        for i in 0..count {
            let made = stream.push(&latents.narrow(2, i, 1)?.contiguous()?)?;
            let fresh = made.dims()[2];
            for (channel, values) in made.values()?.chunks(fresh * plane).enumerate() {
                let target = &mut pixels[(channel * frames + at) * plane..][..fresh * plane];
                target.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value / 2.0 + 0.5);
            }
            at += fresh;
            parts.next()?;
        }
        Ok(Tile { planes: 3 * frames, height, width, unit: 1, pixels })
    }
}
