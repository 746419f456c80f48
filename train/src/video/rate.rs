//! How many frames a second.

use super::Error;

/// A frame rate as a fraction, so that the broadcast rates (24000/1001) are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
}

impl FrameRate {
    /// `frames` in `seconds`.
    ///
    /// # Errors
    /// [`Error::FrameRate`] unless the rate is above 0 and at most 1000.
    pub fn new(frames: u32, seconds: u32) -> Result<Self, Error> {
        let legal = frames > 0 && seconds > 0 && u64::from(frames) <= 1000 * u64::from(seconds);
        if legal {
            Ok(Self { frames, seconds })
        } else {
            Err(Error::FrameRate { given: format!("{frames}/{seconds}") })
        }
    }

    /// Numerator and denominator.
    pub fn fraction(self) -> (u32, u32) {
        (self.frames, self.seconds)
    }

    /// Frames a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// When a frame begins, rounded to the nearest of `ticks` a second. Rounding the times, not the durations, keeps
    /// long clips in step.
    pub(crate) fn tick(self, frame: usize, ticks: u32) -> u64 {
        let (n, d) = (u128::from(self.frames), u128::from(self.seconds));
        ((frame as u128 * d * u128::from(ticks) * 2 + n) / (2 * n)) as u64
    }
}

impl Default for FrameRate {
    /// 8 a second: the built-in worlds then show one second.
    fn default() -> Self {
        Self { frames: 8, seconds: 1 }
    }
}

impl std::str::FromStr for FrameRate {
    type Err = Error;

    /// `16`, `24000/1001` or `29.97` (at most three decimals).
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::FrameRate { given: text.to_owned() };
        let whole = |s: &str| s.parse::<u32>().map_err(|_| wrong());
        if let Some((frames, seconds)) = text.split_once('/') {
            return Self::new(whole(frames)?, whole(seconds)?);
        }
        let Some((units, decimals)) = text.split_once('.') else { return Self::new(whole(text)?, 1) };
        if decimals.len() > 3 {
            return Err(wrong());
        }
        let thousandths = whole(units)?.checked_mul(1000).ok_or_else(wrong)?;
        let thousandths = thousandths.checked_add(whole(&format!("{decimals:0<3}"))?).ok_or_else(wrong)?;
        Self::new(thousandths, 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let parse = |s: &str| s.parse::<FrameRate>().map(FrameRate::fraction);
        assert_eq!(parse("16").unwrap(), (16, 1));
        assert_eq!(parse("24000/1001").unwrap(), (24000, 1001));
        assert_eq!(parse("29.97").unwrap(), (29970, 1000));
        for wrong in ["", "0", "-1", "x", "1001", "1/0", "0/1", "1.0001", "99999999.9", "NaN"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ticks_do_not_drift() {
        let rate = FrameRate::new(8, 1).unwrap();
        let ticks: Vec<u64> = (0..5).map(|f| rate.tick(f, 100)).collect();
        assert_eq!(ticks, [0, 13, 25, 38, 50]);
    }
}
