//! The noise levels that a network is asked at: all of them, or those of one of a pair of experts.

use flg_model::schedule::flow::{shift, unshift};

/// A range of levels, 0 (clean) to 1 (noise). What is drawn from all levels by other networks is drawn from this part of
/// them, in the same proportions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Levels {
    /// Of a network that is alone.
    pub const ALL: Levels = Levels { low: 0.0, high: 1.0 };

    /// Of the expert at `boundary` and above, or of the one below.
    pub fn of_expert(boundary: f64, high: bool) -> Self {
        if high { Levels { low: boundary, ..Levels::ALL } } else { Levels { high: boundary, ..Levels::ALL } }
    }

    /// Where `u` in 0 to 1 lies in this part of the levels before a shift `by`.
    pub fn before_shift(self, u: f64, by: f64) -> f64 {
        if self == Levels::ALL {
            return u;
        }
        let (from, to) = (unshift(self.low, by), unshift(self.high, by));
        from + u * (to - from)
    }

    /// The level of `u` in 0 to 1.
    pub fn at(self, u: f64, by: f64) -> f64 {
        shift(self.before_shift(u, by), by)
    }

    /// The share that these levels are of all, before a shift `by`.
    pub fn share(self, by: f64) -> f64 {
        self.before_shift(1.0, by) - self.before_shift(0.0, by)
    }

    /// The levels that are in both; the result is empty (`low > high`) if none are.
    pub fn and(self, [low, high]: [f64; 2]) -> Self {
        Levels { low: self.low.max(low), high: self.high.min(high) }
    }

    /// Whether the network is asked at this level of a schedule. Two experts share their boundary: there the one for high
    /// noise is asked.
    pub fn contains(self, level: f64) -> bool {
        level >= self.low && (level < self.high || self.high == 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_experts_share_all_levels_between_them() {
        for by in [1.0, 3.0, 12.0] {
            let [high, low] = [true, false].map(|high| Levels::of_expert(0.875, high));
            assert!((high.share(by) + low.share(by) - 1.0).abs() < 1e-12);
            for i in 0..=20 {
                let u = f64::from(i) / 20.0;
                assert!((0.875 - 1e-12..=1.0).contains(&high.at(u, by)), "{u} {by}");
                assert!((0.0..=0.875 + 1e-12).contains(&low.at(u, by)), "{u} {by}");
                assert!(high.contains(u) != low.contains(u), "{u}");
                // In the same proportions: the level of the low expert at `u` is that of all at its share of `u`.
                assert!((low.at(u, by) - shift(u * low.share(by), by)).abs() < 1e-12);
                assert_eq!(Levels::ALL.at(u, by), shift(u, by));
            }
            assert!(high.contains(0.875) && !low.contains(0.875) && high.contains(1.0));
        }
    }
}
