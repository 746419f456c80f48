//! `flg sample`: clips from captions, and a first frame if there is one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use flg_engine::{Device, Key, Precision, Tensor, concat, safetensors};
use flg_model::sampler::{Network, Ode, Solver};
use flg_model::schedule::few_step::Asked;
use flg_model::{BlockMask, Guidance};
use serde_json::json;

use super::exit::{BadInput, Numerical, Usage};
use super::input::{Checkpoint, card, checkpoint_folder};
use super::progress::Progress;
use super::session::Session;
use crate::config::SampleConfig;
use crate::data::{self, Card, Clip, Conditions};
use crate::generate::{Generator, Request, Sampler};
use crate::rehearsal::{Expected, Known};
use crate::video::{self, Channels, Format, FrameRate, Geometry, Limits};

/// `flg sample`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The checkpoint's folder, or a run's
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// What the clip shows (repeatable)
    #[arg(long, short, value_name = "CAPTION", required_unless_present = "prompt_file")]
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
}

/// How to sample.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Sampling {
    /// Steps [default: the checkpoint's if it was distilled, else 50]
    #[arg(long, value_name = "N")]
    pub(super) steps: Option<usize>,
    /// Timestep shift [default: the checkpoint's, else 5]
    #[arg(long, value_name = "S")]
    pub(super) shift: Option<f64>,
    /// Guidance by caption as Ho and Salimans count it: 1 is none [default: 3; none for a distilled checkpoint]
    #[arg(long, value_name = "W")]
    pub(super) guidance: Option<f64>,
    /// Solver of a checkpoint that was not distilled: euler or unipc
    #[arg(long, value_parser = solver)]
    pub(super) solver: Option<Solver>,
    /// Blocks to skip, counted from 0
    #[arg(long, value_name = "N,N..", value_delimiter = ',')]
    pub(super) skip: Vec<usize>,
    /// Frames of a clip [default: as in training]
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
    /// Rows of a frame [default: as in training]
    #[arg(long, short = 'H', value_name = "N")]
    height: Option<usize>,
    /// Columns of a frame [default: as in training]
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
    /// Screen pixels a pixel [default: 4, and 1 for .npy and .y4m]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    scale: Option<u8>,
    /// Frames a second
    #[arg(long, default_value = "8")]
    fps: FrameRate,
    /// Also write what the network made, before it becomes pixels: a safetensors file with `latents [b, c, f, h, w]`
    #[arg(long, value_name = "FILE")]
    save_latents: Option<PathBuf>,
}

pub(super) fn solver(text: &str) -> Result<Solver, String> {
    match text {
        "euler" => Ok(Solver::Euler),
        "unipc" => Ok(Solver::UniPc { order: 2 }),
        _ => Err("it is euler or unipc".to_owned()),
    }
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    // Everything that can be refused is refused before the weights are read.
    Format::of(&args.output.output)?;
    let captions = captions(&args)?;
    let folder = checkpoint_folder(&args.model)?;
    let card = card(&folder)?;
    let conditions = card.conditions(session.device())?;
    conditions.text(captions.iter().map(|caption| Some(caption.as_str())))?;
    let image = args.image.as_deref().map(|path| video::read_first_frame(path, &Limits::default())).transpose()?;
    let expected = rehearse(&args, &folder, &card, &requests(&args, &captions), image.is_some())?;
    session.admit(&expected, "a smaller --batch and smaller clips need less")?;

    let checkpoint = Checkpoint::load(&folder, session.device())?.for_sampling()?;
    let geometry = args.sampling.geometry(card.geometry, checkpoint.wan.config().patch_size)?;
    let sampler = args.sampling.sampler(&checkpoint)?;
    let mask = BlockMask::without(checkpoint.wan.config().num_layers, &args.sampling.skip)?;
    let requests = requests(&args, &captions);
    let first = match &image {
        Some(frame) => Some(first_frames(frame, geometry, &conditions, requests.len())?),
        None => None,
    };
    let network =
        Network { wan: &checkpoint.wan, weights: &checkpoint.weights, mask: &mask, precision: Precision::F32 };
    let latents = [geometry.channels, geometry.frames, geometry.height, geometry.width];
    let generator = Generator { network, conditions: &conditions, sampler: &sampler, latents };
    session.announce(&expected);
    let began = Instant::now();
    let latents = generate(&generator, &requests, first.as_ref(), args.sampling.batch.into(), session)?;
    let seconds = began.elapsed().as_secs_f64();
    args.output.write(&latents, &conditions)?;
    let value = json!({
        "output": args.output.output, "clips": requests.len(), "prompts": captions, "seed": args.seed,
        "sampler": sampler.to_string(), "steps": sampler.steps(), "network_calls": sampler.network_calls(),
        "blocks": mask.kept().len(), "seconds": seconds, "seconds_per_clip": seconds / requests.len() as f64,
    });
    session.result(&value, || {
        let (n, file) = (requests.len(), args.output.output.display());
        format!("{n} clips in {seconds:.2} s ({sampler}, {} blocks) written to {file}", mask.kept().len())
    })
}

