//! `flg bench`: how long steps and kernels take.
//!
//! Other implementations are timed at the same sizes, with the same keys in their JSON: see `benches/README.md`.

use std::time::Duration;

use flg_engine::DType;
use flg_model::Checkpointing;
use serde_json::{Map, Value, json};

use super::exit::Usage;
use super::session::Session;
use crate::bench::{Clock, Inference, Kept, PEERS, Peers, Size, Training, median, peak_flops, peak_memory};

/// `flg bench`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The network: S (13 M parameters, 512 tokens), M (70 M, 1024) or L (1.4 G, 256)
    #[arg(long, value_parser = size, default_value = "S")]
    size: Size,
    /// Training steps (forward, backward, AdamW) or forward passes: train or infer
    #[arg(long, value_parser = mode, default_value = "train")]
    mode: Mode,
    /// Samples of a step [default: 8 for S, 2 for M, 1 for L]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Steps that count, after one that does not
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// How inference keeps weights: f32 or bf16 [default: f32 for S and M, bf16 for L]
    #[arg(long, value_parser = super::forward::precision)]
    weights: Option<crate::config::PrecisionKind>,
    /// In training, keep a block's input only and compute the block again in the backward pass
    #[arg(long)]
    checkpointing: bool,
    /// What training keeps activations as for the backward pass: f32 or bf16 [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = super::forward::precision)]
    saved: Option<crate::config::PrecisionKind>,
    /// Time kernels one by one instead, a line each
    #[arg(long, conflicts_with_all = ["size", "mode", "batch", "steps", "weights", "checkpointing", "saved"])]
    kernels: bool,
    /// Only kernels whose group (gemm, conv, attention, pointwise) or name contains this
    #[arg(long, value_name = "TEXT", requires = "kernels", default_value = "")]
    only: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Train,
    Infer,
}

fn size(text: &str) -> Result<Size, String> {
    Size::ALL.into_iter().find(|size| size.name() == text).ok_or_else(|| "it is S, M or L".to_owned())
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "train" => Ok(Mode::Train),
        "infer" => Ok(Mode::Infer),
        _ => Err("it is train or infer".to_owned()),
    }
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    if !session.device().is_host() {
        let advice = "`cargo bench --features cuda -- gpu` counts what kernels do on a GPU";
        return Err(Usage(format!("flg bench times the CPU only; {advice}")).into());
    }
    let threads = session.threads();
    let bench = Bench { clock: Clock::for_threads(threads), threads, session };
    if args.kernels { bench.kernels(&args.only) } else { bench.steps(&args) }
}

struct Bench<'a> {
    clock: Clock,
    threads: usize,
    session: &'a Session,
}

