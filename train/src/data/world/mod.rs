//! Worlds: data sets that can be asked for any sample.

mod counter;
mod digits;
mod imported;

pub use counter::Counter;
pub use digits::Digits;
pub use imported::Imported;

use std::path::Path;

use super::dataset::is_dataset;
use super::encoded::is_encoded;
use super::{Error, Moments, SampleKey};
use crate::video::{Clip, Geometry};

/// The part of a world that a sample comes from. No image or clip is in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// For changing weights.
    Training,
    /// For measuring.
    HeldOut,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::HeldOut => "held-out",
        })
    }
}

/// Something that a caption says and a recogniser can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelKind {
    /// What it is: `digit`, `direction`.
    pub name: &'static str,
    /// The name of each class.
    pub classes: &'static [&'static str],
}

/// A caption, and what a clip that obeys it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Lower-case words.
    pub text: String,
    /// One class for each of [`World::label_kinds`].
    pub labels: Vec<usize>,
}

/// A clip and its caption.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The pixels.
    pub clip: Clip,
    /// Position of the caption (text and labels) in [`World::captions`].
    pub caption: usize,
}

/// A data set. All methods are pure: there is no position to save.
pub trait World: Send + Sync {
    /// What commands, manifests and error messages call it.
    fn name(&self) -> &str;

    /// Extents of every clip.
    fn geometry(&self) -> Geometry;

    /// Every caption there is.
    fn captions(&self) -> &[Caption];

    /// What a recogniser can check; empty if captions are free text.
    fn label_kinds(&self) -> &'static [LabelKind];

    /// Moments of the training pixels.
    fn moments(&self) -> Moments;

    /// The sample of a key.
    ///
    /// # Errors
    /// [`Error::EmptySplit`] if that part has no clips.
    fn sample(&self, split: Split, key: SampleKey) -> Result<Sample, Error>;

    /// The digit that a caption (by its position) asks for in a frame, in worlds where every frame shows a digit of
    /// its own.
    fn frame_digit(&self, _caption: usize, _frame: usize) -> Option<usize> {
        None
    }
}

/// A world that is built in.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What one sees, in one line.
    pub about: &'static str,
    open: fn() -> Result<Box<dyn World>, Error>,
}

/// Every built-in world.
pub const PRESETS: &[Preset] = &[
    Preset { name: digits::NAME, about: digits::ABOUT, open: || Ok(Box::new(Digits::new()?)) },
    Preset { name: counter::NAME, about: counter::ABOUT, open: || Ok(Box::new(Counter::new()?)) },
];

/// The built-in world of a name.
///
/// # Errors
/// [`Error::UnknownWorld`], which lists the names.
pub fn preset(name: &str) -> Result<Box<dyn World>, Error> {
    match PRESETS.iter().find(|p| p.name == name) {
        Some(preset) => (preset.open)(),
        None => Err(Error::UnknownWorld { name: name.to_owned(), known: PRESETS.iter().map(|p| p.name).collect() }),
    }
}

/// A built-in world by its name, or an imported one by its folder.
///
/// # Errors
/// [`Error::UnknownWorld`] and [`Error::Dataset`]; [`Error::NoPixels`] for the folder of an encoded data set.
pub fn open(name_or_folder: &str) -> Result<Box<dyn World>, Error> {
    match preset(name_or_folder) {
        Err(Error::UnknownWorld { .. }) if is_dataset(Path::new(name_or_folder)) => {
            Ok(Box::new(Imported::open(Path::new(name_or_folder))?))
        }
        Err(Error::UnknownWorld { .. }) if is_encoded(Path::new(name_or_folder)) => {
            Err(Error::NoPixels { folder: name_or_folder.into(), what: "this command" })
        }
        preset => preset,
    }
}

/// The names of the ten digits, as captions write them.
const DIGITS: LabelKind = LabelKind { name: "digit", classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] };

/// Every pair of classes of two kinds, in order, with its caption.
fn captions(kinds: &[LabelKind; 2], text: impl Fn(&str, &str) -> String) -> Vec<Caption> {
    let pairs = |a: usize| (0..kinds[1].classes.len()).map(move |b| (a, b));
    (0..kinds[0].classes.len())
        .flat_map(pairs)
        .map(|(a, b)| Caption { text: text(kinds[0].classes[a], kinds[1].classes[b]), labels: vec![a, b] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_keeps_the_contract() {
        for preset_row in PRESETS {
            let world = preset(preset_row.name).unwrap();
            assert_eq!(world.name(), preset_row.name);
            let mut seen = vec![0; world.captions().len()];
            for index in 0..400 {
                let key = SampleKey { seed: 1, stream: 0, index };
                let sample = world.sample(Split::Training, key).unwrap();
                assert_eq!(sample, world.sample(Split::Training, key).unwrap());
                assert_ne!(sample, world.sample(Split::HeldOut, key).unwrap());
                assert_eq!(sample.clip.geometry(), world.geometry());
                assert!(sample.clip.pixels().iter().all(|p| (0.0..=1.0).contains(p)));
                seen[sample.caption] += 1;
            }
            assert!(seen.iter().all(|&n| n > 0), "{}: {seen:?}", world.name());
            for caption in world.captions() {
                assert_eq!(caption.labels.len(), world.label_kinds().len());
                assert!(caption.labels.iter().zip(world.label_kinds()).all(|(&l, k)| l < k.classes.len()));
            }
        }
    }

    #[test]
    fn moments_normalise_the_samples() {
        for preset_row in PRESETS {
            let world = preset(preset_row.name).unwrap();
            let (mut n, mut sum, mut squares) = (0_u32, 0.0, 0.0);
            for index in 0..500 {
                let sample = world.sample(Split::Training, SampleKey { seed: 2, stream: 0, index }).unwrap();
                for value in world.moments().values(&sample.clip) {
                    n += 1;
                    sum += f64::from(value);
                    squares += f64::from(value).powi(2);
                }
            }
            // A clip's mean and mean square vary by about 0.15 and 0.2 from clip to clip: 5 standard errors at 500.
            assert!((sum / f64::from(n)).abs() < 0.035, "{}: {}", world.name(), sum / f64::from(n));
            assert!((squares / f64::from(n) - 1.0).abs() < 0.045, "{}: {}", world.name(), squares / f64::from(n));
        }
    }

    #[test]
    fn an_unknown_preset_lists_the_names() {
        let error = preset("nothing").map(|w| w.name().to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`nothing` is neither a built-in world (digits, counter) nor the folder of a data set"
        );
    }
}
