//! How a network that was not distilled samples.

use super::range::{count, number};
use super::{GuidanceForm, Result};

/// The solver of the probability-flow equation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SolverKind {
    /// First order.
    #[default]
    Euler,
    /// Multistep predictor and corrector.
    Unipc,
}

/// Every switch of a teacher's sampler. A distilled network's sampler is part of its checkpoint.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// Steps.
    pub steps: usize,
    /// Timestep shift.
    pub shift: f64,
    /// The solver.
    pub solver: SolverKind,
    /// Strength of the guidance by caption, in the form of `form`.
    pub guidance: f64,
    /// How `guidance` counts.
    pub form: GuidanceForm,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { steps: 50, shift: 5.0, solver: SolverKind::Euler, guidance: 0.5, form: GuidanceForm::Extra }
    }
}

impl SampleConfig {
    /// Strength of the guidance, 0 being conditional only.
    pub fn guidance_extra(&self) -> f64 {
        self.form.extra(self.guidance)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`](super::Error::Range).
    pub fn check(&self) -> Result<()> {
        count("sample.steps", self.steps).within(1.0, 10000.0)?;
        number("sample.shift", self.shift).positive()?;
        number("sample.guidance", self.guidance).within(-100.0, 100.0)
    }
}
