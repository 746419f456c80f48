//! One algorithm that changes weights, as the trainer sees it.
//!
//! A method draws all of its random numbers from keys of (seed, purpose, step). So the step number is its only position:
//! a method whose [`State`] is saved after step `n` and restored in another process goes on from step `n` with the same
//! bits as if it had never stopped.

use flg_engine::ParamStore;
use flg_model::WanConfig;
use flg_model::schedule::FewStep;

use crate::Result;

/// What one step measured, in the order in which it is logged. Has an entry `loss`.
pub type Metrics = Vec<(&'static str, f64)>;

/// An algorithm: flow matching, pruning, distillation.
pub trait Method {
    /// What run folders and messages call it.
    fn name(&self) -> &'static str;

    /// Runs loop iteration `step` (from 0) and returns what to log.
    ///
    /// # Errors
    /// Whatever the networks and the data refuse. A loss that is not finite is no error here: the trainer's guard judges
    /// what is logged.
    fn step(&mut self, step: u64) -> Result<Metrics>;

    /// Everything that the next step depends on and the configuration does not say.
    fn state(&self) -> State<'_>;

    /// The same, to be overwritten by a checkpoint: the same names in the same order.
    fn state_mut(&mut self) -> StateMut<'_>;

    /// Called after [`Method::state_mut`] was filled, to rebuild what follows from the state (reduced-precision copies).
    ///
    /// # Errors
    /// A record that this method did not write.
    fn restored(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A network in a [`State`].
#[derive(Clone, Copy, Debug)]
pub struct NetworkRef<'a> {
    /// Its folder in a checkpoint: `transformer`, `ema`, `critic`.
    pub name: &'static str,
    /// Its architecture.
    pub config: &'a WanConfig,
    /// Its weights.
    pub weights: &'a ParamStore,
    /// The schedule that it was distilled for.
    pub few_step: Option<&'a FewStep>,
}

/// What a checkpoint holds.
#[derive(Debug)]
pub struct State<'a> {
    /// Networks; the first is the one being trained.
    pub networks: Vec<NetworkRef<'a>>,
    /// Other tables of numbers, by name: the optimisers' moments under the names of the parameters, factors of adapters.
    pub moments: Vec<(&'static str, &'a ParamStore)>,
    /// Counters and whatever else is small. Numbers survive exactly.
    pub record: serde_json::Value,
}

/// A [`State`] to write to.
#[derive(Debug)]
pub struct StateMut<'a> {
    /// Weights by network name.
    pub networks: Vec<(&'static str, &'a mut ParamStore)>,
    /// The other tables.
    pub moments: Vec<(&'static str, &'a mut ParamStore)>,
    /// Takes the record; [`Method::restored`] reads it.
    pub record: &'a mut serde_json::Value,
}
