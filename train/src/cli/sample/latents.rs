//! The file of latents: what a network made, kept until the clips are written, so that no finished denoising is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{Device, Tensor};

use super::Output;
use crate::cli::exit::BadInput;
use crate::pipeline::{Extents, FRAMES, Variant};

/// Where latents of clips are, one behind the other: where they were asked for, else beside the output.
pub(super) fn path(output: &Output) -> PathBuf {
    output.save_latents.clone().unwrap_or_else(|| output.output.with_extension("latents.safetensors"))
}

/// The folder of the steps of a run, until its clips are written.
pub(super) fn steps(output: &Output) -> PathBuf {
    output.output.with_extension("steps")
}

/// Writes latents `[1, c, f, h, w]` of clips, the last of them behind so many steps.
///
/// # Errors
/// The system's refusals.
pub(super) fn save(path: &Path, clips: &[Tensor], steps: usize) -> anyhow::Result<()> {
    let all = flg_engine::concat(&clips.iter().collect::<Vec<_>>())?;
    let metadata = BTreeMap::from([("steps".to_owned(), steps.to_string())]);
    Ok(safetensors::write(path, [("latents", &all)], &metadata)?)
}

/// Reads them again.
///
/// # Errors
/// A file without them.
pub(super) fn read(path: &Path, device: &Device) -> anyhow::Result<Vec<Tensor>> {
    let all = SafeTensors::open(path)?.tensor_f32("latents", device)?;
    let clips = all.dims()[0];
    (0..clips).map(|clip| Ok(all.narrow(0, clip, 1)?.contiguous()?)).collect()
}

/// Extents of the video that the latents in a file stand for.
///
/// # Errors
/// A file without latents, or with those of another network.
pub(super) fn extents(path: &Path, variant: &Variant) -> anyhow::Result<Extents> {
    let file = SafeTensors::open(path)?;
    let expected = variant.config.out_channels;
    match file.info("latents").map(|info| info.shape) {
        Some(shape) => match *shape.dims() {
            [_, channels, frames, height, width] if channels == expected && frames > 0 => Ok(Extents {
                frames: FRAMES * (frames - 1) + 1,
                height: height * variant.pixels,
                width: width * variant.pixels,
            }),
            _ => {
                let what = format!("latents are {shape}, expected [b, {expected}, f, h, w]");
                Err(BadInput(format!("`{}`: {what}", path.display())).into())
            }
        },
        None => Err(BadInput(format!("`{}` has no tensor `latents`", path.display())).into()),
    }
}
