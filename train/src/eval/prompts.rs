//! The captions of an evaluation, and real clips of the same captions to compare with.

use std::collections::BTreeMap;
use std::ops::Range;

use flg_engine::{Key, Tensor};

use super::Error;
use crate::Result;
use crate::data::{Clip, SampleKey, Split, World};
use crate::task::Task;

/// What the reference clips are drawn under, and those of the real rows.
const REFERENCE_STREAM: u32 = 8;
const FLOOR_STREAM: u32 = 9;
const TRAINING_STREAM: u32 = 10;
/// Draws for each clip needed before the search for clips of a caption is given up.
const PATIENCE: u64 = 20_000;

/// Captions and real clips, the same for every row.
#[derive(Clone, Debug)]
pub(super) struct Prompts {
    /// Of each clip its position in [`World::captions`].
    pub(super) captions: Vec<usize>,
    /// Clips of one caption that belong together: what diversity is measured within and the bootstrap resamples.
    pub(super) groups: Vec<Range<usize>>,
    /// Held-out clips of these captions: what rows are compared with, and where given first frames come from.
    pub(super) reference: Vec<Clip>,
    /// Others, for the row of real clips.
    pub(super) floor: Vec<Clip>,
    /// Clips that networks may have been trained on, for a row of their own; in worlds whose captions are made by rule, so
    /// that both parts have all of them.
    pub(super) training: Option<Vec<Clip>>,
    key: Key,
}

impl Prompts {
    /// `clips` prompts in groups of `seeds`, the world's captions in turn.
    ///
    /// # Errors
    /// [`Error::TooFewClips`]; a world without held-out clips.
    pub(super) fn new(world: &dyn World, clips: usize, seeds: usize, seed: u64) -> Result<Self> {
        let groups: Vec<Range<usize>> = (0..clips).step_by(seeds).map(|i| i..(i + seeds).min(clips)).collect();
        let order = captions_in_use(world, clips, seed)?;
        let caption_of = |clip: usize| order[clip / seeds % order.len()];
        let captions: Vec<usize> = (0..clips).map(caption_of).collect();
        let real = |split, stream| clips_of((world, split), &captions, seed, stream);
        let reference = real(Split::HeldOut, REFERENCE_STREAM)?;
        let floor = real(Split::HeldOut, FLOOR_STREAM)?;
        let by_rule = !world.label_kinds().is_empty();
        let training = by_rule.then(|| real(Split::Training, TRAINING_STREAM)).transpose()?;
        Ok(Prompts { captions, groups, reference, floor, training, key: Key::new(seed).name("evaluation") })
    }

    /// The key of each clip's noise.
    pub(super) fn key(&self, clip: usize) -> Key {
        self.key.at(clip as u64)
    }

    /// The first frames of the reference clips `range`, `[clips, c, 1, h, w]`.
    ///
    /// # Errors
    /// None of the caller's making.
    pub(super) fn first_frames(&self, task: &Task, range: Range<usize>) -> Result<Tensor> {
        Ok(latents(task, &self.reference[range])?.narrow(2, 0, 1)?.contiguous()?)
    }
}

/// What networks see of clips, `[b, c, f, h, w]`.
///
/// # Errors
/// Clips of another geometry than the task's.
pub(super) fn latents(task: &Task, clips: &[Clip]) -> Result<Tensor> {
    let moments = task.world("evaluation")?.moments();
    let values = clips.iter().flat_map(|clip| moments.values(clip)).collect();
    Ok(Tensor::from_vec(task.device(), values, task.latent_shape(clips.len()))?)
}

/// The captions that held-out clips have (an imported world may have others), in a random order.
fn captions_in_use(world: &dyn World, clips: usize, seed: u64) -> Result<Vec<usize>> {
    let draws = (clips + 8 * world.captions().len()) as u64;
    let caption =
        |index| Ok(world.sample(Split::HeldOut, SampleKey { seed, stream: REFERENCE_STREAM, index })?.caption);
    let mut captions = (0..draws).map(caption).collect::<Result<Vec<usize>>>()?;
    captions.sort_unstable();
    captions.dedup();
    Key::new(seed).name("caption order").stream().shuffle(&mut captions);
    Ok(captions)
}

/// The first clips of a part's stream that have these captions.
fn clips_of((world, split): (&dyn World, Split), captions: &[usize], seed: u64, stream: u32) -> Result<Vec<Clip>> {
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &caption) in captions.iter().enumerate().rev() {
        places.entry(caption).or_default().push(place);
    }
    let mut clips: Vec<Option<Clip>> = vec![None; captions.len()];
    let (mut found, drawn) = (0, PATIENCE * captions.len() as u64);
    for index in 0..drawn {
        if found == captions.len() {
            break;
        }
        let sample = world.sample(split, SampleKey { seed, stream, index })?;
        if let Some(place) = places.get_mut(&sample.caption).and_then(Vec::pop) {
            clips[place] = Some(sample.clip);
            found += 1;
        }
    }
    let world = world.name().to_owned();
    let missing = Error::TooFewClips { world, wanted: captions.len() - found, drawn };
    clips.into_iter().collect::<Option<_>>().ok_or_else(|| missing.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::preset;

    #[test]
    fn real_clips_have_the_captions_and_both_sets_differ() {
        let world = preset("digits").unwrap();
        let prompts = Prompts::new(world.as_ref(), 18, 4, 7).unwrap();
        assert_eq!(prompts.groups.last(), Some(&(16..18)));
        assert!(prompts.groups.iter().all(|g| g.clone().all(|i| prompts.captions[i] == prompts.captions[g.start])));
        let firsts: std::collections::BTreeSet<_> = prompts.groups.iter().map(|g| prompts.captions[g.start]).collect();
        assert_eq!(firsts.len(), 5);
        assert_ne!(prompts.reference, prompts.floor);
        assert_ne!(Some(&prompts.floor), prompts.training.as_ref());
        let held_out = (world.as_ref(), Split::HeldOut);
        let again = clips_of(held_out, &prompts.captions, 7, REFERENCE_STREAM).unwrap();
        assert_eq!(again, prompts.reference);
    }
}
