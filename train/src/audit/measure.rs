//! The table of errors: for every block, clip and stratum of time, what skipping the block does to the prediction.
//!
//! Clips are noised when they are measured, and let go: keys say how, so that every mask sees the same noise and times.

use flg_engine::{Cx, Key, ParamStore, Tensor};
use flg_kernels::reduce::Term;
use flg_model::schedule::flow::shift_slope;
use flg_model::{BlockMask, Wan};

use crate::config::AuditConfig;
use crate::data::Split;
use crate::error::Result;
use crate::methods::Setup;
use crate::methods::drawing::Drawn;
use crate::methods::micro_batch;
use crate::perturb::{FirstFrame, perturb};

/// What the clips of the audit are drawn under.
const STREAM: u32 = 6;

/// Noised clips, fixed for all masks: every clip once in every stratum of time.
#[derive(Clone, Debug)]
pub struct Draws {
    setup: Setup,
    key: Key,
    /// Clips computed at once.
    batch: usize,
    shift: f64,
    first_frame: f64,
    clips: usize,
    /// Clips drawn for the whole audit, of which these are the first.
    all_clips: usize,
    strata: usize,
}

/// Some clips in one stratum.
#[derive(Debug)]
struct Part {
    first_clip: usize,
    stratum: usize,
    drawn: Drawn,
    /// `dt/du` of each clip's time.
    slopes: Vec<f64>,
}

/// Errors of one prediction on one clip at one time; means over generated elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Time, 0..1.
    pub t: f64,
    /// `dt/du` there, `u` the time before the shift.
    pub slope: f64,
    /// `|v_without - v_with|^2`
    pub difference: f64,
    /// `|v_without - v|^2 - |v_with - v|^2`
    pub rise: f64,
    /// `|v_with - v|^2`
    pub error: f64,
}

/// [`Cell`]s by block, clip and stratum.
#[derive(Clone, Debug)]
pub struct Measured {
    blocks: usize,
    clips: usize,
    strata: usize,
    cells: Vec<Cell>,
}

impl Measured {
    fn new(blocks: usize, draws: &Draws) -> Self {
        let cells = vec![Cell::default(); blocks * draws.clips * draws.strata];
        Measured { blocks, clips: draws.clips, strata: draws.strata, cells }
    }

    /// Rows of the table.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Clips measured.
    pub fn clips(&self) -> usize {
        self.clips
    }

    /// Strata of time.
    pub fn strata(&self) -> usize {
        self.strata
    }

    /// One cell.
    pub fn cell(&self, block: usize, clip: usize, stratum: usize) -> &Cell {
        &self.cells[(block * self.clips + clip) * self.strata + stratum]
    }

    fn cell_mut(&mut self, block: usize, clip: usize, stratum: usize) -> &mut Cell {
        &mut self.cells[(block * self.clips + clip) * self.strata + stratum]
    }
}

impl Draws {
    /// Held-out clips, their times and their noise.
    pub fn new(setup: &Setup, config: &AuditConfig) -> Self {
        let &AuditConfig { clips, strata, batch, shift, first_frame, .. } = config;
        let key = Key::new(setup.seed).name("audit");
        Draws { setup: setup.clone(), key, batch: batch.max(1), shift, first_frame, clips, all_clips: clips, strata }
    }

    /// Batches there are.
    pub(super) fn parts(&self) -> usize {
        self.clips.div_ceil(self.batch) * self.strata
    }

    /// The batch at a position: all strata of some clips, then those of the next ones.
    ///
    /// # Errors
    /// A data set without held-out clips.
    fn part(&self, position: usize) -> Result<Part> {
        let (task, seed) = (&self.setup.task, self.setup.seed);
        let (first_clip, stratum) = (position / self.strata * self.batch, position % self.strata);
        let size = self.batch.min(self.all_clips - first_clip);
        let batch = task.batch(Split::HeldOut, seed, STREAM, first_clip as u64, size)?;
        let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
        let key = self.key.at(first_clip as u64);
        let first = FirstFrame::draw(key.name("first frame"), self.first_frame, size);
        let key = key.at(stratum as u64);
        let noise = key.name("noise").normal(task.device(), batch.latents.shape())?;
        let mut stream = key.name("t").stream();
        let u: Vec<f64> = (0..size).map(|_| (stratum as f64 + stream.uniform()) / self.strata as f64).collect();
        let levels = self.setup.levels;
        let t = u.iter().map(|&u| levels.at(u, self.shift) as f32).collect();
        let slope = |&u: &f64| shift_slope(levels.before_shift(u, self.shift), self.shift) * levels.share(self.shift);
        let slopes = u.iter().map(slope).collect();
        let noised = perturb(&batch.latents, &noise, t, &first)?;
        Ok(Part { first_clip, stratum, drawn: Drawn { noised, condition: batch.condition(text) }, slopes })
    }

    /// A noised batch.
    ///
    /// # Errors
    /// A data set without held-out clips.
    pub(super) fn drawn(&self, position: usize) -> Result<Drawn> {
        Ok(self.part(position)?.drawn)
    }
}

