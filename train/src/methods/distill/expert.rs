//! Stage III on one of a pair of experts: the part of the schedule and of the score times that is its own.
//!
//! Each expert is distilled alone, at its own levels. The one for high noise walks its path from noise to the boundary.
//! The one for low noise would begin with what the other hands over; it begins with real clips, noised to its first level
//! instead, so that one expert at a time is in memory.

use flg_model::FewStep;

use crate::config::{DistillConfig, Error, Result};
use crate::levels::Levels;

impl DistillConfig {
    /// Whether a network that is asked at `levels` can be distilled so.
    ///
    /// # Errors
    /// [`Error::Range`] on score times that are all the other expert's, and on a guard, which looks at finished clips.
    pub(super) fn check_levels(&self, levels: Levels) -> Result<()> {
        let own = levels.and(self.t_range);
        if own.low >= own.high {
            let [low, high] = self.t_range;
            return Err(refused("distill.t_range", &format!("[{low}, {high}]"), levels, "within its levels"));
        }
        if levels != Levels::ALL && self.guard_every > 0 {
            let got = self.guard_every.to_string();
            return Err(refused("distill.guard_every", &got, levels, "0: it makes no finished clips to look at"));
        }
        Ok(())
    }

    /// The steps of `schedule` that are this network's.
    ///
    /// # Errors
    /// [`Error::Range`] if none are.
    pub(super) fn anchors(&self, schedule: &FewStep, levels: Levels) -> Result<FewStep> {
        let sigmas: Vec<f32> = schedule.sigmas.iter().copied().filter(|&s| levels.contains(f64::from(s))).collect();
        if sigmas.is_empty() {
            let got = self.student_steps.to_string();
            let allowed = format!("more: none of {schedule} is its");
            return Err(refused("distill.student_steps", &got, levels, &allowed));
        }
        Ok(FewStep { sigmas, ..schedule.clone() })
    }
}

fn refused(key: &str, got: &str, Levels { low, high }: Levels, allowed: &str) -> Error {
    let allowed = format!("{allowed} (this expert is asked at levels {low} to {high})");
    Error::Range { key: key.to_owned(), got: got.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_model::Rule;

    #[test]
    fn each_step_is_one_experts() {
        let config = DistillConfig { guard_every: 0, ..DistillConfig::default() };
        let schedule = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
        let [high, low] = [true, false].map(|high| Levels::of_expert(0.875, high));
        let steps = |levels| config.anchors(&schedule, levels).unwrap().sigmas;
        assert_eq!([steps(high), steps(low)].concat(), schedule.sigmas);
        assert_eq!(steps(high), [1.0, 0.9375]);
        assert_eq!(steps(Levels::ALL), schedule.sigmas);

        let one = FewStep::new(1, 5.0, Rule::Renoise).unwrap();
        let error = config.anchors(&one, low).unwrap_err().to_string();
        assert!(error.contains("distill.student_steps") && error.contains("0 to 0.875"), "{error}");
    }

    #[test]
    fn what_an_expert_cannot_do_is_refused() {
        let low = Levels::of_expert(0.875, false);
        let of = |guard_every, t_range| {
            let config = DistillConfig { guard_every, t_range, ..DistillConfig::default() };
            [Levels::ALL, low].map(|levels| config.check_levels(levels).is_ok())
        };
        assert_eq!(of(0, [0.02, 0.98]), [true, true]);
        assert_eq!(of(20, [0.02, 0.98]), [true, false]);
        assert_eq!(of(0, [0.9, 0.98]), [true, false]);
    }
}
