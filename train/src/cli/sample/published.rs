//! Clips from published checkpoints: text encoder, transformer, autoencoder, each in as little memory as is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use flg_engine::safetensors::SafeTensors;
use flg_engine::{Device, Shape, Tensor};
use flg_model::sampler::{Ode, Solver, noise};
use flg_model::{Error as ModelError, Guidance};
use serde_json::json;

use super::{Args, captions, key, latents};
use crate::cli::exit::{Numerical, Usage};
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::generate::Sampler;
use crate::pipeline::{
    Denoising, Extents, Given, ImageConditions, Images, Journal, Parts, Phase, Pixels, Prompts, Residence, View, Views,
    phases,
};
use crate::video::{self, Clip, Limits};

/// Steps and guidance of diffusers' pipelines.
const STEPS: usize = 50;
const GUIDANCE: f32 = 5.0;
/// The shift where a checkpoint names none.
const SHIFT: f64 = 5.0;

/// Where the blocks are, what each phase holds, and how frames are decoded.
struct Planned {
    residence: Residence,
    phases: Vec<Phase>,
    views: Views,
}

/// What was asked for, checked.
struct Request<'a> {
    args: &'a Args,
    parts: Parts,
    extents: Extents,
    prompts: Option<Prompts>,
    /// Captions of the clips, as far as there are any.
    captions: Vec<String>,
    images: Option<Images>,
    denoising: Denoising,
}

pub(super) fn run(args: &Args, folder: &Path, session: &Session) -> anyhow::Result<()> {
    let request = Request::new(args, folder)?;
    let Planned { residence, phases: plan, views } = request.plan(session)?;
    announce(session, &plan, residence, views, request.images.is_some());
    let began = Instant::now();
    let mut seconds = BTreeMap::new();
    let latents = match &args.published.from_latents {
        Some(path) => latents::read(path, session.device())?,
        None => request.make_latents((residence, views.encode), session, &mut seconds)?,
    };
    let (clips, spent) = timed(|| request.decode(&latents, views.decode, session))?;
    seconds.insert("decode", spent);
    request.write(&clips)?;
    if args.output.save_latents.is_none() && args.published.from_latents.is_none() {
        // A file that stays takes room, no more.
        let _ = std::fs::remove_file(request.latents_path());
    }
    if args.published.from_latents.is_none() {
        Journal::remove(&latents::steps(&args.output));
    }
    let all = began.elapsed().as_secs_f64();
    let sampler = &request.denoising.sampler;
    let value = json!({
        "output": args.output.output, "clips": clips.len(), "prompts": request.captions, "seed": args.seed,
        "frames": request.extents.frames, "height": request.extents.height, "width": request.extents.width,
        "sampler": sampler.to_string(), "steps": sampler.steps(), "network_calls": sampler.network_calls(),
        "resident_blocks": residence.resident, "blocks": residence.layers.saturating_sub(request.denoising.skip.len()),
        "expected_memory": plan, "decoded": views.decode, "seconds": all, "seconds_by_phase": seconds,
    });
    session.result(&value, || {
        let (n, file) = (clips.len(), args.output.output.display());
        format!("{n} clips in {all:.1} s ({sampler}) written to {file}")
    })
}

impl<'a> Request<'a> {
    fn new(args: &'a Args, folder: &Path) -> anyhow::Result<Self> {
        let parts = Parts::open(folder)?;
        let variant = &parts.variant;
        let (usual, asked) = (variant.usual(), &args.sampling);
        let extents = Extents {
            frames: asked.frames.unwrap_or(usual.frames),
            height: asked.height.unwrap_or(usual.height),
            width: asked.width.unwrap_or(usual.width),
        };
        let published = &args.published;
        let extents = match &published.from_latents {
            Some(path) => latents::extents(path, variant)?,
            None => extents,
        };
        variant.check_extents(extents).map_err(crate::Error::from)?;
        if published.from_latents.is_none() {
            variant.check_images(args.image.is_some(), published.last_image.is_some()).map_err(crate::Error::from)?;
        }
        let solver = parts.solver.unwrap_or(Solver::UniPc { order: 2 });
        let ode = Ode { solver, steps: STEPS, shift: parts.shift.unwrap_or(SHIFT) };
        let sampler = asked.choose(parts.few_step.as_ref(), ode, Guidance::ho_salimans(GUIDANCE))?;
        let first_guidance = match &sampler {
            Sampler::Ode(_, guidance) => *guidance,
            Sampler::FewStep(_) => Guidance::none(),
        };
        let denoising = Denoising {
            networks: parts.networks(),
            boundary: variant.boundary.unwrap_or(1.0),
            skip: asked.skip.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
            sampler,
            second_guidance: published.guidance_2.map_or(first_guidance, |w| Guidance::ho_salimans(w as f32)),
            precision: published.precision.into(),
            key: key(args.seed, 0),
        };
        let captions = captions(args)?;
        let needs_text = published.from_latents.is_none() && published.embeddings.is_none();
        let negative = published.negative_prompt.clone().unwrap_or_default();
        let prompts = needs_text.then(|| Prompts::open(&parts, &captions, &negative)).transpose()?;
        let read = |path: &PathBuf| video::read_first_frame(path, &Limits::default());
        let last = published.last_image.as_ref().map(read).transpose()?;
        let images = args.image.as_ref().map(|path| anyhow::Ok(Images { first: read(path)?, last })).transpose()?;
        Ok(Request { args, parts, extents, prompts, captions, images, denoising })
    }

