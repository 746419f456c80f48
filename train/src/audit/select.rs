//! Which blocks go.

use flg_engine::{Cx, Key, ParamStore};
use flg_kernels::reduce::Term;
use flg_model::{BlockMask, Wan};

use super::importance::{Importance, per_clip, rank};
use super::measure::{Draws, each_mask};
use super::statistics::mean;
use crate::config::{AuditConfig, Criterion, Selection};
use crate::error::Result;

/// Exchanges that [`Selection::RankSwap`] tries at most.
const SWAPS: usize = 10;

/// The chosen set.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// All blocks, the least important first, by the configured criterion.
    pub ranked: Vec<usize>,
    /// The blocks to remove, ascending.
    pub removed: Vec<usize>,
    /// What removing all of them at once costs, by the configured weight and estimator.
    pub joint: f64,
}

/// Chooses `removals` blocks.
///
/// # Errors
/// A network of another geometry.
pub fn choose(
    draws: &Draws,
    network: (&Wan, &ParamStore),
    importance: &Importance,
    config: &AuditConfig,
    seed: u64,
    removals: usize,
) -> Result<Choice> {
    let joint = Joint { draws: &draws.first(config.selection_clips), network, config };
    let layers = network.0.config().num_layers;
    let free = config.protect[0]..layers.saturating_sub(config.protect[1]);
    let ranked = match config.criterion {
        Criterion::Importance => importance.ranked.clone(),
        Criterion::Magnitude => rank(&magnitudes(network)?),
        Criterion::BlockInfluence | Criterion::RelativeChange => rank(&draws.changes(network, config.criterion)?),
        Criterion::Even => even(&free, removals, layers),
        Criterion::Random => {
            let mut order: Vec<usize> = (0..layers).collect();
            Key::new(seed).name("random choice").stream().shuffle(&mut order);
            order
        }
    };
    let candidates: Vec<usize> = ranked.iter().copied().filter(|l| free.contains(l)).collect();
    let lowest = || candidates.iter().copied().take(removals).collect::<Vec<_>>();
    let mut removed = match (config.criterion, config.selection) {
        (Criterion::Importance, Selection::Greedy) => joint.greedy(&candidates, removals)?,
        (Criterion::Importance, Selection::RankSwap) => joint.swap(lowest(), &candidates)?,
        _ => lowest(),
    };
    removed.sort_unstable();
    let cost = Joint { draws, network, config }.cost(std::slice::from_ref(&removed))?[0];
    Ok(Choice { ranked, removed, joint: cost })
}

/// Costs of removing sets of blocks at once.
struct Joint<'a> {
    draws: &'a Draws,
    network: (&'a Wan, &'a ParamStore),
    config: &'a AuditConfig,
}

impl Joint<'_> {
    fn cost(&self, sets: &[Vec<usize>]) -> Result<Vec<f64>> {
        let (wan, weights) = self.network;
        let masks = sets.iter().map(|set| BlockMask::without(wan.config().num_layers, set));
        let masks = masks.collect::<flg_model::Result<Vec<_>>>()?;
        let measured = each_mask(self.draws, wan, weights, &masks)?;
        let table = per_clip(&measured, self.config, self.config.weight, self.config.estimator);
        Ok(table.into_iter().map(mean).collect())
    }

    /// One after the other, each time the block whose removal costs least given those removed before.
    fn greedy(&self, candidates: &[usize], removals: usize) -> Result<Vec<usize>> {
        let mut removed: Vec<usize> = Vec::new();
        while removed.len() < removals {
            let rest: Vec<usize> = candidates.iter().copied().filter(|l| !removed.contains(l)).collect();
            let sets: Vec<Vec<usize>> = rest.iter().map(|&l| [removed.as_slice(), &[l]].concat()).collect();
            let costs = self.cost(&sets)?;
            let Some(best) = (0..rest.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])) else { break };
            removed.push(rest[best]);
        }
        Ok(removed)
    }

    /// Exchanges one block at a time while that lowers the joint cost.
    fn swap(&self, mut removed: Vec<usize>, candidates: &[usize]) -> Result<Vec<usize>> {
        let mut cost = self.cost(std::slice::from_ref(&removed))?[0];
        for _ in 0..SWAPS {
            let kept: Vec<usize> = candidates.iter().copied().filter(|l| !removed.contains(l)).collect();
            let exchange = |i: usize, l: usize| {
                let mut set = removed.clone();
                set[i] = l;
                set
            };
            let sets: Vec<_> = (0..removed.len())
                .flat_map(|i| kept.iter().map(move |&l| (i, l)))
                .map(|(i, l)| exchange(i, l))
                .collect();
            let costs = self.cost(&sets)?;
            let best = (0..sets.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).filter(|&i| costs[i] < cost);
            let Some(best) = best else { break };
            (removed, cost) = (sets[best].clone(), costs[best]);
        }
        Ok(removed)
    }
}

