//! Wan's text encoder: the encoder half of UMT5, as transformers' `UMT5EncoderModel` computes it, for inference.
//!
//! Sequences are computed without padding, one behind the other: a row of the encoding depends on the tokens of its own
//! prompt only, so padded keys, which a mask would switch off, need not exist. Several prompts pass through each layer
//! together, and the weights are read once.
//!
//! Activations are f32 whatever the weights are stored in. Where PyTorch runs the encoder in bf16 it rounds them behind
//! every operation, and what comes out differs from this by that rounding.

mod attention;
mod config;
mod encoder;
mod parameters;
mod prompt;
pub mod tokenizer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use flg_engine::safetensors::SafeTensors;
use flg_engine::{DType, Device, Tensor};
use flg_kernels::gelu::Form;
use flg_kernels::gemm::Layout;

pub use attention::Buckets;
pub use config::Umt5Config;
pub use encoder::{ROWS, TextEncoder};
pub use prompt::clean;

use self::attention::{Sequence, spans};
use self::parameters::{FINAL_NORM, TABLE, TABLE_IN_ENCODER};
use crate::checkpoint::CONFIG;
use crate::streamed::{BlockDone, OnBlock, Pass, Streamed, UNCOUNTED_BYTES, largest_stored, tell};
use crate::{Error, Result};

/// A UMT5 encoder whose weights stay in their files.
#[derive(Debug)]
pub struct Umt5 {
    config: Umt5Config,
    file: SafeTensors,
    /// The name that the embedding table has in the file.
    table: &'static str,
}

impl Umt5 {
    /// Opens a folder with `config.json` and weights (one file or shards). Nothing but headers is read.
    ///
    /// # Errors
    /// A configuration that is not supported; [`Error::Parameters`] with every missing, extra and misshapen tensor. Errors
    /// name the file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Umt5> {
        let folder = folder.as_ref();
        let config = Umt5Config::read(&folder.join(CONFIG))?;
        let file = SafeTensors::open_folder(folder)?;
        let mismatch = config.mismatch(file.names().filter_map(|name| Some((name, file.info(name)?.shape))));
        if !mismatch.is_empty() {
            return Err(Error::Parameters(mismatch).in_file(folder));
        }
        let table = if file.info(TABLE).is_some() { TABLE } else { TABLE_IN_ENCODER };
        Ok(Umt5 { config, file, table })
    }

    /// The sizes.
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// The last hidden state of each sequence of tokens, f32 `[tokens, d_model]`, behind the final norm. `on_block` sees
    /// the sequences one behind the other, `[all tokens, d_model]`.
    ///
    /// # Errors
    /// Tokens that the vocabulary does not have; weights that are integers; [`Error::EncodingStopped`].
    pub fn forward(
        &mut self,
        sequences: &[Vec<usize>],
        device: &Device,
        on_block: &mut OnBlock<'_>,
    ) -> Result<Vec<Tensor>> {
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mut blocks = Blocks::new(&self.config, &lengths, device)?;
        let mut weights = Streamed { file: &mut self.file, device, prefix: "" };
        let mut x = weights.rows(self.table, &sequences.concat())?;
        let layers = self.config.num_layers;
        tell(on_block, BlockDone { done: 0, blocks: layers, hidden: &x })?;
        for block in 0..layers {
            x = blocks.run(&mut weights, block, x)?;
            tell(on_block, BlockDone { done: block + 1, blocks: layers, hidden: &x })?;
        }
        let x = blocks.norm(&mut weights, FINAL_NORM, &x)?;
        blocks.spans.iter().map(|span| Ok(x.narrow(0, span.start, span.len())?)).collect()
    }

    /// The most bytes that [`Umt5::forward`] holds at once on the host for sequences of these lengths: the largest tensor
    /// while it is copied, activations, and [`UNCOUNTED_BYTES`]. A rehearsal counts them; neither time nor memory is spent.
    ///
    /// Of umt5-xxl in bf16 and two prompts of 512 tokens it says 433 MiB, and 404 were measured; of 60 tokens 234 and 217.
    ///
    /// # Errors
    /// Weights that are integers.
    pub fn peak_bytes(&mut self, lengths: &[usize]) -> Result<usize> {
        let device = Device::dry();
        let sequences: Vec<_> = lengths.iter().map(|&len| vec![0; len]).collect();
        self.forward(&sequences, &device, &mut |_| std::ops::ControlFlow::Continue(()))?;
        // Of the embedding table only rows are read.
        let read = self.file.names().filter(|name| ![TABLE, TABLE_IN_ENCODER].contains(name));
        Ok(device.memory().held + largest_stored(&self.file, read) + UNCOUNTED_BYTES)
    }
}

