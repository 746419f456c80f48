//! From frames to latents, a frame at a time, and a tile at a time where a frame is too large.

use std::ops::Range;

use flg_engine::{DType, Device, Tensor};
use flg_model::VaeConfig;
use flg_model::vae::{Encoder, load_encoder};

use super::image::{Counted, OnPart};
use super::tiles::{TILE, Tile};
use super::{Extents, Parts, View};
use crate::Result;
use crate::video::Frame;

/// The autoencoder's way in.
#[derive(Clone, Debug)]
pub struct Latents {
    encoder: Encoder,
    view: View,
    device: Device,
}

impl Latents {
    /// Reads the encoder of a checkpoint, which will look at `view` of a frame at a time.
    ///
    /// # Errors
    /// As [`load_encoder`].
    pub fn open(parts: &Parts, view: View, device: &Device) -> Result<Latents> {
        Ok(Latents { encoder: load_encoder(parts.vae(), device)?, view, device: device.clone() })
    }

    /// The most bytes that encoding frames of `height` by `width` holds, the frames and latents themselves left out.
    ///
    /// # Errors
    /// A configuration that is not supported; a height and width that the network does not take.
    pub fn bytes(view: View, vae: &VaeConfig, [height, width]: [usize; 2]) -> Result<usize> {
        Ok(match view {
            View::Whole => vae.encode_bytes([height, width])?.peak,
            View::Tiles => vae.encode_bytes([height.min(TILE), width.min(TILE)])?.peak,
        })
    }

    /// The view for `limit` bytes: of whole frames if these are enough, and else of tiles.
    ///
    /// # Errors
    /// As [`Latents::bytes`].
    pub fn view_within(limit: usize, vae: &VaeConfig, extents: [usize; 2]) -> Result<View> {
        Ok(if Latents::bytes(View::Whole, vae, extents)? <= limit { View::Whole } else { View::Tiles })
    }

    /// Latents of frames as the network sees them, `[1, c, f, h, w]`; frames that are not given are mid-grey.
    ///
    /// # Errors
    /// Extents that the autoencoder does not take; [`super::Error::Interrupted`].
    pub fn encode(
        &self,
        frames: &[Option<Frame>],
        Extents { height, width, .. }: Extents,
        on_part: &mut OnPart<'_>,
    ) -> Result<Tensor> {
        let config = self.encoder.config();
        let factor = config.spatial_factor();
        let size = [height / factor, width / factor];
        let [rows, columns] = size.map(|extent| self.view.spans(extent, factor));
        let mut done = Counted::new("encoding the image", rows.len() * columns.len() * frames.len(), on_part);
        let mut tile = |rows: &Range<usize>, columns: &Range<usize>| {
            let pixels = [rows, columns].map(|span| span.start * factor..span.end * factor);
            self.tile(frames, width, pixels, &mut done)
        };
        if let ([rows], [columns]) = (&rows[..], &columns[..]) {
            return Ok(config.normalise(&tile(rows, columns)?)?);
        }
        let (mut all, mut extents) = (Vec::new(), [1, config.z_dim, 0, size[0], size[1]]);
        let mut above: Vec<Tile> = Vec::new();
        for rows in &rows {
            let mut tiles: Vec<Tile> = Vec::new();
            for (j, columns) in columns.iter().enumerate() {
                let made = tile(rows, columns)?;
                let [_, c, f, height, width] = made.shape().expect_rank("latents")?;
                let mut made = Tile { planes: c * f, height, width, unit: factor, pixels: made.values()? };
                extents[2] = f;
                all.resize(c * f * size[0] * size[1], 0.0);
                above.get(j).into_iter().for_each(|above| made.blend_below(above));
                tiles.last().into_iter().for_each(|left| made.blend_right_of(left));
                made.place(&mut all, size, [rows.start, columns.start]);
                tiles.push(made);
            }
            above = tiles;
        }
        Ok(config.normalise(&Tensor::from_vec(&self.device, all, extents)?)?)
    }

    /// Means `[1, c, f, h, w]` of some rows and columns of pixels of frames that are `width` wide.
    fn tile(
        &self,
        frames: &[Option<Frame>],
        width: usize,
        [rows, columns]: [Range<usize>; 2],
        done: &mut Counted<'_, '_>,
    ) -> Result<Tensor> {
        let (mut stream, mut latents) = (self.encoder.start(), Vec::new());
        let shape = [1, 3, 1, rows.len(), columns.len()];
        for frame in frames {
            let pixels = match frame {
                Some(frame) => cut(frame, width, &rows, &columns),
                None => vec![0.0; shape.iter().product()],
            };
            let mean = stream.push(&Tensor::from_vec(&self.device, pixels, shape)?)?.mean()?;
            if mean.elements() > 0 {
                latents.push(mean);
            }
            done.next()?;
        }
        one_after_the_other(&latents)
    }
}

/// A part of a frame's planes, -1 to 1.
fn cut(frame: &Frame, width: usize, rows: &Range<usize>, columns: &Range<usize>) -> Vec<f32> {
    let lines = |plane: usize| rows.clone().map(move |row| (plane, row));
    let line = |(plane, row): (usize, usize)| &frame.plane(plane)[row * width..][columns.clone()];
    (0..3).flat_map(lines).flat_map(line).map(|pixel| pixel * 2.0 - 1.0).collect()
}

/// Latents `[1, c, f, h, w]` of consecutive stretches of time.
fn one_after_the_other(parts: &[Tensor]) -> Result<Tensor> {
    let frames = parts.iter().map(|part| part.dims()[2]).sum();
    let [b, c, _, h, w] = parts[0].shape().expect_rank("latents")?;
    let mut all = Tensor::empty(parts[0].device(), [b, c, frames, h, w], DType::F32)?;
    let mut at = 0;
    for part in parts {
        all.overwrite(2, at, part)?;
        at += part.dims()[2];
    }
    Ok(all)
}