    /// Clips of each caption, and of embeddings that have none.
    fn clips(&self) -> usize {
        self.captions.len().max(1) * usize::from(self.args.count)
    }

    /// Where the blocks are, and what each phase holds.
    fn plan(&self, session: &Session) -> anyhow::Result<Planned> {
        let (dry, limit) = (Device::dry(), session.memory_limit());
        let [c, f, h, w] = self.parts.variant.latents(self.extents);
        let text = [1, crate::pipeline::TEXT_ROWS, self.parts.variant.config.text_dim];
        let empty = |shape: &[usize]| Tensor::zeros(&dry, Shape::new(shape)?);
        let images = self.images.as_ref().map(|images| images.expected(&self.parts, self.extents, &dry)).transpose()?;
        let images = images.unwrap_or_default();
        let given = given(empty(&[1, c, f, h, w])?, [empty(&text)?, empty(&text)?], images);
        let decodes_only = self.args.published.from_latents.is_some();
        let residence = match decodes_only {
            true => Residence { resident: 0, layers: self.parts.variant.config.num_layers, bytes: 0 },
            false => Residence::within(limit, &self.denoising, &given)?,
        };
        let given = (self.prompts.as_ref(), self.images.as_ref());
        let (mut plan, views) = phases(&self.parts, self.extents, given, limit)?;
        if !decodes_only {
            plan.insert(plan.len() - 1, Phase { name: "denoise", bytes: residence.bytes });
        }
        if let Some(Phase { name, bytes }) = plan.iter().find(|phase| phase.bytes > limit) {
            let (bytes, limit) = (crate::cli::session::size(*bytes), crate::cli::session::size(limit));
            let what = format!("the phase `{name}` is expected to hold {bytes} of memory, and {limit} are allowed");
            return Err(Usage(format!("{what}; fewer frames and smaller ones need less")).into());
        }
        Ok(Planned { residence, phases: plan, views })
    }

    fn make_latents(
        &self,
        (residence, view): (Residence, View),
        session: &Session,
        seconds: &mut BTreeMap<&'static str, f64>,
    ) -> anyhow::Result<Vec<Tensor>> {
        let device = session.device();
        let ((texts, null), spent) = timed(|| self.texts(session))?;
        seconds.insert("text", spent);
        let (images, spent) = timed(|| self.image_conditions(view, session))?;
        seconds.insert("image", spent);
        let began = Instant::now();
        let mut made = Vec::new();
        for clip in 0..self.clips() {
            let of_clip = key(self.args.seed, clip);
            let noise = noise(device, &[of_clip], self.parts.variant.latents(self.extents))?;
            let text = texts[clip / usize::from(self.args.count)].clone();
            let given = given(noise, [text, null.clone()], images.clone());
            let denoising = Denoising { key: of_clip, ..self.denoising.clone() };
            let journal = Journal::open(&latents::steps(&self.args.output), clip, &denoising, &given)?;
            if journal.known() > 0 {
                session.note(&format!("clip {}: going on behind step {}", clip + 1, journal.known()));
            }
            made.push(self.denoise((&denoising, &journal), &given, (&made, residence), session)?);
            latents::save(&self.latents_path(), &made, denoising.sampler.steps())?;
        }
        seconds.insert("denoise", began.elapsed().as_secs_f64());
        Ok(made)
    }

    /// Embeddings `[1, rows, width]` of every caption, and of the negative prompt.
    fn texts(&self, session: &Session) -> anyhow::Result<(Vec<Tensor>, Tensor)> {
        let device = session.device();
        if let Some(path) = &self.args.published.embeddings {
            let file = SafeTensors::open(path)?;
            let text = |name| anyhow::Ok(file.tensor_f32(name, device)?);
            return Ok((vec![text("prompt_embeds")?], text("negative_prompt_embeds")?));
        }
        let prompts = self.prompts.as_ref().context("a run without embeddings has prompts")?;
        self.watched("text", session, |on_part| Ok(prompts.encode(device, on_part)?))
    }

    fn image_conditions(&self, view: View, session: &Session) -> anyhow::Result<ImageConditions> {
        let Some(images) = &self.images else { return Ok(ImageConditions::default()) };
        self.watched("image", session, |on_part| {
            Ok(images.conditions(&self.parts, self.extents, view, session.device(), on_part)?)
        })
    }