/// What the blocks of a pass share.
struct Blocks<'a> {
    config: &'a Umt5Config,
    pass: Pass,
    /// Where each sequence lies.
    spans: Vec<Range<usize>>,
    /// Buckets of all pairs, by the length of a sequence.
    buckets: BTreeMap<usize, Tensor>,
}

impl<'a> Blocks<'a> {
    fn new(config: &'a Umt5Config, lengths: &[usize], device: &Device) -> Result<Self> {
        let of_pairs = |&len: &usize| Ok((len, Buckets::new(config).of_pairs(device, len)?));
        let buckets = lengths.iter().map(of_pairs).collect::<Result<_>>()?;
        Ok(Blocks { config, pass: Pass::new(device), spans: spans(lengths), buckets })
    }

    fn run(&mut self, weights: &mut Streamed<'_>, block: usize, x: Tensor) -> Result<Tensor> {
        let x = x.add(&self.self_attention(weights, &format!("encoder.block.{block}.layer.0"), &x)?)?;
        let h = self.feed_forward(weights, &format!("encoder.block.{block}.layer.1"), &x)?;
        Ok(x.add(&h)?)
    }

    fn norm(&self, weights: &mut Streamed<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, eps) = (weights.vector(name)?, self.config.layer_norm_epsilon as f32);
        self.pass.run([x, &weight], |cx, [x, weight]| cx.rms_norm(&x, &weight, eps))
    }

    fn self_attention(&self, weights: &mut Streamed<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let n = self.norm(weights, &format!("{name}.layer_norm.weight"), x)?;
        let name = format!("{name}.SelfAttention");
        let mut project = |x: &Tensor, part: &str| -> Result<Tensor> {
            Ok(x.matmul(&weights.tensor(&format!("{name}.{part}.weight"))?, Layout::NT)?)
        };
        let (q, k, v) = (project(&n, "q")?, project(&n, "k")?, project(&n, "v")?);
        drop(n);
        let bias = weights.tensor(&format!("{name}.relative_attention_bias.weight"))?;
        let mut attended = Tensor::empty(q.device(), q.shape(), DType::F32)?;
        for span in &self.spans {
            let of = |x: &Tensor| x.narrow(0, span.start, span.len());
            let buckets = &self.buckets[&span.len()];
            let sequence = Sequence { q: &of(&q)?, k: &of(&k)?, v: &of(&v)?, buckets, bias: &bias };
            attended.overwrite(0, span.start, &sequence.attend()?)?;
        }
        drop((q, k, v));
        Ok(attended.matmul(&weights.tensor(&format!("{name}.o.weight"))?, Layout::NT)?)
    }

    fn feed_forward(&self, weights: &mut Streamed<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let n = self.norm(weights, &format!("{name}.layer_norm.weight"), x)?;
        let name = format!("{name}.DenseReluDense");
        let mut project = |x: &Tensor, part: &str| -> Result<Tensor> {
            Ok(x.matmul(&weights.tensor(&format!("{name}.{part}.weight"))?, Layout::NT)?)
        };
        let gate = project(&n, "wi_0")?;
        let gate = self.pass.run([&gate], |cx, [x]| cx.gelu(&x, Form::Tanh))?;
        let hidden = gate.mul(&project(&n, "wi_1")?)?;
        drop((n, gate));
        project(&hidden, "wo")
    }
}
