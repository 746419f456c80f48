//! Classifier-free guidance, without its ambiguity.
//!
//! Two conventions share the letter `w`: Ho and Salimans ("Classifier-Free Diffusion Guidance", 2022, as Wan uses it)
//! write `u + w (c - u)`, others `c + w (c - u)`, where 0 is no guidance. This type holds the second, the extra strength,
//! and prints both.

use std::fmt;

use flg_engine::{Result, Tensor};

/// Strength of guidance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Guidance {
    extra: f32,
}

impl Guidance {
    /// The conditional prediction alone: one network call a step.
    pub fn none() -> Self {
        Guidance { extra: 0.0 }
    }

    /// `u + w (c - u)`: 1 is none, 5 is Wan's default.
    pub fn ho_salimans(w: f32) -> Self {
        Guidance { extra: w - 1.0 }
    }

    /// `c + extra (c - u)`: 0 is none.
    pub fn extra(extra: f32) -> Self {
        Guidance { extra }
    }

    /// The extra strength: 0 is none.
    pub fn as_extra(self) -> f32 {
        self.extra
    }

    /// The strength as Ho and Salimans count it: 1 is none.
    pub fn as_ho_salimans(self) -> f32 {
        self.extra + 1.0
    }

    /// Whether the unconditional prediction is needed.
    pub fn is_active(self) -> bool {
        self.extra != 0.0
    }

    /// `c + extra (c - u)`
    ///
    /// # Errors
    /// Different shapes.
    pub fn combine(self, conditional: &Tensor, unconditional: &Tensor) -> Result<Tensor> {
        conditional.combine(1.0 + self.extra, unconditional, -self.extra)
    }
}

impl fmt::Display for Guidance {
    /// `guidance 5 (extra 4)`, or `no guidance`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_active() {
            return f.write_str("no guidance");
        }
        write!(f, "guidance {} (extra {})", self.as_ho_salimans(), self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_conventions_say_the_same() {
        assert_eq!(Guidance::ho_salimans(5.0), Guidance::extra(4.0));
        assert_eq!(Guidance::ho_salimans(5.0).to_string(), "guidance 5 (extra 4)");
        assert_eq!(Guidance::ho_salimans(1.0).to_string(), "no guidance");
        assert!(!Guidance::ho_salimans(1.0).is_active());
    }
}