    /// The clip behind those that are `made`, which are kept whatever happens.
    fn denoise(
        &self,
        (denoising, journal): (&Denoising, &Journal),
        given: &Given,
        (made, residence): (&[Tensor], Residence),
        session: &Session,
    ) -> anyhow::Result<Tensor> {
        let blocks = (residence.layers - denoising.skip.len()) * denoising.sampler.steps();
        let mut progress = Progress::new(session.talk(), "denoise", (self.clips() * blocks) as u64);
        let mut last = None;
        let every = self.args.published.preview_every.map(usize::from);
        let finished = denoising.run(given, residence.resident, Some(journal), &mut |reached| {
            let done = (made.len() * blocks + reached.blocks[0]) as u64;
            progress.reach(done, || format!("step {}/{}", reached.steps, denoising.sampler.steps()));
            if let Some([latents, data]) = reached.latents {
                last = Some((reached.steps, latents.clone()));
                if every.is_some_and(|every| reached.steps.is_multiple_of(every)) {
                    // A run of hours does not end for want of a preview.
                    if let Err(error) = self.preview(data, reached.steps, session) {
                        session.note(&format!("no preview of step {}: {error:#}", reached.steps));
                    }
                }
            }
            if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.finish();
        match (finished, last) {
            (Ok(latents), _) if latents.is_finite()? => Ok(latents),
            (Ok(_), _) => {
                let why = "the network's output has values that are not finite; no video was written";
                Err(Numerical(why.to_owned()).into())
            }
            (Err(error @ crate::Error::Model(ModelError::Stopped { .. })), Some((steps, latents))) => {
                let all: Vec<Tensor> = made.iter().cloned().chain([latents]).collect();
                let path = self.latents_path();
                latents::save(&path, &all, steps)?;
                let told =
                    format!("its latents are in {}; the same command goes on behind its last step", path.display());
                Err(anyhow::Error::from(error).context(told))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn latents_path(&self) -> PathBuf {
        latents::path(&self.args.output)
    }

    /// Decodes the first frame of what the data would be.
    fn preview(&self, data: &Tensor, steps: usize, session: &Session) -> anyhow::Result<()> {
        let first = data.narrow(2, 0, 1)?.contiguous()?;
        let clip = Pixels::open(&self.parts, session.device())?
            .decode(&first, View::Tiles, &mut |_, _| ControlFlow::Continue(()))?;
        let path = self.args.output.output.with_extension(format!("step-{steps:03}.png"));
        video::write(&path, &clip, self.args.output.rate(self.parts.variant.frame_rate())?)?;
        session.note(&format!("preview of step {steps}: {}", path.display()));
        Ok(())
    }

    fn decode(&self, latents: &[Tensor], view: View, session: &Session) -> anyhow::Result<Vec<Clip>> {
        let pixels = Pixels::open(&self.parts, session.device())?;
        let decoded = |latents: &Tensor| {
            let shown = self.watched("decode", session, |on_part| Ok(pixels.decode(latents, view, on_part)?));
            shown.with_context(|| format!("the latents are in {}", self.latents_path().display()))
        };
        latents.iter().map(decoded).collect()
    }

    fn write(&self, clips: &[Clip]) -> anyhow::Result<()> {
        let output = &self.args.output;
        let picture = match clips {
            [clip] => clip.clone(),
            clips => video::grid(clips, output.columns.into(), 1)?,
        };
        let picture = picture.enlarged(output.scale.map_or(1, usize::from))?;
        video::write(&output.output, &picture, output.rate(self.parts.variant.frame_rate())?).with_context(|| {
            format!("the clips were made, but not written; latents are in {}", self.latents_path().display())
        })
    }

    /// Runs a phase with a bar, and stops it on Ctrl-C.
    fn watched<T>(
        &self,
        title: &str,
        session: &Session,
        phase: impl FnOnce(&mut crate::pipeline::OnPart<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut progress = None;
        let result = phase(&mut |done, of| {
            let bar = progress.get_or_insert_with(|| Progress::new(session.talk(), title, of as u64));
            bar.reach(done as u64, String::new);
            if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(bar) = progress {
            bar.finish();
        }
        result
    }
}

fn given(noise: Tensor, [text, null_text]: [Tensor; 2], images: ImageConditions) -> Given {
    let ImageConditions { embedding, beside, first_frame } = images;
    Given { noise, text, null_text, image: embedding, beside, first_frame }
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let began = Instant::now();
    let done = work()?;
    Ok((done, began.elapsed().as_secs_f64()))
}

fn announce(
    session: &Session,
    plan: &[Phase],
    Residence { resident, layers, .. }: Residence,
    views: Views,
    encodes: bool,
) {
    let size = crate::cli::session::size;
    let line = |phase: &Phase| format!("  {:<12}{:>10}\n", phase.name, size(phase.bytes));
    let lines: String = plan.iter().map(line).collect();
    let most = plan.iter().map(|phase| phase.bytes).max().unwrap_or(0);
    let where_ = match layers - resident {
        0 => format!("all {layers} blocks stay in memory"),
        streamed => format!("{streamed} of {layers} blocks are read anew in every step"),
    };
    let encoded = if encodes && views.encode == View::Tiles { "; the image is encoded in tiles" } else { "" };
    let decoded = if views.decode == View::Tiles { "; frames are decoded in tiles" } else { "" };
    session.note(&format!(
        "expected memory by phase\n{lines}  {:<12}{:>10}; {where_}{encoded}{decoded}",
        "at most",
        size(most)
    ));
}
