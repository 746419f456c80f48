//! From noise to latents, with one network or two experts, of which as many blocks stay in memory as there is room for.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::PathBuf;

use flg_engine::{Device, Key, Precision, Tensor};
use flg_model::checkpoint::{Keep, StoredNetwork};
use flg_model::sampler::{
    BlockwiseDenoiser, Denoiser, Experts, FirstFrame, Level, Progress, Prompt, Watch, sample_few_step, sample_ode,
};
use flg_model::wan::Blockwise;
use flg_model::{BlockMask, Error as ModelError, FewStep, Guidance, Result as ModelResult};

use super::Journal;
use crate::Result;
use crate::generate::Sampler;
use crate::rehearsal::{Expected, Known};

/// A run of the sampler: everything but where it runs and what it starts from.
#[derive(Clone, Debug)]
pub struct Denoising {
    /// The folder of the network, or of the experts for high and low noise.
    pub networks: Vec<PathBuf>,
    /// The noise level where the second takes over.
    pub boundary: f64,
    /// Blocks to skip.
    pub skip: Vec<usize>,
    /// How to sample; its guidance is that of the first network.
    pub sampler: Sampler,
    /// The second network's guidance.
    pub second_guidance: Guidance,
    /// What activations are stored in.
    pub precision: Precision,
    /// Draws the fresh noise of a schedule that re-noises.
    pub key: Key,
}

/// What a run begins with, and what the networks are told. Its tensors' device is where the run takes place.
#[derive(Clone, Debug)]
pub struct Given {
    /// Standard normal latents `[1, c, f, h, w]`.
    pub noise: Tensor,
    /// Text embedding `[1, rows, text_dim]`.
    pub text: Tensor,
    /// That of the text to go away from.
    pub null_text: Tensor,
    /// Image embedding `[1 or images, rows, image_dim]`.
    pub image: Option<Tensor>,
    /// Channels behind those of the latents, `[1, c, f, h, w]`.
    pub beside: Option<Tensor>,
    /// The first latent frame `[1, c, 1, h, w]`.
    pub first_frame: Option<Tensor>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'a> {
    /// Steps done.
    pub steps: usize,
    /// Blocks done since the run began, and those of the whole run: at most, where two experts differ in depth.
    pub blocks: [usize; 2],
    /// The latents behind the last step, and what they would be without the noise that they have; none within a step.
    pub latents: Option<[&'a Tensor; 2]>,
}

/// Is told of every block and of every step, and may stop the run.
pub type OnReached<'a> = dyn FnMut(Reached<'_>) -> ControlFlow<()> + 'a;

impl Denoising {
    /// Latents `[1, c, f, h, w]`; of each network at most `resident` blocks stay in memory. Each step is kept in the
    /// journal, if there is one, and those that it knows are not computed.
    ///
    /// # Errors
    /// Networks that cannot be read; conditions that they do not take; [`flg_model::Error::Stopped`].
    pub fn run(
        &self,
        given: &Given,
        resident: usize,
        journal: Option<&Journal>,
        reached: &mut OnReached<'_>,
    ) -> Result<Tensor> {
        let device = given.noise.device();
        let networks =
            self.networks.iter().map(|path| Blockwise::new(StoredNetwork::open(path)?, Keep::Stored, resident, device));
        let networks = networks.collect::<ModelResult<Vec<_>>>()?;
        let masks = networks.iter().map(|network| BlockMask::without(network.wan().config().num_layers, &self.skip));
        let masks = masks.collect::<ModelResult<Vec<_>>>()?;
        let most = masks.iter().map(|mask| mask.kept().len()).max().unwrap_or(0);
        let run = Run {
            all: most * self.sampler.steps(),
            of_steps: self.sampler.steps(),
            blocks: Cell::new(0),
            steps: Cell::new(0),
            data: RefCell::new(None),
            reached: RefCell::new(reached),
        };
        let guidances = [self.first_guidance(), self.second_guidance];
        let denoisers = networks.iter().zip(&masks).zip(guidances).map(|((network, mask), guidance)| {
            let on_block = Box::new(|_| run.block());
            BlockwiseDenoiser::new(network, mask, self.precision, &given.prompt(guidance), on_block)
        });
        let mut denoisers = denoisers.collect::<ModelResult<Vec<_>>>()?;
        let mut denoiser: Box<dyn Denoiser + '_> = match (denoisers.pop(), denoisers.pop()) {
            (Some(low), Some(high)) => Box::new(Experts { high, low, boundary: self.boundary }),
            (Some(only), None) => Box::new(only),
            (None, _) => unreachable!("there is a network"),
        };
        let mut watched = Watched { denoiser: &mut *denoiser, run: &run, each: most, asked: 0, journal };
        let mut on_step = |progress: Progress<'_>| run.step(progress);
        let mut watch = Watch { first_frame: given.first_frame.as_ref(), on_step: &mut on_step };
        Ok(match &self.sampler {
            Sampler::Ode(ode, _) => sample_ode(&mut watched, ode, &given.noise, &mut watch)?,
            Sampler::FewStep(schedule) => {
                sample_few_step(&mut watched, schedule, &given.noise, &[self.key], &mut watch)?
            }
        })
    }

    /// What [`Denoising::run`] will hold at most.
    ///
    /// # Errors
    /// As there.
    pub fn expected(&self, given: &Given, resident: usize) -> Result<Expected> {
        /// Steps after which nothing new is held.
        const STEPS: usize = 4;
        let mut short = self.clone();
        match &mut short.sampler {
            Sampler::Ode(ode, _) => ode.steps = ode.steps.min(STEPS),
            Sampler::FewStep(FewStep { sigmas, .. }) => sigmas.truncate(STEPS),
        }
        let device = Device::dry();
        let given = given.on(&device)?;
        short.run(&given, resident, None, &mut |_| ControlFlow::Continue(()))?;
        Ok(Expected::of(&device, Known::default()))
    }

    fn first_guidance(&self) -> Guidance {
        match self.sampler {
            Sampler::Ode(_, guidance) => guidance,
            Sampler::FewStep(_) => Guidance::none(),
        }
    }
}

