//! The image encoder of Wan2.1's image-to-video models: the vision half of CLIP, as transformers' `CLIPVisionModel`
//! computes it, for inference.
//!
//! What is used is the hidden state in front of the last block and without the final norm (`hidden_states[-2]`).

mod config;
mod encoder;
mod parameters;
mod preprocess;
mod resize;

use std::path::Path;

use flg_engine::ops::patchify::{Direction, Patchify};
use flg_engine::safetensors::SafeTensors;
use flg_engine::{DType, Device, Shape, Tensor};
use flg_kernels::gemm::{Activation, Layout};
use flg_kernels::patchify::{Grid, Order};

pub use config::ClipConfig;
pub use encoder::ImageEncoder;
pub use preprocess::{Image, Preprocess};

use self::parameters::prefix;
use crate::checkpoint::CONFIG;
use crate::streamed::{BlockDone, OnBlock, Pass, Streamed, UNCOUNTED_BYTES, largest_stored, tell};
use crate::{Error, Result};

/// A CLIP vision encoder whose weights stay in their files.
#[derive(Debug)]
pub struct Clip {
    config: ClipConfig,
    file: SafeTensors,
    /// What names in the file begin with.
    prefix: &'static str,
}

impl Clip {
    /// Opens a folder with `config.json` and weights (one file or shards). Nothing but headers is read.
    ///
    /// # Errors
    /// A configuration that is not supported; [`Error::Parameters`] with every missing, extra and misshapen tensor. Errors
    /// name the file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Clip> {
        let folder = folder.as_ref();
        let config = ClipConfig::read(&folder.join(CONFIG))?;
        let file = SafeTensors::open_folder(folder)?;
        let mismatch = config.mismatch(file.names().filter_map(|name| Some((name, file.info(name)?.shape))));
        if !mismatch.is_empty() {
            return Err(Error::Parameters(mismatch).in_file(folder));
        }
        let prefix = prefix(file.names());
        Ok(Clip { config, file, prefix })
    }

    /// The sizes.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The hidden state in front of the last block, f32 `[images, tokens, hidden_size]`, of normalised pixels
    /// `[images, 3, rows, columns]`. `on_block` sees every hidden state.
    ///
    /// # Errors
    /// Pixels of other extents; weights that are integers; [`Error::EncodingStopped`].
    pub fn forward(&mut self, pixels: &Tensor, device: &Device, on_block: &mut OnBlock<'_>) -> Result<Tensor> {
        let blocks = Blocks { config: &self.config, pass: Pass::new(device) };
        let mut weights = Streamed { file: &mut self.file, device, prefix: self.prefix };
        let mut x = blocks.embed(&mut weights, pixels)?;
        let layers = self.config.num_hidden_layers - 1;
        tell(on_block, BlockDone { done: 0, blocks: layers, hidden: &x })?;
        for layer in 0..layers {
            x = blocks.run(&mut weights, layer, x)?;
            tell(on_block, BlockDone { done: layer + 1, blocks: layers, hidden: &x })?;
        }
        Ok(x)
    }

    /// The most bytes that [`Clip::forward`] holds at once on the host for so many images, as
    /// [`Umt5::peak_bytes`](crate::umt5::Umt5::peak_bytes) counts them.
    ///
    /// # Errors
    /// Weights that are integers.
    pub fn peak_bytes(&mut self, images: usize) -> Result<usize> {
        let (device, size) = (Device::dry(), self.config.image_size);
        let pixels = Tensor::empty(&device, [images, self.config.num_channels, size, size], DType::F32)?;
        self.forward(&pixels, &device, &mut |_| std::ops::ControlFlow::Continue(()))?;
        Ok(device.memory().held + largest_stored(&self.file, self.file.names()) + UNCOUNTED_BYTES)
    }
}

/// What the blocks of a pass share.
struct Blocks<'a> {
    config: &'a ClipConfig,
    pass: Pass,
}

