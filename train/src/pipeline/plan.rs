//! What each phase of a pipeline will hold, found out before any weight is read, and how many blocks may stay in memory.

use flg_model::checkpoint::StoredNetwork;
use flg_model::wan::Parameter;

use super::denoise::{Denoising, Given};
use super::{Extents, Images, Latents, Parts, Prompts, View};
use crate::Result;
use crate::rehearsal::{PROGRAM, THREAD};

/// A phase and the most that it holds, in bytes. Phases follow each other, and each lets go of what the one before held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Phase {
    /// `text`, `image`, `denoise`, `decode`.
    pub name: &'static str,
    /// Bytes.
    pub bytes: usize,
}

/// Where the blocks of the network are during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Residence {
    /// Blocks that stay in memory once they have been read.
    pub resident: usize,
    /// Blocks of the network, or of the deeper of two experts.
    pub layers: usize,
    /// What the run holds at most, in bytes.
    pub bytes: usize,
}

impl Residence {
    /// As many resident blocks as `limit` bytes have room for: none where not even the block at work has.
    ///
    /// # Errors
    /// What [`Denoising::expected`] refuses.
    pub fn within(limit: usize, denoising: &Denoising, given: &Given) -> Result<Residence> {
        let networks = denoising.networks.iter().map(StoredNetwork::open).collect::<Result<Vec<_>, _>>()?;
        let layers = networks.iter().map(|network| network.config().num_layers).max().unwrap_or(0);
        // While a tensor is copied, the pages of the file that it comes from are in memory as well.
        let copied = networks.iter().map(largest).max().unwrap_or(0);
        let at = |resident: usize| -> Result<Residence> {
            let bytes = denoising.expected(given, resident)?.peak() + copied;
            Ok(Residence { resident, layers, bytes })
        };
        let all = at(layers)?;
        if all.bytes <= limit {
            return Ok(all);
        }
        let none = at(0)?;
        if none.bytes > limit {
            return Ok(none);
        }
        // Every resident block takes the same again; what is freed and divided anew makes a little difference.
        let each = (all.bytes - none.bytes).div_ceil(layers.max(1)).max(1);
        let mut plan = at((limit - none.bytes) / each)?;
        while plan.bytes > limit && plan.resident > 0 {
            plan = at(plan.resident - 1)?;
        }
        Ok(plan)
    }
}

/// The bytes of the largest tensor in the file.
fn largest(network: &StoredNetwork) -> usize {
    let bytes = |parameter: &Parameter| {
        network.info(&parameter.name).map_or(0, |info| info.shape.elements() * info.dtype.size())
    };
    network.config().parameters().iter().map(bytes).max().unwrap_or(0)
}

/// How much of a frame the autoencoder looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Views {
    /// On the way in.
    pub encode: View,
    /// On the way out.
    pub decode: View,
}

/// The phases beside denoising, in order, the last of which decodes. The autoencoder looks at whole frames if `limit` bytes
/// are enough for that, else at tiles of them.
///
/// # Errors
/// Parts that are not there or not supported; extents that they do not take.
pub fn phases(
    parts: &Parts,
    extents: Extents,
    (prompts, images): (Option<&Prompts>, Option<&Images>),
    limit: usize,
) -> Result<(Vec<Phase>, Views)> {
    let Extents { frames, height, width } = extents;
    let vae = parts.read_vae()?;
    let program = PROGRAM + THREAD * rayon::current_num_threads();
    let mut phases = Vec::new();
    if let Some(prompts) = prompts {
        phases.push(Phase { name: "text", bytes: prompts.peak_bytes()? + program });
    }
    let encode_view = Latents::view_within(limit.saturating_sub(program), &vae, [height, width])?;
    if images.is_some() {
        let encode = Latents::bytes(encode_view, &vae, [height, width])?;
        let embed = if parts.variant.attends() { parts.image_encoder_bytes()? } else { 0 };
        phases.push(Phase { name: "image", bytes: encode.max(embed) + program });
    }
    let [_, _, h, w] = parts.variant.latents(extents);
    // The clip itself, once as it is decoded and once as it is written.
    let clip = 2 * frames * height * width * 3 * size_of::<f32>();
    let at = |view: View| -> Result<usize> { Ok(view.bytes(&vae, frames, [h, w])? + clip + program) };
    let (mut view, mut bytes) = (View::Whole, at(View::Whole)?);
    if bytes > limit {
        let tiled = at(View::Tiles)?;
        if tiled < bytes {
            (view, bytes) = (View::Tiles, tiled);
        }
    }
    phases.push(Phase { name: "decode", bytes });
    Ok((phases, Views { encode: encode_view, decode: view }))
}
