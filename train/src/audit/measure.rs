//! The table of errors: for every block, clip and stratum of time, what skipping the block does to the prediction.

use flg_engine::{Cx, Key, ParamStore, Tensor, Var};
use flg_kernels::reduce::Term;
use flg_model::schedule::flow::{shift, shift_slope};
use flg_model::{BlockMask, Wan};

use crate::config::AuditConfig;
use crate::data::Split;
use crate::error::Result;
use crate::methods::Setup;
use crate::methods::drawing::Drawn;
use crate::perturb::{FirstFrame, perturb};

/// What the clips of the audit are drawn under.
const STREAM: u32 = 6;

/// Noised clips, fixed for all masks: every clip once in every stratum of time.
#[derive(Debug)]
pub struct Draws {
    batches: Vec<Part>,
    clips: usize,
    strata: usize,
}

/// Some clips in one stratum.
#[derive(Clone, Debug)]
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
    /// Draws held-out clips, their times and their noise.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn new(setup: &Setup, config: &AuditConfig) -> Result<Self> {
        let (clips, strata, task) = (config.clips, config.strata, &setup.task);
        let key = Key::new(setup.seed).name("audit");
        let mut batches = Vec::new();
        for first_clip in (0..clips).step_by(config.batch) {
            let size = config.batch.min(clips - first_clip);
            let batch = task.batch(Split::HeldOut, setup.seed, STREAM, first_clip as u64, size)?;
            let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
            let key = key.at(first_clip as u64);
            let first = FirstFrame::draw(key.name("first frame"), config.first_frame, size);
            for stratum in 0..strata {
                let key = key.at(stratum as u64);
                let noise = key.name("noise").normal(task.device(), batch.latents.shape())?;
                let mut stream = key.name("t").stream();
                let u: Vec<f64> = (0..size).map(|_| (stratum as f64 + stream.uniform()) / strata as f64).collect();
                let t = u.iter().map(|&u| shift(u, config.shift) as f32).collect();
                let slopes = u.iter().map(|&u| shift_slope(u, config.shift)).collect();
                let noised = perturb(&batch.latents, &noise, t, &first)?;
                batches.push(Part { first_clip, stratum, drawn: Drawn { noised, text: text.clone() }, slopes });
            }
        }
        Ok(Draws { batches, clips, strata })
    }

    /// The noised batches.
    pub(super) fn drawn(&self) -> impl Iterator<Item = &Drawn> {
        self.batches.iter().map(|part| &part.drawn)
    }
}

/// Skips each block alone.
///
/// The residual stream in front of every block is kept from one full pass; skipping block `l` starts there and runs the
/// blocks behind it only, which halves the work. Batches run side by side; `progress` hears of each that is done.
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
        let mut before: Vec<Var> = vec![embedded.tokens.clone()];
        for l in 0..layers {
            before.push(wan.blocks(&cx, &embedded, before[l].clone(), l..l + 1, &all)?);
        }
        let with = wan.head(&cx, &embedded, &before[layers])?.value().clone();
        let skip = |l: usize| {
            let x = wan.blocks(&cx, &embedded, before[l].clone(), l + 1..layers, &all)?;
            part.compare(&with, wan.head(&cx, &embedded, &x)?.value())
        };
        (0..layers).map(skip).collect()
    };
    draws.measure(layers, skip_each, progress)
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
    draws.measure(masks.len(), skip_all, &mut |_, _| {})
}

impl Draws {
    /// Fills a table of `rows` rows; `body` gives a part's cells, by row and clip. As many parts as there are threads
    /// run at once.
    fn measure(
        &self,
        rows: usize,
        body: impl Fn(&Part) -> Result<Vec<Vec<Cell>>> + Sync,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Measured> {
        let mut measured = Measured::new(rows, self);
        let total = self.batches.len() as u64;
        for (i, parts) in self.batches.chunks(rayon::current_num_threads()).enumerate() {
            progress((i * rayon::current_num_threads()) as u64, total);
            let pool = parts[0].drawn.text.device().pool();
            let tables = pool.side_by_side(parts.len(), |i| body(&parts[i]));
            for (part, table) in parts.iter().zip(tables) {
                for (row, cells) in table?.into_iter().enumerate() {
                    for (clip, cell) in cells.into_iter().enumerate() {
                        *measured.cell_mut(row, part.first_clip + clip, part.stratum) = cell;
                    }
                }
            }
        }
        progress(total, total);
        Ok(measured)
    }

    /// The draws of the first clips only: at most `clips`, rounded up to whole batches.
    pub(super) fn first(&self, clips: usize) -> Draws {
        let batches: Vec<Part> = self.batches.iter().filter(|part| part.first_clip < clips).cloned().collect();
        let clips = batches.iter().map(|part| part.first_clip + part.slopes.len()).max().unwrap_or(0);
        Draws { batches, clips, strata: self.strata }
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
