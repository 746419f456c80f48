//! Checks of numbers, in one place so that all messages read alike.

use super::{Error, Result};

/// One named number to check.
pub(super) struct Number {
    key: &'static str,
    value: f64,
}

/// The number of a dotted key.
pub(super) fn number(key: &'static str, value: f64) -> Number {
    Number { key, value }
}

/// The count of a dotted key.
pub(super) fn count(key: &'static str, value: impl TryInto<u64>) -> Number {
    Number { key, value: value.try_into().unwrap_or(u64::MAX) as f64 }
}

impl Number {
    /// Above 0.
    pub(super) fn positive(self) -> Result<()> {
        let fits = self.value > 0.0 && self.value.is_finite();
        self.require(fits, "above 0")
    }

    /// 0 or above.
    pub(super) fn not_negative(self) -> Result<()> {
        let fits = self.value >= 0.0 && self.value.is_finite();
        self.require(fits, "0 or above")
    }

    /// In `low..=high`.
    pub(super) fn within(self, low: f64, high: f64) -> Result<()> {
        let fits = (low..=high).contains(&self.value);
        self.require(fits, format!("between {low} and {high}"))
    }

    /// In `low..high`: the upper end does not count.
    pub(super) fn below(self, low: f64, high: f64) -> Result<()> {
        let fits = (low..high).contains(&self.value);
        self.require(fits, format!("at least {low} and below {high}"))
    }

    /// At least `low`.
    pub(super) fn at_least(self, low: f64) -> Result<()> {
        let fits = self.value >= low && self.value.is_finite();
        self.require(fits, format!("at least {low}"))
    }

    fn require(self, fits: bool, allowed: impl Into<String>) -> Result<()> {
        if fits {
            return Ok(());
        }
        Err(Error::Range { key: self.key.to_owned(), got: self.value.to_string(), allowed: allowed.into() })
    }
}
