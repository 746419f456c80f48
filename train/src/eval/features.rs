//! What a set of clips shows, summed over groups of clips, so that figures of resampled groups are cheap.

use std::collections::BTreeMap;
use std::ops::Range;

use super::architecture::{FEATURES, Unit};
use super::diversity::{ClassSums, mean_distance};
use super::figures::Figures;
use super::frechet::{Sums, frechet_distance};
use super::kernel_distance::{KernelSums, paired_distance};
use super::motion::{PixelSums, STILL, motion_energy};
use super::network::{EvalNetwork, Seen, argmax};
use super::prompts::{Prompts, latents};
use crate::Result;
use crate::audit::statistics::mean;
use crate::data::{Clip, World};
use crate::task::Task;

/// The probability above which a frame's digit counts as recognised.
const RECOGNISED: f64 = 0.9;

/// A set of clips as the evaluation network sees it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// Features divided by `scale`.
    scaled: Vec<Vec<f64>>,
    /// The root mean square of the reference's features: the terms of the kernel are of one size in its unit.
    scale: f64,
    /// Features of each group.
    units: Vec<Range<usize>>,
    within: KernelSums,
    groups: Vec<Group>,
}

/// Sums over the clips of a group.
#[derive(Clone, Debug)]
struct Group {
    clips: f64,
    features: Sums,
    /// Mean distance between the group's clips.
    spread: f64,
    motion: Vec<f64>,
    pixels: PixelSums,
    /// Clips that obey their caption.
    right: f64,
    /// Clips that obey it in one kind of label; for `frame` the shares of their frames.
    labels: BTreeMap<String, f64>,
    frames: Option<Frames>,
}

/// Where frames are read: sums over frames.
#[derive(Clone, Debug)]
struct Frames {
    count: f64,
    recognised: f64,
    classes: ClassSums,
}

/// A clip's reading.
struct Reading {
    right: f64,
    labels: BTreeMap<String, f64>,
}

impl Shown {
    /// Looks at clips of the prompts, their frames before `first` left aside where frames count one by one. Kernels are
    /// computed in the scale of `reference`; without one, the set is the reference.
    ///
    /// # Errors
    /// Clips of another geometry.
    pub(super) fn new(
        task: &Task,
        network: &EvalNetwork,
        prompts: &Prompts,
        clips: &[Clip],
        first: usize,
        reference: Option<&Shown>,
    ) -> Result<Self> {
        let seen = network.see(&latents(task, clips)?)?;
        let by_frame = network.architecture().unit == Unit::Frame;
        let world = task.world("evaluation")?;
        let units = network.units(world.geometry().frames);
        let skipped = if by_frame { first } else { 0 };
        let kept = units - skipped;
        let features: Vec<_> = seen.features.chunks(units).flat_map(|clip| clip[skipped..].iter().cloned()).collect();
        let view = View { world, seen: &seen, units, skipped, by_frame };
        let group = |range: &Range<usize>| {
            let rows: Vec<&[Vec<f64>]> = range.clone().map(|i| &features[i * kept..][..kept]).collect();
            let readings: Vec<Reading> = range.clone().map(|i| view.read(i, prompts.captions[i])).collect();
            let clips = &clips[range.clone()];
            Group {
                clips: clips.len() as f64,
                features: Sums::of(FEATURES, &features[range.start * kept..range.end * kept]),
                spread: mean_distance(&rows),
                motion: clips.iter().map(|clip| motion_energy(clip, first)).collect(),
                pixels: PixelSums::of(clips, first),
                right: readings.iter().map(|r| r.right).sum(),
                labels: totals(&readings),
                frames: by_frame.then(|| view.frames(range.clone(), clips)),
            }
        };
        let groups = prompts.groups.iter().map(group).collect();
        let units: Vec<_> = prompts.groups.iter().map(|g| g.start * kept..g.end * kept).collect();
        let scale = reference.map_or_else(|| root_mean_square(&features), |reference| reference.scale);
        let scaled: Vec<Vec<f64>> = features.iter().map(|row| row.iter().map(|x| x / scale).collect()).collect();
        let within = KernelSums::of(&scaled, &scaled, &units);
        Ok(Shown { scaled, scale, units, within, groups })
    }

    /// Kernel sums between this set and another, for [`Shown::figures`].
    pub(super) fn across(&self, reference: &Shown) -> KernelSums {
        KernelSums::of(&self.scaled, &reference.scaled, &self.units)
    }

    /// The figures of some groups of this set against the same groups of a reference.
    pub(super) fn figures(&self, reference: &Shown, across: &KernelSums, picks: &[usize]) -> Figures<f64> {
        let total = |of: &dyn Fn(&Group) -> f64| picks.iter().map(|&i| of(&self.groups[i])).sum::<f64>();
        let ratio =
            |of: &dyn Fn(&Group) -> f64| total(of) / picks.iter().map(|&i| of(&reference.groups[i])).sum::<f64>();
        let clips = total(&|g| g.clips);
        let real_motion: f64 = reference.groups.iter().flat_map(|g| &g.motion).sum();
        let real_clips: f64 = reference.groups.iter().map(|g| g.clips).sum();
        let still = STILL * real_motion / real_clips;
        let names = self.groups.first().into_iter().flat_map(|g| g.labels.keys());
        let label = |name: &String| total(&|g| g.labels.get(name).copied().unwrap_or(0.0)) / clips;
        let frames = total(&|g| g.frames.as_ref().map_or(0.0, |f| f.count));
        let recognised = total(&|g| g.frames.as_ref().map_or(0.0, |f| f.recognised));
        let style = self.variance(picks).zip(reference.variance(picks));
        Figures {
            caption_accuracy: total(&|g| g.right) / clips,
            labels: names.map(|name| (name.clone(), label(name))).collect(),
            frechet: frechet_distance(&self.features(picks), &reference.features(picks)),
            kernel_distance: paired_distance([&self.within, &reference.within, across], picks),
            motion: ratio(&|g| g.motion.iter().sum()),
            diversity: ratio(&|g| g.spread * g.clips),
            contrast: self.pixels(picks).std() / reference.pixels(picks).std(),
            still: total(&|g| g.motion.iter().filter(|&&m| m < still).count() as f64) / clips,
            style: style.map(|(a, b)| a / b),
            recognised: style.map(|_| recognised / frames),
        }
    }

