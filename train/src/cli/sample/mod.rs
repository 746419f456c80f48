//! `flg sample`: clips from captions, and a first frame if there is one.
//!
//! Networks that were trained on a world make pixels and know its words ([`world`]); those of published checkpoints make
//! latents from any text ([`published`]). What they share is here.

mod latents;
mod published;
mod world;

use std::path::PathBuf;

use flg_engine::Key;
use flg_model::sampler::{Ode, Solver};
use flg_model::schedule::few_step::Asked;
use flg_model::{FewStep, Guidance};

use super::exit::{BadInput, Usage};
use super::forward::precision;
use super::input::{Checkpoint, checkpoint_folder};
use super::session::Session;
use crate::config::{PrecisionKind, SampleConfig};
use crate::generate::Sampler;
use crate::pipeline::Parts;
use crate::video::{Format, FrameRate, Geometry};

/// `flg sample`
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The checkpoint's folder, or a run's
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// What the clip shows (repeatable)
    #[arg(long, short, value_name = "CAPTION", required_unless_present_any = ["prompt_file", "embeddings", "from_latents"])]
    prompt: Vec<String>,
    /// A file with one caption a line
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The first frame: a PNG, or the first of any clip; cropped and resampled to fit
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Clips of each caption
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    published: Published,
}

/// What only published checkpoints take: those whose networks work on the latents of an autoencoder.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Published checkpoints (with vae/ and text_encoder/)")]
struct Published {
    /// What the clip should not show [default: nothing]
    #[arg(long, short, value_name = "TEXT")]
    negative_prompt: Option<String>,
    /// The last frame, for networks that take one
    #[arg(long, value_name = "FILE", requires = "image")]
    last_image: Option<PathBuf>,
    /// Guidance of the expert for low noise [default: that of the other]
    #[arg(long, value_name = "W")]
    guidance_2: Option<f64>,
    /// Number format of activations; weights stay as they are stored
    #[arg(long, value_parser = precision, default_value = "f32")]
    precision: PrecisionKind,
    /// Every N steps, decode the first frame as it would be now, into a PNG beside the output
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    preview_every: Option<u16>,
    /// Take text embeddings `prompt_embeds` and `negative_prompt_embeds` `[1, rows, width]` from a safetensors file, in place
    /// of the text encoder's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_file", "negative_prompt"])]
    embeddings: Option<PathBuf>,
    /// Only decode: take the latents from a safetensors file, such as --save-latents or an interrupted run leaves
    #[arg(long, value_name = "FILE")]
    from_latents: Option<PathBuf>,
}

/// How to sample.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct Sampling {
    /// Steps [default: the checkpoint's if it was distilled, else 50]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) steps: Option<usize>,
    /// Timestep shift [default: the checkpoint's, else 5]
    #[arg(long, value_name = "S")]
    pub(in crate::cli) shift: Option<f64>,
    /// Guidance by caption as Ho and Salimans count it: 1 is none [default: 3, and 5 for a published checkpoint; none for a
    /// distilled one]
    #[arg(long, value_name = "W")]
    pub(in crate::cli) guidance: Option<f64>,
    /// Solver of a checkpoint that was not distilled: euler, diffusers-euler or unipc [default: the checkpoint's, else euler]
    #[arg(long, value_parser = solver)]
    pub(in crate::cli) solver: Option<Solver>,
    /// Blocks to skip, counted from 0
    #[arg(long, value_name = "N,N..", value_delimiter = ',')]
    pub(in crate::cli) skip: Vec<usize>,
    /// Frames of a clip [default: as in training; of a published checkpoint, as its makers sample]
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
    /// Rows of a frame [default: as in training; of a published checkpoint, as its makers sample]
    #[arg(long, short = 'H', value_name = "N")]
    height: Option<usize>,
    /// Columns of a frame [default: as in training; of a published checkpoint, as its makers sample]
    #[arg(long, short = 'W', value_name = "N")]
    width: Option<usize>,
    /// Clips computed at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
}

/// Where clips go.
#[derive(Debug, clap::Args)]
struct Output {
    /// The file to write, all clips side by side: .gif .apng .png .y4m .npy, .mp4 in builds that have it
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Clips in a row
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    columns: u16,
    /// Screen pixels a pixel [default: 4, and 1 for .npy, .y4m and published checkpoints]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    scale: Option<u8>,
    /// Frames a second [default: 8; of a published checkpoint 16, or 24]
    #[arg(long)]
    fps: Option<FrameRate>,
    /// Also write what the network made, before it becomes pixels: a safetensors file with `latents [b, c, f, h, w]`
    #[arg(long, value_name = "FILE")]
    save_latents: Option<PathBuf>,
}

pub(in crate::cli) fn solver(text: &str) -> Result<Solver, String> {
    match text {
        "euler" => Ok(Solver::Euler),
        "diffusers-euler" => Ok(Solver::DiffusersEuler),
        "unipc" => Ok(Solver::UniPc { order: 2 }),
        _ => Err("it is euler, diffusers-euler or unipc".to_owned()),
    }
}

