//! What a command will hold in memory at most, found out before its first step.
//!
//! Nothing here is a formula that follows the network: the command's own code runs for a step or two on a dry device
//! ([`Device::dry`]), whose kernels do nothing and whose pool hands out addresses instead of memory. So the answer follows
//! every change of an operation, of what it saves and of the order in which tensors are freed. It takes milliseconds, no
//! weights are read, and a network that is far too large for the machine is rehearsed as well as any other.
//!
//! Parts of a batch that would run at once run one after the other and are counted as if they did not, each at its most
//! at the same moment: with more than one thread the answer is an upper bound. What kernels keep for themselves (packed
//! panels of matrices) and the program itself are counted as [`PROGRAM`] and [`THREAD`] together; files that are mapped
//! into memory while they are read, which the system takes back when it needs to, are not counted at all.

use flg_engine::Device;

use crate::error::Result;
use crate::method::Method;

/// Bytes of the program and its libraries.
pub const PROGRAM: usize = 10 << 20;
/// Bytes that kernels keep for themselves on a thread.
pub const THREAD: usize = 4 << 20;

/// Bytes that a command is expected to hold, by purpose; their sum is the expected peak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Expected {
    /// Networks that are read or trained, frozen ones among them.
    pub weights: usize,
    /// Moving averages and the best weights so far.
    pub averages: usize,
    /// Moments of optimisers.
    pub moments: usize,
    /// Gradients, as far as they are there while activations are: those appear as these go.
    pub gradients: usize,
    /// What forward passes keep for their backward passes.
    pub activations: usize,
    /// Everything else: what is computed with, freed memory that waits for its next use, the program.
    pub workspace: usize,
}

/// What a rehearsal knows to stand for something, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// As in [`Expected`].
    pub weights: usize,
    /// As in [`Expected`].
    pub averages: usize,
    /// As in [`Expected`].
    pub moments: usize,
    /// All gradients.
    pub gradients: usize,
}

impl Expected {
    /// What was needed on `device` since it was made.
    pub fn of(device: &Device, known: Known) -> Self {
        let usage = device.memory();
        let Known { weights, averages, moments, gradients } = known;
        let step = usage.held.saturating_sub(weights + averages + moments);
        let activations = usage.saved.min(step);
        let gradients = gradients.min(step - activations);
        let program = PROGRAM + THREAD * rayon::current_num_threads();
        Expected {
            weights,
            averages,
            moments,
            gradients,
            activations,
            workspace: step - activations - gradients + program,
        }
    }

    /// Rehearses the first steps of `method`, whose batches come in `parts`, on its dry `device`.
    ///
    /// # Errors
    /// What the method refuses.
    pub fn of_method(method: &mut dyn Method, device: &Device, parts: usize) -> Result<Self> {
        /// The second finds what the first has freed.
        const STEPS: u64 = 2;
        let before = device.memory().live;
        (0..STEPS).try_for_each(|step| method.step(step).map(drop))?;
        let state = method.state();
        let trained = |name: &str| matches!(name, "transformer" | "critic");
        let bytes = |wanted: &dyn Fn(&str) -> bool| {
            state.networks.iter().filter(|network| wanted(network.name)).map(|network| network.weights.bytes()).sum()
        };
        let (averages, largest) =
            (bytes(&|name| !trained(name)), state.networks.iter().map(|n| n.weights.bytes()).max());
        let moments = state.moments.iter().map(|(_, moments)| moments.bytes()).sum();
        // What was there before the first step, frozen networks included, and is neither.
        let weights = before.saturating_sub(averages + moments);
        Ok(Expected::of(device, Known { weights, averages, moments, gradients: parts * largest.unwrap_or(0) }))
    }

