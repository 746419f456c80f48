//! The schedule that a few-step network was distilled for. It belongs to the network: it is stored in its checkpoint, and
//! sampling with another one is an error, because the network is right at these levels only.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{check, flow};
use crate::{Error, Result};

/// How a few-step sampler gets from one level to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Estimate the data, then add fresh noise of the next level to it.
    #[default]
    Renoise,
    /// Follow the velocity (Euler).
    Ode,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Renoise => "re-noise",
            Rule::Ode => "ODE",
        })
    }
}

/// Levels and rule of a few-step sampler. The network is told `1000 sigma`, not rounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewStep {
    /// Levels, noisiest first, without the final 0.
    pub sigmas: Vec<f32>,
    /// The shift that they were made with.
    pub shift: f32,
    /// How to step.
    pub rule: Rule,
}

impl FewStep {
    /// `steps` levels `S_s(1 - i / steps)`: for four steps, the list 1, 3/4, 1/2, 1/4 warped by shift `s`.
    ///
    /// # Errors
    /// No steps, or a shift that is not positive.
    pub fn new(steps: usize, shift: f32, rule: Rule) -> Result<Self> {
        check(steps, f64::from(shift))?;
        let mut sigmas = flow::sigmas(steps, f64::from(shift));
        sigmas.pop();
        Ok(FewStep { sigmas, shift, rule })
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.sigmas.len()
    }

    /// The level behind step `i`: that of the next step, 0 behind the last.
    pub fn next_sigma(&self, i: usize) -> f32 {
        self.sigmas.get(i + 1).copied().unwrap_or(0.0)
    }

    /// Errors unless the levels descend within 1 and above 0, as a schedule from a file may not.
    ///
    /// # Errors
    /// [`Error::Schedule`].
    pub fn validate(&self) -> Result<()> {
        check(self.steps(), f64::from(self.shift))?;
        let outside = self.sigmas.iter().find(|&&sigma| !(sigma > 0.0 && sigma <= 1.0));
        if let Some(sigma) = outside {
            return Err(Error::Schedule { reason: "levels must be above 0 and at most 1", value: sigma.to_string() });
        }
        match self.sigmas.windows(2).find(|pair| pair[0] <= pair[1]) {
            Some(pair) => Err(Error::Schedule { reason: "levels must descend", value: format!("{pair:?}") }),
            None => Ok(()),
        }
    }

    /// Errors unless a request that names its steps, its shift or its rule names this schedule's.
    ///
    /// # Errors
    /// [`Error::FewStep`] with both.
    pub fn expect(&self, asked: &Asked) -> Result<()> {
        let same = asked.steps.is_none_or(|steps| steps == self.steps())
            && asked.shift.is_none_or(|shift| shift == self.shift)
            && asked.rule.is_none_or(|rule| rule == self.rule);
        if same { Ok(()) } else { Err(Error::FewStep { stored: self.to_string(), asked: asked.to_string() }) }
    }
}

impl fmt::Display for FewStep {
    /// `4 steps, shift 5, re-noise, levels 1 0.9375 0.8333 0.625`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps, shift {}, {}, levels", self.steps(), self.shift, self.rule)?;
        self.sigmas.iter().try_for_each(|sigma| write!(f, " {}", (sigma * 1e4).round() / 1e4))
    }
}

/// What a request says about a few-step schedule; what it does not say is the checkpoint's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// Number of steps.
    pub steps: Option<usize>,
    /// Shift.
    pub shift: Option<f32>,
    /// Rule.
    pub rule: Option<Rule>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.map(|steps| format!("{steps} steps"));
        let shift = self.shift.map(|shift| format!("shift {shift}"));
        let rule = self.rule.map(|rule| rule.to_string());
        let parts: Vec<String> = [steps, shift, rule].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "its own schedule" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}