/// Skips each block alone.
///
/// Skipping block `l` starts from the residual stream in front of it and runs the blocks behind it only, which halves the
/// work; then the stream goes through the block to the next one. So one stream is held at a time, and the predictions,
/// which are as small as latents. Batches run side by side; `progress` hears of each that is done.
///
/// # Errors
/// A network of another geometry.
pub fn each_block(
    draws: &Draws,
    wan: &Wan,
    weights: &ParamStore,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Measured> {
    let layers = wan.config().num_layers;
    let all = BlockMask::all(layers);
    let skip_each = |part: &Part| {
        let cx = Cx::inference(weights);
        let embedded = part.drawn.embed(wan, &cx)?;
        let (mut stream, mut without) = (embedded.tokens.clone(), Vec::new());
        for l in 0..layers {
            let x = wan.blocks(&cx, &embedded, stream.clone(), l + 1..layers, &all)?;
            without.push(wan.head(&cx, &embedded, &x)?.value().clone());
            stream = wan.blocks(&cx, &embedded, stream, l..l + 1, &all)?;
        }
        let with = wan.head(&cx, &embedded, &stream)?.value().clone();
        without.iter().map(|without| part.compare(&with, without)).collect()
    };
    draws.measure((layers, weights), skip_each, progress)
}

/// Skips all blocks of each mask's complement at once: row `i` belongs to `masks[i]`.
///
/// # Errors
/// A mask of another network.
pub fn each_mask(draws: &Draws, wan: &Wan, weights: &ParamStore, masks: &[BlockMask]) -> Result<Measured> {
    let all = BlockMask::all(wan.config().num_layers);
    let skip_all = |part: &Part| {
        let cx = Cx::inference(weights);
        let with = part.drawn.forward(wan, &cx, &all)?.value().clone();
        masks.iter().map(|mask| part.compare(&with, part.drawn.forward(wan, &cx, mask)?.value())).collect()
    };
    draws.measure((masks.len(), weights), skip_all, &mut |_, _| {})
}

impl Draws {
    /// Fills a table of `rows` rows; `body` gives a part's cells, by row and clip, of the network of these weights. As many
    /// parts as there are threads run at once, or one of a large network.
    fn measure(
        &self,
        (rows, weights): (usize, &ParamStore),
        body: impl Fn(&Part) -> Result<Vec<Vec<Cell>>> + Sync,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Measured> {
        let mut measured = Measured::new(rows, self);
        let total = self.parts();
        let at_once = if micro_batch::is_large(weights) { 1 } else { rayon::current_num_threads() };
        let pool = self.setup.task.device().pool();
        let table = |position: usize| {
            let part = self.part(position)?;
            let cells = body(&part)?;
            Ok((part.first_clip, part.stratum, cells))
        };
        for begin in (0..total).step_by(at_once) {
            progress(begin as u64, total as u64);
            let done: Vec<Result<_>> = pool.side_by_side(at_once.min(total - begin), |i| table(begin + i));
            for found in done {
                let (first_clip, stratum, table) = found?;
                for (row, cells) in table.into_iter().enumerate() {
                    for (clip, cell) in cells.into_iter().enumerate() {
                        *measured.cell_mut(row, first_clip + clip, stratum) = cell;
                    }
                }
            }
        }
        progress(total as u64, total as u64);
        Ok(measured)
    }

    /// The draws of the first clips only: at most `clips`, rounded up to whole batches.
    pub(super) fn first(&self, clips: usize) -> Draws {
        let clips = (clips.div_ceil(self.batch) * self.batch).min(self.clips);
        Draws { clips, ..self.clone() }
    }
}

impl Part {
    /// The cells of one row: what a prediction without some blocks is, beside that with all.
    fn compare(&self, with: &Tensor, without: &Tensor) -> Result<Vec<Cell>> {
        let velocity = &self.drawn.noised.velocity;
        let difference = self.mean_square(&without.sub(with)?)?;
        let error = self.mean_square(&with.sub(velocity)?)?;
        let error_without = self.mean_square(&without.sub(velocity)?)?;
        let cell = |(i, &slope): (usize, &f64)| Cell {
            t: f64::from(self.drawn.noised.t[i]),
            slope,
            difference: difference[i],
            rise: error_without[i] - error[i],
            error: error[i],
        };
        Ok(self.slopes.iter().enumerate().map(cell).collect())
    }

    /// Mean over the generated elements of each clip.
    fn mean_square(&self, x: &Tensor) -> Result<Vec<f64>> {
        // The weights are those of a mean over clips too: undo that.
        let clips = self.slopes.len();
        let weights: Vec<f32> = self.drawn.noised.weights.to_vec().iter().map(|w| (w * clips as f32).sqrt()).collect();
        let sums = x.scale_rows(&weights, None)?.row_totals(Term::Square, None, clips)?;
        Ok(sums.into_iter().map(f64::from).collect())
    }
}
