//! `flg forward`: one denoiser call on given tensors, for debugging and for comparison with other implementations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{Cx, DType, Device, Precision, Tensor};
use flg_model::checkpoint::{Keep, StoredNetwork, TRANSFORMER};
use flg_model::wan::{Blockwise, Pass};
use flg_model::{BlockMask, Inputs, Time};
use serde_json::json;

use super::exit::BadInput;
use super::input::checkpoint_folder;
use super::session::Session;
use crate::config::PrecisionKind;
use crate::rehearsal::{Expected, Known};

/// The one input that not every network takes.
const IMAGE: &str = "encoder_hidden_states_image";

/// `flg forward`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The checkpoint's folder, or that of its transformer
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Tensors `hidden_states [b, c, f, h, w]`, `timestep [b]` or `[b, tokens]` in 0 to 1000,
    /// `encoder_hidden_states [b, rows, text_dim]` and, for a network that attends to an image,
    /// `encoder_hidden_states_image [b, rows, image_dim]`
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// The safetensors file to write: tensor `sample [b, c, f, h, w]`
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Blocks to skip, counted from 0
    #[arg(long, value_name = "N,N..", value_delimiter = ',')]
    skip: Vec<usize>,
    /// Number format of activations
    #[arg(long, value_parser = precision, default_value = "f32")]
    precision: PrecisionKind,
}

/// Reads a name of the configuration's.
pub(super) fn precision(text: &str) -> Result<PrecisionKind, String> {
    match text {
        "f32" => Ok(PrecisionKind::F32),
        "bf16" => Ok(PrecisionKind::Bf16),
        _ => Err("it is f32 or bf16".to_owned()),
    }
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let inputs = SafeTensors::open(&args.inputs)?;
    // What is missing is said in the order in which it is documented.
    ["hidden_states", "encoder_hidden_states"]
        .iter()
        .try_for_each(|name| inputs.tensor_f32(name, &Device::dry()).map(drop))?;
    let network = transformer(&checkpoint_folder(&args.model)?);
    let times = inputs.tensor_f32("timestep", &Device::cpu())?;
    let times = network_time(&times).with_context(|| format!("`{}`", args.inputs.display()))?;
    let call = Call { args: &args, inputs: &inputs, network: &network, time: &times };
    let dry = Device::dry();
    call.run(&dry)?;
    let expected = Expected::of(&dry, Known::default());
    session.admit(&expected, "fewer tokens need less")?;
    session.announce(&expected);

    let began = Instant::now();
    let (sample, blocks) = call.run(session.device())?;
    let seconds = began.elapsed().as_secs_f64();
    safetensors::write(&args.output, [("sample", &sample)], &BTreeMap::new())?;
    let value = json!({ "output": args.output, "shape": sample.dims(), "blocks": blocks, "seconds": seconds });
    session.result(&value, || format!("sample {} written to {}", sample.shape(), args.output.display()))
}

/// One call of a network whose blocks are read as it comes to them: each is needed once.
struct Call<'a> {
    args: &'a Args,
    inputs: &'a SafeTensors,
    network: &'a Path,
    time: &'a Time,
}

impl Call<'_> {
    /// The sample, f32, and how many blocks it went through. On a dry device nothing is read.
    fn run(&self, device: &Device) -> anyhow::Result<(Tensor, usize)> {
        let (precision, keep) = match self.args.precision {
            PrecisionKind::F32 => (Precision::F32, Keep::Stored),
            PrecisionKind::Bf16 => (Precision::Bf16, Keep::Bf16),
        };
        let network = Blockwise::new(StoredNetwork::open(self.network)?, keep, 0, device)?;
        let (wan, cx) = (network.wan(), Cx::inference(network.shell()).with_precision(precision));
        let mask = BlockMask::without(wan.config().num_layers, &self.args.skip)?;
        let input = |name: &str| self.inputs.tensor_f32(name, device).map(|tensor| cx.input(tensor));
        let (latents, text) = (input("hidden_states")?, input("encoder_hidden_states")?);
        let image = self.inputs.info(IMAGE).map(|_| input(IMAGE)).transpose()?;
        let inputs = Inputs { latents: &latents, time: self.time, text: &text, image: image.as_ref() };
        let mut passes = [Pass::from(wan.embed(&cx, &inputs)?)];
        network.blocks(precision, &mut passes, &mask, &mut |_| Ok(()))?;
        let [Pass { embedded, stream }] = passes;
        let sample = wan.head(&cx, &embedded, &stream)?;
        Ok((sample.value().contiguous()?.cast(DType::F32)?, mask.kept().len()))
    }
}

/// The network of a checkpoint, or what was named itself.
fn transformer(folder: &Path) -> PathBuf {
    let inside = folder.join(TRANSFORMER);
    if inside.is_dir() { inside } else { folder.to_owned() }
}

fn network_time(times: &Tensor) -> anyhow::Result<Time> {
    match *times.dims() {
        [_] => Ok(Time::per_sample(&times.values()?)),
        [batch, tokens] => Ok(Time::per_token(&times.values()?, batch, tokens)?),
        _ => Err(BadInput(format!("timestep is {}, expected [b] or [b, tokens]", times.shape())).into()),
    }
}