/// Blocks spread evenly over the free ones first, then the rest.
fn even(free: &std::ops::Range<usize>, removals: usize, layers: usize) -> Vec<usize> {
    let step = free.len() as f64 / removals.max(1) as f64;
    let spread = (0..removals).map(|i| free.start + ((i as f64 + 0.5) * step) as usize);
    let mut order: Vec<usize> = spread.collect();
    order.extend((0..layers).filter(|l| !order.contains(l)).collect::<Vec<_>>());
    order
}

/// Euclidean norm of each block's weights.
fn magnitudes((wan, weights): (&Wan, &ParamStore)) -> Result<Vec<f64>> {
    let mut squares = vec![0.0; wan.config().num_layers];
    for (_, name, value) in weights.iter() {
        let block = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        if let Some(block) = block {
            squares[block] += f64::from(value.total(Term::Square, None)?);
        }
    }
    Ok(squares.into_iter().map(f64::sqrt).collect())
}

impl Draws {
    /// How much each block changes the residual stream: one minus the cosine of input and output (block influence), or
    /// the norm of what it adds over the norm of its input.
    fn changes(&self, (wan, weights): (&Wan, &ParamStore), criterion: Criterion) -> Result<Vec<f64>> {
        let layers = wan.config().num_layers;
        let all = BlockMask::all(layers);
        let (mut sums, mut tokens) = (vec![0.0; layers], 0);
        for position in 0..self.parts() {
            let drawn = self.drawn(position)?;
            let cx = Cx::inference(weights);
            let embedded = drawn.embed(wan, &cx)?;
            let mut x = embedded.tokens.clone();
            let rows = x.value().shape().rows();
            tokens += rows;
            for (l, sum) in sums.iter_mut().enumerate() {
                let y = wan.blocks(&cx, &embedded, x.clone(), l..l + 1, &all)?;
                let (a, b) = (x.value(), y.value());
                let total = |x: &flg_engine::Tensor, term, y| x.row_totals(term, y, rows);
                let (aa, bb) = (total(a, Term::Square, None)?, total(b, Term::Square, None)?);
                let (ab, dd) = (total(a, Term::Product, Some(b))?, total(&b.sub(a)?, Term::Square, None)?);
                *sum += (0..rows)
                    .map(|i| match criterion {
                        Criterion::BlockInfluence => 1.0 - f64::from(ab[i]) / f64::from(aa[i] * bb[i]).sqrt(),
                        _ => f64::from(dd[i] / aa[i]).sqrt(),
                    })
                    .sum::<f64>();
                x = y;
            }
        }
        Ok(sums.into_iter().map(|sum| sum / tokens.max(1) as f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_blocks_are_spread_over_the_free_ones() {
        assert_eq!(even(&(1..11), 4, 12)[..4], [2, 4, 7, 9]);
        let mut all = even(&(1..11), 4, 12);
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
    }
}
