//! `flg demo`: the whole pipeline, and a page that shows what came of it.

use std::path::{Path, PathBuf};

use flg_model::WanConfig;

use super::exit::{Interrupted, Usage};
use super::input::identify;
use super::progress::Progress;
use super::session::{Session, Talk};
use super::trained::{Trained, setup};
use crate::config::{Config, Layers};
use crate::data::{Card, DataCard, open};
use crate::demo::{CONFIG, Demo, Stop, Teacher, Watch};
use crate::eval::table;
use crate::report::{Figures, PAGE, Summary, verdict};
use crate::run::Error as RunError;
use crate::trainer::Event;

/// Where this program was built from: its teachers are found there whatever the current folder is.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// `flg demo`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The world: digits or counter
    #[arg(long, default_value = "digits", value_name = "NAME", value_parser = ["digits", "counter"])]
    preset: String,
    /// Train the teacher too, instead of using the bundled one
    #[arg(long)]
    from_scratch: bool,
    /// Everything once, in under a minute; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// A teacher of your own: a checkpoint with its data card, or the run that made it
    #[arg(long, value_name = "DIR", conflicts_with = "from_scratch")]
    teacher: Option<PathBuf>,
    /// Where everything is written [default: runs/demo, or runs/demo-PRESET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the demo in that folder
    #[arg(long, value_name = "latest", value_parser = ["latest"])]
    resume: Option<String>,
    /// One value, such as `distill.steps=60` (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of all random numbers, `run.seed`
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    session.require_real_time()?;
    let config = args.config()?;
    let out = args.folder();
    args.check_folder(&out, &config)?;
    let figures = if args.quick { Figures::Meaningless } else { Figures::Measured };
    if args.quick {
        session.note("a quick run: the figures mean nothing");
    }
    let given = args.given(&config, session)?;
    let (card, setup, teacher) = match given {
        Some(Trained { folder, checkpoint, card: DataCard::World(card), setup, .. }) => {
            let input = identify(&folder)?;
            (card, setup, Teacher::Given { checkpoint: Box::new(checkpoint), input })
        }
        Some(Trained { setup, .. }) => {
            setup.task.world("a demo")?;
            return Ok(());
        }
        None => {
            let card = Card::new(open(&config.data.world)?.as_ref(), &config.data, config.model.text_dim)?;
            let setup = setup(&card, &config, session.device())?;
            let model: WanConfig = config.model.wan(card.geometry.channels);
            (card, setup, Teacher::FromScratch(model))
        }
    };
    let name = args.preset.clone();
    let interrupt = session.interrupt();
    let demo = Demo { name, figures, config, setup, card, teacher, out: &out, interrupt };
    let mut bars = Bars { talk: session.talk(), bar: None };
    let ended = demo.run(&mut bars);
    bars.end();
    match ended {
        Ok(summary) => session.result(&summary, || text(&summary, &out.join(PAGE))),
        Err(Stop::Failed(error)) => Err(error.into()),
        Err(Stop::Interrupted { stage, step }) => {
            session.note(&format!("stopped in {stage}"));
            Err(Interrupted { step }.into())
        }
    }
}

impl Args {
    /// The preset, then what the demo changes of it, then what the flags do.
    fn config(&self) -> crate::config::Result<Config> {
        let mut layers = Layers::new().preset(&self.preset)?.preset("demo")?;
        if self.quick {
            layers = layers.preset("quick")?;
        }
        let seed = self.seed.map(|seed| format!("run.seed={seed}"));
        for text in self.set.iter().chain(&seed) {
            layers = layers.set(text)?;
        }
        layers.finish()
    }

    fn folder(&self) -> PathBuf {
        let name = if self.preset == "digits" { "demo".to_owned() } else { format!("demo-{}", self.preset) };
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }

    /// Refuses a folder that holds another demo, or this one if it is not to be resumed.
    fn check_folder(&self, out: &Path, config: &Config) -> anyhow::Result<()> {
        let path = out.join(CONFIG);
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(RunError::io("read", &path)(cause).into()),
        };
        if self.resume.is_none() {
            return Err(RunError::Occupied { path: out.to_owned() }.into());
        }
        if before != config.to_toml() {
            let path = path.display();
            let what = "its stages would not fit together; use the flags that it began with, or another --out";
            return Err(Usage(format!("the demo in `{path}` began with another configuration: {what}")).into());
        }
        Ok(())
    }

    /// The teacher that is not trained here.
    fn given(&self, config: &Config, session: &Session) -> anyhow::Result<Option<Trained>> {
        if self.from_scratch {
            return Ok(None);
        }
        let bundled = || {
            let relative = Path::new("assets/teacher").join(&self.preset);
            [relative.clone(), Path::new(SOURCE).join(relative)].into_iter().find(|folder| folder.is_dir())
        };
        let missing = || {
            let why = format!("no teacher comes with the preset `{}`", self.preset);
            Usage(format!("{why}: add --from-scratch to train one, or name one by --teacher DIR"))
        };
        let folder = self.teacher.clone().or_else(bundled).ok_or_else(missing)?;
        Ok(Some(Trained::open(&folder, None, config, session.device())?))
    }
}

/// One bar after the other.
struct Bars {
    talk: Talk,
    bar: Option<Progress>,
}

impl Bars {
    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

impl Watch for Bars {
    fn begin(&mut self, title: &str, total: u64) {
        self.end();
        self.bar = Some(Progress::new(self.talk, title, total));
    }

    fn reach(&mut self, done: u64) {
        if let Some(bar) = &mut self.bar {
            bar.reach(done, String::new);
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        if let Some(bar) = &mut self.bar {
            bar.observe(event);
        }
    }
}

/// The table and the verdict, for a terminal.
fn text(summary: &Summary, page: &Path) -> String {
    let rows: Vec<_> = summary.rows.iter().map(|row| row.measured.clone()).collect();
    let said = verdict::sentences(summary);
    format!("{}\n- {}\n\npage: {}", table(&rows), said.join("\n- "), page.display())
}