impl Bench<'_> {
    fn steps(&self, args: &Args) -> anyhow::Result<()> {
        use crate::config::PrecisionKind::{Bf16, F32};
        let mut setting = args.size.setting();
        setting.batch = args.batch.map_or(setting.batch, usize::from);
        let weights = args.weights.unwrap_or(match (args.size, args.mode) {
            (Size::L, Mode::Infer) => Bf16,
            _ => F32,
        });
        match (args.mode, weights) {
            (Mode::Infer, _) if args.checkpointing || args.saved.is_some() => {
                return Err(Usage("only training keeps what --checkpointing and --saved are about".to_owned()).into());
            }
            (Mode::Train, Bf16) => return Err(Usage("training keeps its weights in f32".to_owned()).into()),
            _ => {}
        }
        let (phases, flops): (&[&str], _) = match args.mode {
            Mode::Infer => (&[], setting.forward_flops()),
            Mode::Train => (&["forward_ms", "backward_ms", "optimizer_ms"], setting.training_flops()),
        };
        let device = self.session.device();
        let keep = if args.checkpointing { Checkpointing::PerBlock } else { Checkpointing::Off };
        let saved = args.saved.unwrap_or(F32);
        let dtype = if weights == Bf16 { DType::Bf16 } else { DType::F32 };
        let expected = match args.mode {
            Mode::Infer => Inference::expected(&setting, dtype)?,
            Mode::Train => Training::expected(&setting, keep, saved.into())?,
        };
        self.session.admit(&expected, "a smaller --batch, --checkpointing and --saved bf16 need less")?;
        self.session.announce(&expected);
        let mut kept = None;
        let times: Vec<Vec<Duration>> = match args.mode {
            Mode::Infer => {
                let inference = Inference::new(device, &setting, dtype)?;
                counted(args.steps, || Ok(vec![inference.step(&self.clock)?]))?
            }
            Mode::Train => {
                let mut training = Training::new(device, &setting)?.with_checkpointing(keep).with_saved(saved.into());
                let step = || training.step(&self.clock).map(|phases| [&[phases.iter().sum()], &phases[..]].concat());
                let times = counted(args.steps, step)?;
                kept = Some(training.kept().clone());
                times
            }
        };
        let step = |phase: usize| median(times.iter().map(|times| times[phase]));
        let row = json!({
            "impl": concat!("flg-", env!("CARGO_PKG_VERSION")), "size": args.size.name(),
            "mode": if args.mode == Mode::Train { "train" } else { "infer" }, "batch": setting.batch,
            "threads": self.threads, "clock": self.clock.name(), "weights": weights,
            "parameters": setting.config.parameter_count(), "tokens": setting.tokens(),
            "step_ms": milliseconds(step(0)),
        });
        let Value::Object(mut row) = row else { unreachable!("written as an object above") };
        for (phase, name) in phases.iter().enumerate() {
            row.insert((*name).to_owned(), milliseconds(step(phase + 1)).into());
        }
        self.rate(&mut row, flops, step(0));
        row.insert("peak_rss_mb".to_owned(), peak_memory().map(|bytes| megabytes(bytes as usize)).into());
        row.insert("pool_peak_mb".to_owned(), megabytes(device.memory().peak).into());
        row.insert("expected_peak_mb".to_owned(), megabytes(expected.peak()).into());
        if let Some(Kept { by_operation, bytes }) = kept {
            row.insert("checkpointing".to_owned(), args.checkpointing.into());
            row.insert("saved_as".to_owned(), json!(saved));
            row.insert("saved_mb".to_owned(), megabytes(bytes).into());
            let of = |(name, bytes): (&str, usize)| (name.to_owned(), Value::from(megabytes(bytes)));
            let by_operation = by_operation.into_iter().filter(|(_, bytes)| *bytes > 0).map(of);
            row.insert("saved".to_owned(), by_operation.collect::<Map<_, _>>().into());
        }
        self.session.result(&row, || text(&row))
    }

    fn kernels(&self, only: &str) -> anyhow::Result<()> {
        /// Time for one kernel.
        const BUDGET: Duration = Duration::from_millis(600);
        let runtime = self.session.device().runtime();
        let wanted = |peers: &Peers, name: &str| peers.group.contains(only) || name.contains(only);
        for peers in PEERS {
            for call in peers.calls().filter(|call| wanted(peers, &call.name())) {
                let time = call.time(runtime, &self.clock, BUDGET)?;
                let (work, seconds) = (call.work(), time.as_secs_f64());
                let mut row = Map::new();
                row.insert("kernel".to_owned(), call.name().into());
                row.insert("ms".to_owned(), milliseconds(time).into());
                if peers.group == "pointwise" {
                    row.insert("gbps".to_owned(), rounded(work.bytes as f64 / seconds / 1e9).into());
                } else {
                    self.rate(&mut row, work.flops, time);
                }
                self.session.result(&row, || text(&row))?;
            }
        }
        Ok(())
    }

    /// Operations a second, and their share of what as many threads could do at most.
    fn rate(&self, row: &mut Map<String, Value>, flops: u64, time: Duration) {
        let peak = peak_flops(self.session.device().runtime()) * self.threads as f64;
        let rate = flops as f64 / time.as_secs_f64();
        row.insert("gflops".to_owned(), rounded(rate / 1e9).into());
        row.insert("peak_gflops".to_owned(), rounded(peak / 1e9).into());
        row.insert("share_of_peak".to_owned(), ((rate / peak * 1e3).round() / 1e3).into());
    }
}

/// The times of `steps` steps, after one that fills caches and the memory pool.
fn counted(steps: u16, mut step: impl FnMut() -> crate::Result<Vec<Duration>>) -> crate::Result<Vec<Vec<Duration>>> {
    step()?;
    (0..steps).map(|_| step()).collect()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 1e4
}

fn megabytes(bytes: usize) -> f64 {
    rounded(bytes as f64 / 1048576.0)
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn text(row: &Map<String, Value>) -> String {
    let field = |(key, value): (&String, &Value)| match value {
        Value::String(value) => format!("{key} {value}"),
        value => format!("{key} {value}"),
    };
    row.iter().map(field).collect::<Vec<_>>().join(", ")
}
