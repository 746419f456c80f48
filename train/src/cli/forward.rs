//! `flg forward`: one denoiser call on given tensors, for debugging and for comparison with other implementations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{Cx, DType, Precision, Tensor};
use flg_model::{BlockMask, Inputs, Time};
use serde_json::json;

use super::exit::BadInput;
use super::input::{Checkpoint, checkpoint_folder};
use super::session::Session;
use crate::config::PrecisionKind;

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
    let device = session.device();
    let inputs = SafeTensors::open(&args.inputs)?;
    let tensor = |name: &str| inputs.tensor_f32(name, device);
    let (latents, text, times) = (tensor("hidden_states")?, tensor("encoder_hidden_states")?, tensor("timestep")?);
    let image = inputs.info(IMAGE).map(|_| tensor(IMAGE)).transpose()?;
    let mut checkpoint = Checkpoint::load(&checkpoint_folder(&args.model)?, device)?;
    let precision = match args.precision {
        PrecisionKind::F32 => Precision::F32,
        PrecisionKind::Bf16 => {
            checkpoint.weights.refresh_shadows(flg_model::wan::reads_low_precision)?;
            Precision::Bf16
        }
    };
    let mask = BlockMask::without(checkpoint.wan.config().num_layers, &args.skip)?;
    let time = network_time(&times).with_context(|| format!("`{}`", args.inputs.display()))?;
    let cx = Cx::inference(&checkpoint.weights).with_precision(precision);
    let (latents, text) = (cx.input(latents), cx.input(text));
    let image = image.map(|image| cx.input(image));
    let inputs = Inputs { latents: &latents, time: &time, text: &text, image: image.as_ref() };
    let sample = checkpoint.wan.forward(&cx, &inputs, &mask)?;
    let sample = sample.value().contiguous()?.cast(DType::F32)?;
    safetensors::write(&args.output, [("sample", &sample)], &BTreeMap::new())?;
    let value = json!({ "output": args.output, "shape": sample.dims(), "blocks": mask.kept().len() });
    session.result(&value, || format!("sample {} written to {}", sample.shape(), args.output.display()))
}

fn network_time(times: &Tensor) -> anyhow::Result<Time> {
    match *times.dims() {
        [_] => Ok(Time::per_sample(&times.values()?)),
        [batch, tokens] => Ok(Time::per_token(&times.values()?, batch, tokens)?),
        _ => Err(BadInput(format!("timestep is {}, expected [b] or [b, tokens]", times.shape())).into()),
    }
}
