//! Clips of pixels, from networks that were trained on a world and know its words.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use flg_engine::{Device, Precision, Tensor, concat, safetensors};
use flg_model::BlockMask;
use flg_model::sampler::Network;
use serde_json::json;

use super::{Args, Output, captions, key};
use crate::cli::exit::Numerical;
use crate::cli::input::{Checkpoint, card};
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::data::{self, Card, Clip, Conditions};
use crate::generate::{Generator, Request, Sampler};
use crate::rehearsal::{Expected, Known};
use crate::video::{self, Channels, Format, Geometry, Limits};

pub(super) fn run(args: &Args, folder: &Path, session: &Session) -> anyhow::Result<()> {
    let captions = captions(args)?;
    let card = card(folder)?;
    let conditions = card.conditions(session.device())?;
    conditions.text(captions.iter().map(|caption| Some(caption.as_str())))?;
    let image = args.image.as_deref().map(|path| video::read_first_frame(path, &Limits::default())).transpose()?;
    let expected = rehearse(args, folder, &card, &requests(args, &captions), image.is_some())?;
    session.admit(&expected, "a smaller --batch and smaller clips need less")?;

    let checkpoint = Checkpoint::load(folder, session.device())?.for_sampling()?;
    let geometry = args.sampling.geometry(card.geometry, checkpoint.wan.config().patch_size)?;
    let sampler = args.sampling.sampler(&checkpoint)?;
    let mask = BlockMask::without(checkpoint.wan.config().num_layers, &args.sampling.skip)?;
    let requests = requests(args, &captions);
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
    clips.enumerate().map(|(i, caption)| Request { caption, key: key(args.seed, i) }).collect()
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

impl Output {
    fn write(&self, latents: &Tensor, conditions: &Conditions) -> anyhow::Result<()> {
        if let Some(path) = &self.save_latents {
            safetensors::write(path, [("latents", latents)], &BTreeMap::new())?;
        }
        let exact = matches!(Format::of(&self.output)?, Format::Npy | Format::Y4m);
        let scale = self.scale.map_or(if exact { 1 } else { 4 }, usize::from);
        let clips = conditions.clips(latents)?;
        let picture = video::grid(&clips, self.columns.into(), 1)?.enlarged(scale)?;
        video::write(&self.output, &picture, self.rate(8)?).context("the clips were made, but not written")
    }
}
