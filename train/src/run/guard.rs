//! Stops a run whose numbers went wrong, before they reach a checkpoint.

use std::collections::VecDeque;

use super::{Error, Result};
use crate::method::Metrics;

/// When a loss counts as exploded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Losses in the running median.
    pub window: usize,
    /// The largest ratio of a loss to that median; 0 allows any.
    pub factor: f64,
}

/// Watches what is logged. A median, because one bad batch must not widen what is allowed.
#[derive(Clone, Debug)]
pub struct Guard {
    rule: Rule,
    recent: VecDeque<f64>,
}

impl Guard {
    /// A guard that has seen `history`, oldest first.
    pub fn new(rule: Rule, history: impl IntoIterator<Item = f64>) -> Self {
        let mut guard = Guard { rule, recent: VecDeque::with_capacity(rule.window + 1) };
        history.into_iter().for_each(|loss| guard.remember(loss));
        guard
    }

    /// Judges one step's metrics.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for any metric, [`Error::Exploded`] for the loss once a whole window was seen, and
    /// [`Error::NoLoss`].
    pub fn check(&mut self, method: &'static str, step: u64, metrics: &Metrics) -> Result<()> {
        if let Some(&(name, value)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { step, name, value });
        }
        let loss = metrics.iter().find(|(name, _)| *name == "loss").ok_or(Error::NoLoss { method, step })?.1;
        let Rule { window, factor } = self.rule;
        if factor > 0.0 && self.recent.len() == window {
            let median = self.median();
            if median > 0.0 && loss.abs() > factor * median {
                return Err(Error::Exploded { step, loss, median, factor });
            }
        }
        self.remember(loss);
        Ok(())
    }

    fn remember(&mut self, loss: f64) {
        self.recent.push_back(loss.abs());
        if self.recent.len() > self.rule.window {
            self.recent.pop_front();
        }
    }

    fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { window: 3, factor: 4.0 };

    fn feed(guard: &mut Guard, losses: &[f64]) -> Result<()> {
        losses.iter().enumerate().try_for_each(|(i, &loss)| guard.check("test", i as u64, &vec![("loss", loss)]))
    }

    #[test]
    fn explosions_stop_once_the_window_is_full() {
        let mut guard = Guard::new(RULE, []);
        feed(&mut guard, &[1.0, 100.0, -1.0, 3.9]).unwrap();
        let error = feed(&mut guard, &[16.0]).unwrap_err();
        assert!(matches!(error, Error::Exploded { median: 3.9, .. }), "{error}");
    }

    #[test]
    fn history_counts_as_seen() {
        let error = feed(&mut Guard::new(RULE, [9.0, 1.0, 1.0, 1.0]), &[5.0]).unwrap_err();
        assert!(matches!(error, Error::Exploded { step: 0, median: 1.0, .. }), "{error}");
        feed(&mut Guard::new(Rule { factor: 0.0, ..RULE }, [1.0, 1.0, 1.0]), &[1e30]).unwrap();
    }

    #[test]
    fn whatever_is_not_finite_stops() {
        let mut guard = Guard::new(RULE, []);
        let error = guard.check("test", 7, &vec![("loss", 1.0), ("norm", f64::NAN)]).unwrap_err();
        assert_eq!(error.to_string(), "stopped at step 7: norm is NaN");
        assert!(error.is_numerical());
        assert!(matches!(guard.check("test", 7, &vec![]), Err(Error::NoLoss { .. })));
    }
}
