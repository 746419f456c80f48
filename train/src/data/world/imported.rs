//! A data set that was imported from files.

use std::path::Path;

use super::{Caption, LabelKind, Sample, Split, World};
use crate::data::dataset::{self, Dataset};
use crate::data::{Draws, Error, Moments, SampleKey};
use crate::video::{Clip, Geometry};

/// The clips of a folder that [`import`](crate::data::import()) has written, held in memory as 8-bit samples. A key
/// draws one of the clips of its part, each as likely as the others.
#[derive(Debug, Clone)]
pub struct Imported {
    name: String,
    dataset: Dataset,
    captions: Vec<Caption>,
    /// Of each clip its position in `captions`.
    caption_of: Vec<usize>,
    /// Clips for training, and clips held out.
    parts: [Vec<usize>; 2],
}

impl Imported {
    /// Loads a data set's folder and checks it against its manifest.
    ///
    /// # Errors
    /// [`Error::Dataset`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let dataset = dataset::load(folder)?;
        let mut texts: Vec<&str> = dataset.entries.iter().map(|e| e.caption.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        // Every caption is in the list that was made from the captions.
        let position = |caption: &str| texts.binary_search(&caption).unwrap_or_default();
        let caption_of = dataset.entries.iter().map(|e| position(&e.caption)).collect();
        let captions = texts.iter().map(|&text| Caption { text: text.to_owned(), labels: Vec::new() }).collect();
        let part = |split| (0..dataset.entries.len()).filter(|&i| dataset.entries[i].split == split).collect();
        let parts = [part(Split::Training), part(Split::HeldOut)];
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, captions, caption_of, parts, dataset })
    }

    /// Clips in a part.
    pub fn len(&self, split: Split) -> usize {
        self.part(split).len()
    }

    fn part(&self, split: Split) -> &[usize] {
        match split {
            Split::Training => &self.parts[0],
            Split::HeldOut => &self.parts[1],
        }
    }
}

impl World for Imported {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.dataset.geometry
    }

    fn captions(&self) -> &[Caption] {
        &self.captions
    }

    fn label_kinds(&self) -> &'static [LabelKind] {
        &[]
    }

    fn moments(&self) -> Moments {
        self.dataset.moments
    }

    fn sample(&self, split: Split, key: SampleKey) -> Result<Sample, Error> {
        let part = self.part(split);
        if part.is_empty() {
            return Err(Error::EmptySplit { world: self.name.clone(), split });
        }
        let domain = match split {
            Split::Training => "imported/training",
            Split::HeldOut => "imported/held-out",
        };
        let clip = part[Draws::new(domain, key).position(part.len())];
        let size = self.dataset.geometry.pixels()?;
        let samples = &self.dataset.samples[clip * size..][..size];
        Ok(Sample { clip: Clip::from_bytes(self.dataset.geometry, samples)?, caption: self.caption_of[clip] })
    }
}
