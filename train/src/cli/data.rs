//! `flg data`: what there is to train on.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::exit::Usage;
use super::input::checkpoint_folder;
use super::progress::Progress;
use super::session::{Session, size};
use crate::data::encoded::StoredAs;
use crate::data::{self, DataSet, Encoded, ImportRequest, PRESETS, SampleKey, Split, Timing, World, import, open};
use crate::pipeline::{Doing, Encoding, Extents, Latents, Parts, View};
use crate::video::{self, Clip, FrameRate, Geometry, Limits};

/// `flg data`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the built-in worlds
    List,
    /// Say what a world or an encoded data set holds; every file of the latter is compared with its hash
    Inspect {
        /// A built-in world, or the folder of an imported one or of an encoded data set
        world: String,
    },
    /// Draw clips of a world into one picture or animation
    Make(Make),
    /// Turn a folder of captioned clips (GIF, APNG, PNG frames, Y4M; anything with ffmpeg) into a world
    Import(Import),
    /// Turn a folder of captioned clips into latents and text embeddings, with the encoders of a published checkpoint
    Encode(Encode),
}

#[derive(Debug, clap::Args)]
struct Make {
    /// A built-in world or the folder of an imported one
    #[arg(long, default_value = "digits")]
    world: String,
    /// Clips
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// Clips in a row
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    columns: u16,
    /// Draw from the clips that training never sees
    #[arg(long)]
    held_out: bool,
    /// Seed of the draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Screen pixels a pixel
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    scale: u8,
    /// Frames a second
    #[arg(long, default_value = "8")]
    fps: FrameRate,
    /// The file to write: .gif .apng .png .y4m .npy
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The folder of clips, with captions in captions.jsonl, captions.csv, or a text file beside each clip
    source: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Frames of a clip
    #[arg(long, default_value_t = 8)]
    frames: usize,
    /// Rows of a frame
    #[arg(long, default_value_t = 16)]
    height: usize,
    /// Columns of a frame
    #[arg(long, default_value_t = 16)]
    width: usize,
    /// Keep colours
    #[arg(long)]
    rgb: bool,
    /// Cut clips of every N-th frame; without it, each file becomes one clip of frames spread over all of it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    every: Option<u16>,
    /// Share of the files held out from training
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    held_out: f64,
}

#[derive(Debug, clap::Args)]
struct Encode {
    /// The folder of clips, with captions in captions.jsonl, captions.csv, or a text file beside each clip
    source: PathBuf,
    /// The checkpoint whose vae/, text_encoder/ and tokenizer/ encode them
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The folder to make, or to go on with
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Frames of a clip: a multiple of 4 and 1
    #[arg(long, default_value_t = 81)]
    frames: usize,
    /// Rows of a frame
    #[arg(long, short = 'H', default_value_t = 480)]
    height: usize,
    /// Columns of a frame
    #[arg(long, short = 'W', default_value_t = 832)]
    width: usize,
    /// Cut clips of every N-th frame; without it, each file becomes one clip of frames spread over all of it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    every: Option<u16>,
    /// Share of the files held out from training
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    held_out: f64,
    /// Store numbers exactly, in twice the room
    #[arg(long)]
    f32: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("{value} is not between 0 and 1")) }
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    match args.action {
        Action::List => list(session),
        Action::Inspect { world } => match DataSet::open(&world)? {
            DataSet::World(world) => inspect(world.as_ref(), session),
            DataSet::Encoded(set) => inspect_encoded(&set, session),
        },
        Action::Make(args) => make(&args, session),
        Action::Import(args) => bring_in(args, session),
        Action::Encode(args) => encode(args, session),
    }
}

fn list(session: &Session) -> anyhow::Result<()> {
    let rows: Vec<_> = PRESETS.iter().map(|p| json!({ "name": p.name, "about": p.about })).collect();
    session.result(&rows, || PRESETS.iter().map(|p| format!("{:<10} {}\n", p.name, p.about)).collect())
}

fn inspect(world: &dyn World, session: &Session) -> anyhow::Result<()> {
    let captions: Vec<&str> = world.captions().iter().map(|c| c.text.as_str()).collect();
    let moments = world.moments();
    let value = json!({
        "name": world.name(), "geometry": world.geometry(), "moments": moments, "captions": captions,
        "labels": world.label_kinds().iter().map(|k| (k.name, k.classes)).collect::<Vec<_>>(),
    });
    session.result(&value, || {
        let examples = captions.iter().take(5).copied().collect::<Vec<_>>().join("\n  ");
        let (name, count) = (world.name(), captions.len());
        format!(
            "{name}: clips of {}, mean {:.4}, deviation {:.4}\n{count} captions, such as\n  {examples}",
            world.geometry(),
            moments.mean(),
            moments.std()
        )
    })
}

