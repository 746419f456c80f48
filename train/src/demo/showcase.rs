//! The clips of the page: teacher and student side by side, from the same captions and the same noise.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::files::write_json;
use flg_engine::{Key, Precision, Tensor};
use flg_model::BlockMask;
use flg_model::sampler::Network;

use super::Demo;
use super::lines::{Line, Lines, Networks};
use crate::Result;
use crate::data::{Conditions, SampleKey, Split};
use crate::eval::Condition;
use crate::generate::{Generator, Request};
use crate::report::{CLIPS, SHOWN, Shown};
use crate::run::Error as RunError;
use crate::video::{self, Clip, FrameRate};

/// Clips from captions alone.
const TEXT: usize = 24;
/// Clips from captions and first frames.
const IMAGE: usize = 8;
/// What the real clips are drawn under that lend their first frames.
const STREAM: u32 = 9;
/// Clips in a row of the pictures `teacher.gif` and `student.gif`.
const COLUMNS: usize = 8;
/// Screen pixels a pixel in these.
const SCALE: usize = 5;

impl Demo<'_> {
    /// Samples the clips and writes them into the folder `clips`.
    pub(super) fn showcase(&self, networks: &Networks) -> Result<()> {
        let lines = Lines::new(networks, &self.config)?;
        let folder = self.out.join(CLIPS);
        fs::create_dir_all(&folder).map_err(RunError::io("make", &folder))?;
        let conditions = self.card.conditions(self.setup.task.device())?;
        let world = self.setup.task.world("a demo")?;
        let all = world.captions();
        let captions: Vec<&str> = (0..TEXT).map(|i| all[i * all.len() / TEXT].text.as_str()).collect();
        let sample = |line, captions: &[&str], first| self.sample(line, captions, first, &conditions);
        let [teacher, student] = [sample(&lines.teacher, &captions, None)?, sample(&lines.student, &captions, None)?];
        for (name, clips) in [("teacher.gif", &teacher), ("student.gif", &student)] {
            let picture = video::grid(clips, COLUMNS, 1)?.enlarged(SCALE)?;
            video::write(&folder.join(name), &picture, FrameRate::default())?;
        }
        let mut shown = Vec::new();
        for (i, caption) in captions.iter().enumerate() {
            shown.push(entry(&folder, &format!("text-{i:02}"), caption, [&teacher[i], &student[i]], None)?);
        }
        if self.config.train.first_frame > 0.0 {
            let key = |i| SampleKey { seed: self.setup.seed, stream: STREAM, index: i as u64 };
            let real = (0..IMAGE).map(|i| world.sample(Split::HeldOut, key(i))).collect::<Result<Vec<_>, _>>()?;
            let captions: Vec<&str> = real.iter().map(|sample| all[sample.caption].text.as_str()).collect();
            let first = conditions.latents(real.iter().map(|sample| &sample.clip))?.narrow(2, 0, 1)?.contiguous()?;
            let first = Some(&first);
            let [teacher, student] =
                [sample(&lines.teacher, &captions, first)?, sample(&lines.student, &captions, first)?];
            for (i, caption) in captions.iter().enumerate() {
                let real = Some(&real[i].clip);
                shown.push(entry(&folder, &format!("image-{i:02}"), caption, [&teacher[i], &student[i]], real)?);
            }
        }
        Ok(write_json(folder.join(SHOWN), &shown)?)
    }

    /// Clips of one line; clip `i` has the same noise in every line.
    fn sample(
        &self,
        line: &Line<'_>,
        captions: &[&str],
        first: Option<&Tensor>,
        conditions: &Conditions,
    ) -> Result<Vec<Clip>> {
        let key = Key::new(self.setup.seed).name("showcase");
        let request = |(i, &caption): (usize, &&'_ str)| (caption.to_owned(), key.at(i as u64));
        let wanted: Vec<(String, Key)> = captions.iter().enumerate().map(request).collect();
        let requests: Vec<Request<'_>> = wanted.iter().map(|(caption, key)| Request { caption, key: *key }).collect();
        let (wan, weights) = (&line.network.wan, &line.network.weights);
        let mask = BlockMask::all(wan.config().num_layers);
        let network = Network { wan, weights, mask: &mask, precision: Precision::F32 };
        let g = conditions.geometry();
        let latents = [g.channels, g.frames, g.height, g.width];
        let generator = Generator { network, conditions, sampler: &line.sampler, latents };
        let mut go_on = |_: usize, _: usize| ControlFlow::Continue(());
        let made = generator.in_batches(&requests, first, self.config.eval.batch, &mut go_on)?;
        conditions.clips(&made)
    }
}

/// Writes one group of clips and lists it.
fn entry(
    folder: &Path,
    name: &str,
    caption: &str,
    [teacher, student]: [&Clip; 2],
    real: Option<&Clip>,
) -> Result<Shown> {
    let write = |who: &str, clip: &Clip| {
        let file = format!("{name}-{who}.apng");
        video::write(&folder.join(&file), clip, FrameRate::default())?;
        Ok::<_, crate::Error>(file)
    };
    Ok(Shown {
        caption: caption.to_owned(),
        condition: if real.is_some() { Condition::TextImage } else { Condition::Text },
        teacher: write("teacher", teacher)?,
        student: write("student", student)?,
        real: real.map(|clip| write("real", clip)).transpose()?,
    })
}
