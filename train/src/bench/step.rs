//! One step of training, and one forward pass.

use std::time::Duration;

use flg_engine::{Cx, DType, Device, Grads, Key, ParamStore, SavedAs, Tensor};
use flg_model::wan::reads_low_precision;
use flg_model::{BlockMask, Checkpointing, Inputs, Time, Wan};

use super::{Clock, Setting};
use crate::config::OptimizerConfig;
use crate::error::Result;
use crate::optim::{Optimizer, Trained, Update};
use crate::rehearsal::{Expected, Known};

/// A network with random weights, and random inputs for it.
struct Network {
    wan: Wan,
    weights: ParamStore,
    latents: Tensor,
    text: Tensor,
    time: Time,
    mask: BlockMask,
}

impl Network {
    fn new(device: &Device, setting: &Setting, stored: DType) -> Result<Self> {
        let key = Key::new(0);
        let dtype = |name: &str| if reads_low_precision(name) { stored } else { DType::F32 };
        let mut weights = ParamStore::new(device);
        let wan = Wan::init_stored(setting.config.clone(), &mut weights, key.name("weights"), dtype)?;
        let Setting { config, latent: [channels, frames, height, width], text_rows, batch } = setting;
        let shape = [*batch, *channels, *frames, *height, *width];
        // From 100 to 900, evenly: 1000 is pure noise.
        let time = |i: usize| 100.0 + 800.0 * i as f32 / batch.saturating_sub(1).max(1) as f32;
        Ok(Network {
            latents: key.name("latents").normal(device, shape)?,
            text: key.name("text").normal(device, [*batch, *text_rows, config.text_dim])?,
            time: Time::per_sample(&(0..*batch).map(time).collect::<Vec<_>>()),
            mask: BlockMask::all(config.num_layers),
            wan,
            weights,
        })
    }

    fn forward(&self, cx: &Cx<'_>) -> Result<flg_engine::Var> {
        let (latents, text) = (cx.input(self.latents.clone()), cx.input(self.text.clone()));
        let inputs = Inputs { latents: &latents, time: &self.time, text: &text, image: None };
        Ok(self.wan.forward(cx, &inputs, &self.mask)?)
    }
}

/// A network that samples.
pub struct Inference(Network);

impl Inference {
    /// A network whose weights are kept in `stored`, but for those that mixed precision keeps in f32; ready to run many
    /// times, as a sampler's is.
    ///
    /// # Errors
    /// Sizes that no network can have.
    pub fn new(device: &Device, setting: &Setting, stored: DType) -> Result<Self> {
        let mut network = Network::new(device, setting, stored)?;
        network.weights.prepack()?;
        Ok(Inference(network))
    }

    /// What a process that does this holds at most, found out without doing it.
    ///
    /// # Errors
    /// As [`Inference::new`].
    pub fn expected(setting: &Setting, stored: DType) -> Result<Expected> {
        let device = Device::dry();
        let inference = Inference::new(&device, setting, stored)?;
        inference.0.forward(&Cx::inference(&inference.0.weights))?;
        Ok(Expected::of(&device, Known { weights: inference.0.weights.bytes(), ..Known::default() }))
    }

    /// One forward pass, the embedding of the text included; how long it took.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn step(&self, clock: &Clock) -> Result<Duration> {
        let start = clock.now();
        self.0.forward(&Cx::inference(&self.0.weights))?;
        Ok(clock.now() - start)
    }
}

/// A network that is trained.
pub struct Training {
    network: Network,
    target: Tensor,
    grads: Grads,
    optimizer: Optimizer,
    steps: u64,
    saved_as: SavedAs,
    kept: Kept,
}

/// What a forward pass kept for the backward pass.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Bytes by operation. A tensor that several operations keep counts for each of them.
    pub by_operation: Vec<(&'static str, usize)>,
    /// Bytes in all, every tensor once.
    pub bytes: usize,
}

impl Training {
    /// A network at the start of its training with AdamW, everything in f32.
    ///
    /// # Errors
    /// Sizes that no network can have.
    pub fn new(device: &Device, setting: &Setting) -> Result<Self> {
        let network = Network::new(device, setting, DType::F32)?;
        let target = Key::new(0).name("target").normal(device, network.latents.shape())?;
        let config = OptimizerConfig { lr: 1e-4, ..OptimizerConfig::default() };
        let optimizer = Optimizer::new(&config, &network.weights)?;
        let grads = Grads::new(&network.weights);
        Ok(Training {
            grads,
            network,
            target,
            optimizer,
            steps: 0,
            saved_as: SavedAs::default(),
            kept: Kept::default(),
        })
    }

    /// The same training with another choice of which activations its forward passes keep.
    pub fn with_checkpointing(mut self, checkpointing: Checkpointing) -> Self {
        self.network.wan = self.network.wan.with_checkpointing(checkpointing);
        self
    }

    /// The same training with another choice of what those are kept as.
    pub fn with_saved(self, saved_as: SavedAs) -> Self {
        Training { saved_as, ..self }
    }

    /// What a process that does this holds at most, found out without doing it.
    ///
    /// # Errors
    /// As [`Training::new`].
    pub fn expected(setting: &Setting, checkpointing: Checkpointing, saved_as: SavedAs) -> Result<Expected> {
        let (device, clock) = (Device::dry(), Clock::for_threads(1));
        let mut training = Training::new(&device, setting)?.with_checkpointing(checkpointing).with_saved(saved_as);
        training.step(&clock)?;
        training.step(&clock)?;
        let weights = training.network.weights.bytes();
        let known = Known { weights, averages: 0, moments: training.optimizer.moments().bytes(), gradients: weights };
        Ok(Expected::of(&device, known))
    }

    /// What the forward pass of the last step kept.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Forward pass with the mean squared error against a fixed target, backward pass, AdamW; how long each took.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn step(&mut self, clock: &Clock) -> Result<[Duration; 3]> {
        let device = self.network.weights.device().clone();
        let before = device.memory().live;
        let start = clock.now();
        let cx = Cx::training(&self.network.weights).with_saved(self.saved_as);
        let loss = cx.mse(&self.network.forward(&cx)?, &self.target)?;
        let forward = clock.now();
        self.kept = Kept { by_operation: cx.saved_bytes(), bytes: device.memory().live - before };
        cx.backward(&loss, 1.0, &mut self.grads)?;
        let backward = clock.now();
        self.steps += 1;
        let update = Update { number: self.steps, lr_factor: 1.0, grad_scale: 1.0 };
        self.optimizer.step(Trained::alone(&mut self.network.weights), &self.grads, update)?;
        self.grads.clear();
        Ok([forward - start, backward - forward, clock.now() - backward])
    }
}