    /// All of it.
    pub fn peak(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The parts by name.
    pub fn parts(&self) -> [(&'static str, usize); 6] {
        [
            ("weights", self.weights),
            ("averages", self.averages),
            ("moments", self.moments),
            ("gradients", self.gradients),
            ("activations", self.activations),
            ("workspace", self.workspace),
        ]
    }
}

#[cfg(test)]
mod tests {
    use flg_engine::memory::Usage;
    use flg_engine::{DType, Device, Precision, SavedAs};
    use flg_model::Checkpointing;

    use super::*;
    use crate::bench::{Clock, Inference, Setting, Size, Training};
    use crate::config::{ModelConfig, TrainConfig};
    use crate::data::{TextShape, preset};
    use crate::levels::Levels;
    use crate::methods::{FlowMatching, Setup};
    use crate::task::Task;

    /// Networks of size S, cut short: width, tokens and blocks that tests can afford.
    fn setting(batch: usize, layers: usize) -> Setting {
        let mut setting = Setting { batch, ..Size::S.setting() };
        setting.config.num_layers = layers;
        setting.latent = [16, 2, 8, 8];
        setting
    }

    #[test]
    fn a_rehearsal_counts_what_a_step_takes_to_the_byte() {
        for (batch, layers, keep, saved_as) in [
            (1, 1, Checkpointing::Off, SavedAs::Computed),
            (3, 2, Checkpointing::Off, SavedAs::Computed),
            (3, 5, Checkpointing::Off, SavedAs::Computed),
            (3, 5, Checkpointing::PerBlock, SavedAs::Computed),
            (3, 5, Checkpointing::Off, SavedAs::Bf16),
            (3, 5, Checkpointing::PerBlock, SavedAs::Bf16),
        ] {
            let count = |device: &Device| {
                let mut training = Training::new(device, &setting(batch, layers))
                    .unwrap()
                    .with_checkpointing(keep)
                    .with_saved(saved_as);
                for _ in 0..3 {
                    training.step(&Clock::for_threads(1)).unwrap();
                }
                (device.memory(), training.kept().clone())
            };
            let ((real, kept), (dry, rehearsed)) = (count(&Device::cpu()), count(&Device::dry()));
            let of = |usage: Usage| Usage { saved: 0, ..usage };
            assert_eq!(of(real), of(dry), "{batch} {layers} {keep:?} {saved_as:?}");
            assert_eq!((kept.bytes, kept.by_operation), (rehearsed.bytes, rehearsed.by_operation));
            assert!(dry.saved >= kept.bytes);
        }
    }

    #[test]
    fn a_rehearsal_counts_inference() {
        let setting = setting(2, 3);
        for dtype in [DType::F32, DType::Bf16] {
            let count = |device: &Device| {
                let inference = Inference::new(device, &setting, dtype).unwrap();
                inference.step(&Clock::for_threads(1)).unwrap();
                device.memory()
            };
            let (real, dry) = (count(&Device::cpu()), count(&Device::dry()));
            assert_eq!(real, dry, "{dtype:?}");
        }
    }

    /// A small teacher's training on this device, in as many parts at once as there are threads.
    fn trains(device: &Device, threads: usize, recompute_blocks: bool) -> (Usage, Expected) {
        let model = ModelConfig { num_layers: 3, ..ModelConfig::default() }.wan(1);
        let text = TextShape { words: 4, dim: model.text_dim };
        let task = Task::new(device, preset("digits").unwrap().into(), 0, text).unwrap();
        let setup = Setup { task, seed: 0, precision: Precision::F32, levels: Levels::ALL };
        let config = TrainConfig {
            batch: 8,
            micro_batches: 4,
            validate_every: 1,
            validation_clips: 16,
            recompute_blocks,
            ..TrainConfig::default()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut method = FlowMatching::new(setup, model, config).unwrap();
            let expected = Expected::of_method(&mut method, device, 4).unwrap();
            (device.memory(), expected)
        })
    }

    #[test]
    fn training_holds_what_was_expected() {
        for recompute in [false, true] {
            let (dry, expected) = trains(&Device::dry(), 1, recompute);
            let (real, _) = trains(&Device::cpu(), 1, recompute);
            assert_eq!(real, dry);
            assert_eq!(expected.peak(), dry.held + PROGRAM + THREAD);
            assert!(expected.weights > 0 && expected.moments > 0 && expected.averages > 0 && expected.activations > 0);
            // Side by side, parts need not be at their most at the same moment, and take each other's freed buffers, which
            // can be larger than what was asked for.
            let (dry, _) = trains(&Device::dry(), 2, recompute);
            let (real, _) = trains(&Device::cpu(), 2, recompute);
            for (real, dry) in [(real.peak, dry.peak), (real.held, dry.held)] {
                let share = real as f64 / dry as f64;
                assert!((0.7..1.05).contains(&share), "{real} of {dry}");
            }
        }
    }
}