pub(in crate::cli) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    // Everything that can be refused is refused before the weights are read.
    Format::of(&args.output.output)?;
    let folder = checkpoint_folder(&args.model)?;
    if Parts::are_in(&folder) {
        return published::run(&args, &folder, session);
    }
    args.published.refuse()?;
    world::run(&args, &folder, session)
}

impl Published {
    /// For a network of a world, which takes none of these.
    fn refuse(&self) -> anyhow::Result<()> {
        let given = [
            ("negative-prompt", self.negative_prompt.is_some()),
            ("last-image", self.last_image.is_some()),
            ("guidance-2", self.guidance_2.is_some()),
            ("precision", self.precision != PrecisionKind::F32),
            ("preview-every", self.preview_every.is_some()),
            ("embeddings", self.embeddings.is_some()),
            ("from-latents", self.from_latents.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                let why = "this checkpoint has no vae/ folder: its network was trained on the pixels of a world";
                Err(Usage(format!("--{flag}: {why}")).into())
            }
            None => Ok(()),
        }
    }
}

fn captions(args: &Args) -> anyhow::Result<Vec<String>> {
    let mut captions = args.prompt.clone();
    if let Some(path) = &args.prompt_file {
        let unreadable = |error| BadInput(format!("cannot read `{}`: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        captions.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        if captions.is_empty() {
            return Err(BadInput(format!("`{}` has no captions", path.display())).into());
        }
    }
    Ok(captions)
}

/// The key of each clip's noise.
fn key(seed: u64, clip: usize) -> Key {
    Key::new(seed).name("sample").at(clip as u64)
}

impl Sampling {
    /// The geometry asked for.
    ///
    /// # Errors
    /// Extents that the patch does not divide, with the nearest that it does.
    fn geometry(&self, trained: Geometry, patch: [usize; 3]) -> anyhow::Result<Geometry> {
        let check = |flag: &str, asked: Option<usize>, default: usize, patch: usize| match asked {
            Some(n) if n == 0 || !n.is_multiple_of(patch) => {
                let nearest = ((n + patch / 2) / patch).max(1) * patch;
                Err(Usage(format!("--{flag} {n}: it must be a multiple of {patch}; the nearest is {nearest}")))
            }
            // Larger than any video, and small enough that products cannot overflow.
            Some(n) if n > 1 << 14 => Err(Usage(format!("--{flag} {n}: at most {}", 1 << 14))),
            Some(n) => Ok(n),
            None => Ok(default),
        };
        Ok(Geometry {
            channels: trained.channels,
            frames: check("frames", self.frames, trained.frames, patch[0])?,
            height: check("height", self.height, trained.height, patch[1])?,
            width: check("width", self.width, trained.width, patch[2])?,
        })
    }

    /// The sampler asked for, which must be its own for a distilled checkpoint of a world.
    ///
    /// # Errors
    /// As [`Sampling::choose`].
    pub(in crate::cli) fn sampler(&self, checkpoint: &Checkpoint) -> anyhow::Result<Sampler> {
        let defaults = SampleConfig::default();
        let guidance = Guidance::extra(defaults.guidance_extra() as f32);
        let shift = checkpoint.shift.map_or(defaults.shift, f64::from);
        let ode = Ode { solver: Solver::Euler, steps: defaults.steps, shift };
        self.choose(checkpoint.few_step.as_ref(), ode, guidance)
    }

    /// The sampler asked for, `ode` and `guidance` where nothing else was. That of a distilled checkpoint is `few_step`.
    ///
    /// # Errors
    /// A schedule other than the one that the checkpoint was distilled for.
    fn choose(&self, few_step: Option<&FewStep>, ode: Ode, guidance: Guidance) -> anyhow::Result<Sampler> {
        let Some(schedule) = few_step else {
            let guidance = self.guidance.map_or(guidance, |w| Guidance::ho_salimans(w as f32));
            let shift = self.shift.unwrap_or(ode.shift);
            let (solver, steps) = (self.solver.unwrap_or(ode.solver), self.steps.unwrap_or(ode.steps));
            return Ok(Sampler::Ode(Ode { solver, steps, shift }, guidance));
        };
        let shift = self.shift.map(|shift| shift as f32);
        schedule.expect(&Asked { steps: self.steps, shift, rule: None })?;
        if self.solver.is_some() || self.guidance.is_some_and(|w| w != 1.0) {
            let why = "it was distilled, with its guidance, for its own schedule";
            return Err(Usage(format!("this checkpoint takes neither --solver nor --guidance: {why}")).into());
        }
        Ok(Sampler::FewStep(schedule.clone()))
    }
}

impl Output {
    /// Frames a second: what was asked for, else this many.
    fn rate(&self, usual: u32) -> anyhow::Result<FrameRate> {
        self.fps.map_or_else(|| Ok(FrameRate::new(usual, 1)?), Ok)
    }
}