impl Blocks<'_> {
    /// Patches, a learned token in front of them, positions, and a norm.
    fn embed(&self, weights: &mut Streamed<'_>, pixels: &Tensor) -> Result<Tensor> {
        let ClipConfig { image_size: size, num_channels: channels, patch_size, hidden_size: d, .. } = *self.config;
        let [images, ..] = pixels.shape().expect_rank::<4>("pixels")?;
        pixels.shape().expect("pixels", [images, channels, size, size])?;
        let patch = [1, patch_size, patch_size];
        let grid = Grid { batch: images, channels, frames: 1, height: size, width: size, patch };
        let pixels = pixels.reshape([images, channels, 1, size, size])?;
        let patchify = Patchify { grid, order: Order::ChannelFirst, direction: Direction::ToTokens };
        let patches = self.pass.run([&pixels], |cx, [x]| cx.patchify(&x, patchify))?;
        let (tokens, width) = (self.config.tokens(), channels * patch_size * patch_size);
        let weight = weights.tensor("embeddings.patch_embedding.weight")?.reshape([d, width])?;
        let patches = patches.reshape([images * (tokens - 1), width])?.matmul(&weight, Layout::NT)?;
        let patches = patches.reshape([images, tokens - 1, d])?;
        let class = weights.vector("embeddings.class_embedding")?.reshape([1, 1, d])?;
        let positions = weights.vector("embeddings.position_embedding.weight")?.reshape([1, tokens, d])?;
        let mut x = Tensor::empty(weights.device, [images, tokens, d], DType::F32)?;
        for image in 0..images {
            let mut one = Tensor::empty(weights.device, Shape::from([1, tokens, d]), DType::F32)?;
            one.overwrite(1, 0, &class)?;
            one.overwrite(1, 1, &patches.narrow(0, image, 1)?)?;
            x.overwrite(0, image, &one.add(&positions)?)?;
        }
        self.norm(weights, "pre_layrnorm", &x)
    }

    fn run(&self, weights: &mut Streamed<'_>, layer: usize, x: Tensor) -> Result<Tensor> {
        let name = format!("encoder.layers.{layer}");
        let n = self.norm(weights, &format!("{name}.layer_norm1"), &x)?;
        let mut project =
            |x: &Tensor, part| self.linear(weights, &format!("{name}.self_attn.{part}"), x, Activation::None);
        let (q, k, v) = (project(&n, "q_proj")?, project(&n, "k_proj")?, project(&n, "v_proj")?);
        drop(n);
        let heads = self.config.num_attention_heads;
        let attended = self.pass.run([&q, &k, &v], |cx, [q, k, v]| cx.attention(heads, &q, &k, &v, None))?;
        drop((q, k, v));
        let x = x.add(&project(&attended, "out_proj")?)?;
        let n = self.norm(weights, &format!("{name}.layer_norm2"), &x)?;
        let hidden = self.linear(weights, &format!("{name}.mlp.fc1"), &n, Activation::GeluErf)?;
        Ok(x.add(&self.linear(weights, &format!("{name}.mlp.fc2"), &hidden, Activation::None)?)?)
    }

    fn norm(&self, weights: &mut Streamed<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = weights.vector(&format!("{name}.weight"))?;
        let bias = weights.vector(&format!("{name}.bias"))?;
        let eps = self.config.layer_norm_eps as f32;
        self.pass.run([x, &weight, &bias], |cx, [x, weight, bias]| cx.layer_norm(&x, &weight, &bias, eps))
    }

    fn linear(&self, weights: &mut Streamed<'_>, name: &str, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let weight = weights.tensor(&format!("{name}.weight"))?;
        let bias = weights.vector(&format!("{name}.bias"))?;
        self.pass.run([x, &weight, &bias], |cx, [x, weight, bias]| cx.linear_activated(&x, &weight, &bias, activation))
    }
}