impl Given {
    fn prompt(&self, guidance: Guidance) -> Prompt<'_> {
        Prompt {
            text: &self.text,
            guided: Some((&self.null_text, guidance)),
            image: self.image.as_ref(),
            beside: self.beside.as_ref(),
            first_frame: if self.first_frame.is_some() { FirstFrame::Given } else { FirstFrame::Made },
        }
    }

    /// The same by shape only.
    fn on(&self, dry: &Device) -> Result<Given> {
        let shape = |x: &Tensor| Tensor::empty(dry, x.shape(), x.dtype());
        let part = |x: &Option<Tensor>| x.as_ref().map(shape).transpose();
        Ok(Given {
            noise: shape(&self.noise)?,
            text: shape(&self.text)?,
            null_text: shape(&self.null_text)?,
            image: part(&self.image)?,
            beside: part(&self.beside)?,
            first_frame: part(&self.first_frame)?,
        })
    }
}

/// What blocks and steps of a run tell of it.
struct Run<'r, 'o> {
    /// Blocks of the whole run.
    all: usize,
    of_steps: usize,
    blocks: Cell<usize>,
    steps: Cell<usize>,
    /// The last prediction of the data.
    data: RefCell<Option<Tensor>>,
    reached: RefCell<&'r mut OnReached<'o>>,
}

impl Run<'_, '_> {
    fn block(&self) -> ModelResult<()> {
        self.blocks.set(self.blocks.get() + 1);
        match self.tell(None) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ModelError::Stopped { done: self.steps.get(), steps: self.of_steps }),
        }
    }

    fn step(&self, progress: Progress<'_>) -> ControlFlow<()> {
        self.steps.set(progress.done);
        match self.data.take() {
            Some(data) => self.tell(Some([progress.latents, &data])),
            None => self.tell(None),
        }
    }

    fn tell(&self, latents: Option<[&Tensor; 2]>) -> ControlFlow<()> {
        let blocks = [self.blocks.get(), self.all];
        (self.reached.borrow_mut())(Reached { steps: self.steps.get(), blocks, latents })
    }
}

/// A denoiser that is asked once a step, and not for the steps that a journal knows. Its last prediction of the data is
/// put aside.
struct Watched<'d, 'r, 'o> {
    denoiser: &'d mut dyn Denoiser,
    run: &'d Run<'r, 'o>,
    /// Blocks of a step.
    each: usize,
    /// Steps that it was asked for.
    asked: usize,
    journal: Option<&'d Journal>,
}

impl Denoiser for Watched<'_, '_, '_> {
    fn velocity(&mut self, x: &Tensor, level: Level) -> ModelResult<Tensor> {
        let step = self.asked;
        self.asked += 1;
        let v = match self.journal.map(|journal| journal.recall(step)).transpose()?.flatten() {
            Some(known) => {
                self.run.blocks.set(self.run.blocks.get() + self.each);
                known
            }
            None => {
                let v = self.denoiser.velocity(x, level)?;
                self.journal.map_or(Ok(()), |journal| journal.record(step, &v))?;
                v
            }
        };
        self.run.data.replace(Some(x.combine(1.0, &v, -level.sigma)?));
        Ok(v)
    }
}