fn requests<'c>(args: &Args, captions: &'c [String]) -> Vec<Request<'c>> {
    let clips = captions.iter().flat_map(|caption| std::iter::repeat_n(caption.as_str(), args.count.into()));
    let key = |i: usize| Key::new(args.seed).name("sample").at(i as u64);
    clips.enumerate().map(|(i, caption)| Request { caption, key: key(i) }).collect()
}

/// What the largest batch of clips will hold.
fn rehearse(
    args: &Args,
    folder: &Path,
    card: &Card,
    requests: &[Request<'_>],
    image: bool,
) -> anyhow::Result<Expected> {
    /// Steps after which nothing new is held.
    const STEPS: usize = 4;
    let device = Device::dry();
    let checkpoint = Checkpoint::load(folder, &device)?;
    let Checkpoint { wan, weights, .. } = &checkpoint;
    let Geometry { channels, frames, height, width } =
        args.sampling.geometry(card.geometry, wan.config().patch_size)?;
    let mask = &BlockMask::without(wan.config().num_layers, &args.sampling.skip)?;
    let mut sampler = args.sampling.sampler(&checkpoint)?;
    if let Sampler::Ode(ode, _) = &mut sampler {
        ode.steps = ode.steps.min(STEPS);
    }
    let network = Network { wan, weights, mask, precision: Precision::F32 };
    let latents = [channels, frames, height, width];
    let generator = Generator { network, conditions: &card.conditions(&device)?, sampler: &sampler, latents };
    let batch = &requests[..requests.len().min(args.sampling.batch.into())];
    let first = image.then(|| Tensor::zeros(&device, [batch.len(), channels, 1, height, width])).transpose()?;
    generator.latents(batch, first.as_ref(), &mut |_| ControlFlow::Continue(()))?;
    Ok(Expected::of(&device, Known { weights: weights.bytes(), ..Known::default() }))
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

/// The image as the first frame of every clip, `[clips, c, 1, h, w]`.
fn first_frames(
    frame: &video::Frame,
    geometry: Geometry,
    conditions: &Conditions,
    clips: usize,
) -> anyhow::Result<Tensor> {
    let channels = if geometry.channels == 1 { Channels::Grey } else { Channels::Rgb };
    let fitted = data::fit(&frame.clone().with_channels(channels), geometry.height, geometry.width);
    let one = conditions.latents([&Clip::from_frames(&[fitted])?])?;
    Ok(concat(&vec![&one; clips])?)
}

fn generate(
    generator: &Generator<'_>,
    requests: &[Request<'_>],
    first: Option<&Tensor>,
    batch: usize,
    session: &Session,
) -> anyhow::Result<Tensor> {
    let total = requests.len().div_ceil(batch) * generator.sampler.steps();
    let mut progress = Progress::new(session.talk(), "sample", total as u64);
    let made = generator.in_batches(requests, first, batch, &mut |done, _| {
        progress.reach(done as u64, || format!("{} clips", requests.len()));
        if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let made = made?;
    if !made.is_finite()? {
        let why = "the network's output has values that are not finite; nothing was written";
        return Err(Numerical(why.to_owned()).into());
    }
    Ok(made)
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

    /// The sampler asked for, which must be its own for a distilled checkpoint.
    ///
    /// # Errors
    /// A schedule other than the one that the checkpoint was distilled for.
    pub(super) fn sampler(&self, checkpoint: &Checkpoint) -> anyhow::Result<Sampler> {
        let Some(schedule) = &checkpoint.few_step else {
            let defaults = SampleConfig::default();
            let default = || Guidance::extra(defaults.guidance_extra() as f32);
            let guidance = self.guidance.map_or_else(default, |w| Guidance::ho_salimans(w as f32));
            let shift = self.shift.or(checkpoint.shift.map(f64::from)).unwrap_or(defaults.shift);
            let (solver, steps) = (self.solver.unwrap_or(Solver::Euler), self.steps.unwrap_or(defaults.steps));
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
    fn write(&self, latents: &Tensor, conditions: &Conditions) -> anyhow::Result<()> {
        if let Some(path) = &self.save_latents {
            safetensors::write(path, [("latents", latents)], &BTreeMap::new())?;
        }
        let exact = matches!(Format::of(&self.output)?, Format::Npy | Format::Y4m);
        let scale = self.scale.map_or(if exact { 1 } else { 4 }, usize::from);
        let clips = conditions.clips(latents)?;
        let picture = video::grid(&clips, self.columns.into(), 1)?.enlarged(scale)?;
        video::write(&self.output, &picture, self.fps).context("the clips were made, but not written")
    }
}
