//! What all subcommands share: threads, how to talk, Ctrl-C.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::Context as _;
use bytesize::ByteSize;
use flg_engine::Device;
use serde::Serialize;

use super::exit::Usage;
use crate::bench::available_memory;
use crate::rehearsal::Expected;
use crate::run::{Interrupt, Request};

/// Flags that every subcommand takes.
#[derive(Debug, clap::Args)]
pub struct SessionArgs {
    /// Threads to compute with [default: all; results do not depend on it]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Where to compute: cpu, or cuda:N for NVIDIA GPU number N in a build with the feature `cuda`
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu", value_parser = Place::parse)]
    device: Place,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// Refuse to begin what is expected to hold more memory, such as 8GiB, 512MiB or a number of bytes
    #[arg(long, global = true, value_name = "SIZE")]
    max_memory: Option<ByteSize>,
}

/// What `--device` names.
#[derive(Clone, Copy, Debug)]
enum Place {
    Cpu,
    Cuda(u32),
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let ordinal = match text.split_once(':') {
            None if text == "cpu" => return Ok(Place::Cpu),
            None if text == "cuda" => Some(0),
            Some(("cuda", ordinal)) => ordinal.parse().ok(),
            _ => None,
        };
        ordinal.map(Place::Cuda).ok_or_else(|| "devices are cpu, and cuda:0, cuda:1, .. for GPUs".to_owned())
    }

    fn open(self) -> anyhow::Result<Device> {
        match self {
            Place::Cpu => Ok(Device::cpu()),
            Place::Cuda(ordinal) => Device::cuda(ordinal).with_context(|| format!("cannot use the GPU cuda:{ordinal}")),
        }
    }
}

/// How to show that something is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// A bar that redraws itself.
    Bar,
    /// A line now and then.
    Lines,
    /// Not at all.
    Nothing,
}

/// One invocation of the program.
#[derive(Debug)]
pub struct Session {
    device: Device,
    interrupt: OnceLock<Interrupt>,
    talk: Talk,
    json: bool,
    max_memory: Option<ByteSize>,
}

impl Session {
    /// Sets up threads and manners.
    ///
    /// # Errors
    /// Threads that the system does not give.
    pub fn start(args: SessionArgs) -> anyhow::Result<Self> {
        if let Some(threads) = args.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().context("cannot start the threads")?;
        }
        let talk = match (args.quiet || args.json, std::io::stderr().is_terminal()) {
            (true, _) => Talk::Nothing,
            (false, true) => Talk::Bar,
            (false, false) => Talk::Lines,
        };
        Ok(Session {
            device: args.device.open()?,
            interrupt: OnceLock::new(),
            talk,
            json: args.json,
            max_memory: args.max_memory,
        })
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Refuses what prints times, where these would be times of nothing that exists.
    ///
    /// # Errors
    /// An emulated GPU.
    pub fn require_real_time(&self) -> anyhow::Result<()> {
        if self.device.is_emulated() {
            return Err(Usage("no GPU is behind this device, so its times mean nothing".into()).into());
        }
        Ok(())
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    /// Raised by Ctrl-C from the first call on: the first press asks to save and stop, the second stops at once. Whoever
    /// calls this looks at it often; commands that do not are stopped by the system, and leave no half-written files.
    pub fn interrupt(&self) -> &Interrupt {
        self.interrupt.get_or_init(|| {
            let interrupt = Interrupt::new();
            let raised = interrupt.clone();
            let handler = move || match raised.raise() {
                Request::First => eprintln!("stopping after this step; press Ctrl-C again to stop at once"),
                Request::Again => std::process::exit(130),
            };
            if let Err(error) = ctrlc::set_handler(handler) {
                self.note(&format!("Ctrl-C will stop at once, without saving: {error}"));
            }
            interrupt
        })
    }

    /// How to show progress.
    pub fn talk(&self) -> Talk {
        self.talk
    }

    /// Tells the user something on the way, on stderr.
    pub fn note(&self, text: &str) {
        if self.talk != Talk::Nothing {
            eprintln!("{text}");
        }
    }

    /// Whether what a command is expected to hold may be held; `advice` says what lowers it.
    ///
    /// # Errors
    /// More than `--max-memory`.
    pub fn admit(&self, expected: &Expected, advice: &str) -> anyhow::Result<()> {
        let peak = size(expected.peak());
        let Some(limit) = self.max_memory.filter(|limit| expected.peak() as u64 > limit.as_u64()) else {
            return Ok(());
        };
        let limit = limit.display().iec();
        Err(Usage(format!("this is expected to hold {peak} of memory, and --max-memory is {limit}; {advice}")).into())
    }

    /// Bytes that may be held: what was asked for, else what the system has left.
    pub fn memory_limit(&self) -> usize {
        let asked = self.max_memory.map(|limit| limit.as_u64() as usize);
        asked.or_else(available_memory).unwrap_or(usize::MAX)
    }

    /// Tells the user what a command that is about to begin is expected to hold.
    pub fn announce(&self, expected: &Expected) {
        let line = |(name, bytes): (&str, usize)| format!("  {name:<12}{:>10}\n", size(bytes));
        let lines: String = expected.parts().into_iter().map(line).collect();
        self.note(&format!("expected memory\n{lines}  {:<12}{:>10}", "in all", size(expected.peak())));
        if let Some(free) = available_memory().filter(|&free| expected.peak() > free) {
            self.note(&format!("warning: this is more than the {} that the system has left", size(free)));
        }
    }

    /// Prints the result on stdout: `value` as JSON if that was asked for, else what `text` says.
    ///
    /// # Errors
    /// The system's refusals; a reader that has had enough (`flg inspect .. | head`) is none.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { text() };
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to standard output"),
        }
    }
}

/// Bytes for people.
pub(super) fn size(bytes: usize) -> String {
    ByteSize::b(bytes as u64).display().iec().to_string()
}