    /// Every group once.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.groups.len()).collect()
    }

    fn features(&self, picks: &[usize]) -> Sums {
        let mut sums = Sums::new(FEATURES);
        picks.iter().for_each(|&i| sums.add(&self.groups[i].features));
        sums
    }

    fn pixels(&self, picks: &[usize]) -> PixelSums {
        let mut sums = PixelSums::default();
        picks.iter().for_each(|&i| sums.add(&self.groups[i].pixels));
        sums
    }

    /// Variance within the classes of frames, where frames are read.
    fn variance(&self, picks: &[usize]) -> Option<f64> {
        let mut picked = picks.iter().filter_map(|&i| self.groups[i].frames.as_ref());
        let mut sums = picked.next()?.classes.clone();
        picked.for_each(|frames| sums.add(&frames.classes));
        Some(sums.variance())
    }
}

fn root_mean_square(rows: &[Vec<f64>]) -> f64 {
    mean(rows.iter().flatten().map(|x| x * x)).sqrt()
}

fn totals(readings: &[Reading]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for (name, value) in readings.iter().flat_map(|r| &r.labels) {
        *sums.entry(name.clone()).or_insert(0.0) += value;
    }
    sums
}

/// What the network said of clips, and what it means in their world.
struct View<'a> {
    world: &'a dyn World,
    seen: &'a Seen,
    /// Units of a clip.
    units: usize,
    /// Units at its start that do not count.
    skipped: usize,
    by_frame: bool,
}

impl View<'_> {
    /// Log-probabilities of a clip's frames that count, each with the frame's number.
    fn frames_of(&self, clip: usize) -> impl Iterator<Item = (usize, &Vec<f64>)> {
        let frames = &self.seen.log_probabilities[0][clip * self.units..][..self.units];
        frames.iter().enumerate().skip(self.skipped)
    }

    /// Whether a clip shows what its caption says.
    fn read(&self, clip: usize, caption: usize) -> Reading {
        if self.by_frame {
            return self.read_frames(clip, caption);
        }
        let read: Vec<usize> = self.seen.log_probabilities.iter().map(|head| argmax(&head[clip])).collect();
        if self.world.label_kinds().is_empty() {
            let right = f64::from(u8::from(read[0] == caption));
            return Reading { right, labels: BTreeMap::from([("caption".to_owned(), right)]) };
        }
        self.compare(&read, caption)
    }

    /// The caption whose digits are the most probable, against the one asked for; and each frame by itself.
    fn read_frames(&self, clip: usize, caption: usize) -> Reading {
        let asked = |caption, frame| self.world.frame_digit(caption, frame).unwrap_or(0);
        let score = |c: usize| self.frames_of(clip).map(|(f, p)| p[asked(c, f)]).sum::<f64>();
        let scores: Vec<f64> = (0..self.world.captions().len()).map(score).collect();
        let mut reading = self.compare(&self.world.captions()[argmax(&scores)].labels, caption);
        let right = self.frames_of(clip).filter(|(f, p)| argmax(p) == asked(caption, *f)).count();
        let frames = (self.units - self.skipped).max(1);
        reading.labels.insert("frame".to_owned(), right as f64 / frames as f64);
        reading
    }

    fn compare(&self, read: &[usize], caption: usize) -> Reading {
        let asked = &self.world.captions()[caption].labels;
        let right = |(a, b): (&usize, &usize)| f64::from(u8::from(a == b));
        let each = self.world.label_kinds().iter().zip(read.iter().zip(asked));
        let labels = each.map(|(kind, pair)| (kind.name.to_owned(), right(pair))).collect();
        Reading { right: f64::from(u8::from(read == asked)), labels }
    }

    fn frames(&self, range: Range<usize>, clips: &[Clip]) -> Frames {
        let g = self.world.geometry();
        let plane = g.height * g.width;
        let classes = self.seen.log_probabilities[0].first().map_or(0, Vec::len);
        let mut sums = Frames { count: 0.0, recognised: 0.0, classes: ClassSums::new(classes, g.channels * plane) };
        for (i, clip) in range.zip(clips) {
            for (f, p) in self.frames_of(i) {
                let class = argmax(p);
                sums.count += 1.0;
                sums.recognised += f64::from(u8::from(p[class].exp() > RECOGNISED));
                let channels = clip.pixels().chunks(g.frames * plane);
                sums.classes.push(class, channels.flat_map(|c| c[f * plane..][..plane].iter().copied()));
            }
        }
        sums
    }
}
