//! The kernel distance between two sets of features: the unbiased squared maximum mean discrepancy with the kernel
//! `(<a, b> / d + 1)^3` (Binkowski et al., "Demystifying MMD GANs", 2018). Unlike the Frechet distance it is right on
//! average at any sample size: 0 for two samples of one distribution, so it can come out slightly below 0.

use std::ops::Range;

use rayon::prelude::*;

fn kernel(x: &[f64], y: &[f64]) -> f64 {
    (x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / x.len().max(1) as f64 + 1.0).powi(3)
}

/// The distance between two independent sets of at least two features each.
pub fn kernel_distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let within = |set: &[Vec<f64>]| KernelSums::of(set, set, std::slice::from_ref(&(0..set.len()))).mean(&[0]);
    let across: f64 = a.iter().map(|x| b.iter().map(|y| kernel(x, y)).sum::<f64>()).sum();
    within(a) + within(b) - 2.0 * across / (a.len() * b.len()).max(1) as f64
}

/// Kernels summed over every pair of groups of two sets of equal size, so that groups can be resampled cheaply.
#[derive(Clone, Debug)]
pub struct KernelSums {
    /// By group of the first set, then of the second.
    pairs: Vec<Vec<f64>>,
    /// Of each group over equal positions in both sets.
    matched: Vec<f64>,
    /// Features in each group.
    sizes: Vec<usize>,
}

impl KernelSums {
    /// Between two sets, or within one that is given twice.
    pub fn of(a: &[Vec<f64>], b: &[Vec<f64>], groups: &[Range<usize>]) -> Self {
        let block = |x: &Range<usize>, y: &Range<usize>| {
            a[x.clone()].iter().map(|x| b[y.clone()].iter().map(|y| kernel(x, y)).sum::<f64>()).sum()
        };
        let matched = |g: &Range<usize>| a[g.clone()].iter().zip(&b[g.clone()]).map(|(x, y)| kernel(x, y)).sum();
        KernelSums {
            pairs: groups.par_iter().map(|x| groups.iter().map(|y| block(x, y)).collect()).collect(),
            matched: groups.iter().map(matched).collect(),
            sizes: groups.iter().map(Range::len).collect(),
        }
    }

    /// The mean over pairs of different positions.
    fn mean(&self, picks: &[usize]) -> f64 {
        let n: usize = picks.iter().map(|&i| self.sizes[i]).sum();
        let all: f64 = picks.iter().map(|&i| picks.iter().map(|&j| self.pairs[i][j]).sum::<f64>()).sum();
        let matched: f64 = picks.iter().map(|&i| self.matched[i]).sum();
        (all - matched) / (n * n.saturating_sub(1)).max(1) as f64
    }
}

/// The distance of the groups `picks` of two sets whose equal positions share a caption, from the sums within the
/// first, within the second and across.
///
/// Equal positions do not count across either (Gretton et al., "A Kernel Two-Sample Test", 2012, equation 4): across
/// and within, a pair then has the same caption equally often, without which sets of the same captions would seem
/// nearer to each other than to themselves.
pub fn paired_distance([a, b, across]: [&KernelSums; 3], picks: &[usize]) -> f64 {
    a.mean(picks) + b.mean(picks) - 2.0 * across.mean(picks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::Key;

    fn cloud(seed: u64, shift: f64) -> Vec<Vec<f64>> {
        let mut stream = Key::new(seed).stream();
        (0..40).map(|_| (0..6).map(|_| stream.normal() + shift).collect()).collect()
    }

    #[test]
    fn it_sees_a_shift_and_nothing_else() {
        let near = kernel_distance(&cloud(1, 0.0), &cloud(2, 0.0));
        let far = kernel_distance(&cloud(1, 0.0), &cloud(2, 1.0));
        assert!(near.abs() < 0.2 * far, "near {near}, far {far}");
    }

    #[test]
    fn equal_sets_of_equal_elements_have_distance_zero() {
        let point = vec![vec![0.5, -2.0, 1.0]; 7];
        assert!(kernel_distance(&point, &point).abs() < 1e-12);
    }

    fn sums(a: &[Vec<f64>], b: &[Vec<f64>], size: usize) -> [KernelSums; 3] {
        let groups: Vec<_> = (0..a.len()).step_by(size).map(|g| g..g + size).collect();
        [KernelSums::of(a, a, &groups), KernelSums::of(b, b, &groups), KernelSums::of(a, b, &groups)]
    }

    #[test]
    fn groups_change_nothing() {
        let (a, b) = (cloud(3, 0.0), cloud(4, 0.3));
        let [coarse, fine] = [10, 4].map(|size| {
            let [aa, bb, ab] = sums(&a, &b, size);
            paired_distance([&aa, &bb, &ab], &(0..40 / size).collect::<Vec<_>>())
        });
        assert!((coarse - fine).abs() < 1e-12, "{coarse} {fine}");
    }

    #[test]
    fn sets_of_the_same_captions_are_not_nearer_than_samples_of_one_distribution() {
        // Ten far-apart captions, a clip each, with a little noise.
        let clips = |seed: u64| -> Vec<Vec<f64>> {
            let mut stream = Key::new(seed).stream();
            (0..10)
                .map(|i| (0..10).map(|j| f64::from(u8::from(i == j)) * 9.0 + 0.1 * stream.normal()).collect())
                .collect()
        };
        let (a, b) = (clips(1), clips(2));
        let [aa, bb, ab] = sums(&a, &b, 1);
        let paired = paired_distance([&aa, &bb, &ab], &(0..10).collect::<Vec<_>>());
        // A matched pair has kernel (8.1 + 1)^3 = 754: counted, it would lower the distance by 2 * 754 / 10.
        assert!(kernel_distance(&a, &b) < -100.0 && paired.abs() < 1.0, "{paired}");
    }
}