fn inspect_encoded(set: &Encoded, session: &Session) -> anyhow::Result<()> {
    set.verify()?;
    let form = set.form();
    let captions: Vec<&str> = set.captions().collect();
    let clips = [Split::Training, Split::HeldOut].map(|split| set.len(split));
    let value = json!({
        "folder": set.folder(), "form": form, "clips": { "training": clips[0], "held_out": clips[1] },
        "captions": captions, "bytes": set.bytes(), "sha256": set.sha256(), "verified": true,
    });
    session.result(&value, || {
        let [c, f, h, w] = form.latents;
        let size = bytesize::ByteSize::b(set.bytes()).display().iec();
        let image = form.image.map(|image| format!("\nimage embeddings {} x {}", image.rows, image.dim));
        let channels = (form.channels > 0).then(|| format!("\n{} channels beside the latents", form.channels));
        let examples = captions.iter().take(5).copied().collect::<Vec<_>>().join("\n  ");
        format!(
            "{}: {} training and {} held-out clips, {size}, every file as it was written\nlatents of {c} channels x {f} \
             frames x {h} rows x {w} columns, by {}\ntext {} x {}, by {}{}{}\n{} captions, such as\n  {examples}",
            set.folder().display(),
            clips[0],
            clips[1],
            form.encoders.vae,
            form.text_rows,
            form.text_dim,
            form.encoders.text,
            image.unwrap_or_default(),
            channels.unwrap_or_default(),
            captions.len(),
        )
    })
}

fn make(args: &Make, session: &Session) -> anyhow::Result<()> {
    video::Format::of(&args.output)?;
    let world = open(&args.world)?;
    let split = if args.held_out { Split::HeldOut } else { Split::Training };
    let sample = |index| world.sample(split, SampleKey { seed: args.seed, stream: 0, index });
    let samples = (0..u64::from(args.count)).map(sample).collect::<Result<Vec<_>, data::Error>>()?;
    let clips: Vec<Clip> = samples.iter().map(|sample| sample.clip.clone()).collect();
    let captions: Vec<&str> = samples.iter().map(|s| world.captions()[s.caption].text.as_str()).collect();
    let picture = video::grid(&clips, args.columns.into(), 1)?.enlarged(args.scale.into())?;
    video::write(&args.output, &picture, args.fps)?;
    let value = json!({ "output": args.output, "world": world.name(), "captions": captions });
    session.result(&value, || format!("{}\nwritten to {}", captions.join("\n"), args.output.display()))
}

fn bring_in(args: Import, session: &Session) -> anyhow::Result<()> {
    let channels = if args.rgb { 3 } else { 1 };
    let request = ImportRequest {
        source: args.source,
        target: args.out,
        geometry: Geometry { channels, frames: args.frames, height: args.height, width: args.width },
        timing: args.every.map_or(Timing::Whole, |step| Timing::Windows { step: step.into() }),
        held_out: args.held_out,
        limits: Limits::default(),
    };
    let report = import(&request).context("nothing was imported")?;
    let skipped = report.skipped.iter().map(|s| json!({ "file": s.file, "reason": s.reason.to_string() }));
    let imported = report.imported.iter();
    let imported =
        imported.map(|f| json!({ "file": f.file, "caption": f.caption, "clips": f.clips, "split": f.split }));
    let value = json!({
        "world": request.target, "imported": imported.collect::<Vec<_>>(), "skipped": skipped.collect::<Vec<_>>(),
        "captions_without_file": report.captions_without_file,
    });
    session.result(&value, || format!("{report}\nuse it with --set data.world={}", request.target.display()))
}

fn encode(args: Encode, session: &Session) -> anyhow::Result<()> {
    let parts = Parts::open(&checkpoint_folder(&args.model)?)?;
    let request = ImportRequest {
        source: args.source,
        target: args.out,
        geometry: Geometry { channels: 3, frames: args.frames, height: args.height, width: args.width },
        timing: args.every.map_or(Timing::Whole, |step| Timing::Windows { step: step.into() }),
        held_out: args.held_out,
        limits: Limits::default(),
    };
    let stored = if args.f32 { StoredAs::F32 } else { StoredAs::Bf16 };
    let (vae, limit) = (parts.read_vae()?, session.memory_limit());
    let extents = Extents { frames: args.frames, height: args.height, width: args.width };
    parts.variant.check_extents(extents).map_err(crate::Error::from)?;
    let view = Latents::view_within(limit, &vae, [args.height, args.width])?;
    if view == View::Tiles {
        session.note("frames are encoded in tiles: whole ones need more memory than there is");
    }
    let encoding = Encoding { parts: &parts, request, stored, view };
    let needed = encoding.bytes()?;
    if needed > limit {
        let [needed, limit] = [needed, limit].map(size);
        let what = format!("this is expected to hold {needed} of memory, and {limit} are allowed");
        return Err(Usage(format!("{what}; fewer frames and smaller ones need less")).into());
    }
    let (mut texts, mut clips) = (None, None);
    let outcome = encoding.run(session.device(), &mut |doing| {
        let new = |title, of: usize| Progress::new(session.talk(), title, of as u64);
        match doing {
            Doing::Texts(done, of) => texts.get_or_insert_with(|| new("text", of)).reach(done as u64, String::new),
            Doing::Clips(done, of, file) => {
                clips.get_or_insert_with(|| new("clips", of)).reach(done as u64, || file.to_owned());
            }
        }
        if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let target = encoding.request.target.display();
    let skipped = outcome.skipped.iter().map(|s| json!({ "file": s.file, "reason": s.reason.to_string() }));
    let value = json!({
        "world": encoding.request.target, "clips": outcome.clips, "skipped": skipped.collect::<Vec<_>>(),
        "without_caption": outcome.without_caption,
    });
    session.result(&value, || {
        let skipped: String =
            outcome.skipped.iter().map(|s| format!("passed over {}: {}\n", s.file, s.reason)).collect();
        let silent: String = outcome.without_caption.iter().map(|f| format!("passed over {f}: no caption\n")).collect();
        format!("{skipped}{silent}{} clips encoded; use them with --world {target}", outcome.clips)
    })
}
