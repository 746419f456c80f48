//! The kernel distance between two sets of features: the unbiased squared maximum mean discrepancy with the kernel
//! `(<a, b> / d + 1)^3` (Binkowski et al., "Demystifying MMD GANs", 2018). Unlike the Frechet distance it is right on
//! average at any sample size: 0 for two samples of one distribution, so it can come out slightly below 0.

use std::ops::Range;

use rayon::prelude::*;

fn kernel(x: &[f64], y: &[f64]) -> f64 {
    (x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / x.len().max(1) as f64 + 1.0).powi(3)
}

/// The distance between two sets of at least two features each.
pub fn kernel_distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let whole = |set: &[Vec<f64>]| KernelSums::within(set, std::slice::from_ref(&(0..set.len())));
    let across = KernelSums::across((a, std::slice::from_ref(&(0..a.len()))), (b, std::slice::from_ref(&(0..b.len()))));
    distance([&whole(a), &whole(b), &across], &[0])
}

/// Kernels summed over every pair of groups of two sets, so that groups can be resampled cheaply.
#[derive(Clone, Debug)]
pub struct KernelSums {
    /// By group of the first set, then of the second.
    pairs: Vec<Vec<f64>>,
    /// Of each group with itself, element by element; only within one set.
    own: Vec<f64>,
    /// Features in each group of the first set.
    sizes: Vec<usize>,
}

impl KernelSums {
    /// Within one set.
    pub fn within(set: &[Vec<f64>], groups: &[Range<usize>]) -> Self {
        let own = groups.iter().map(|g| set[g.clone()].iter().map(|x| kernel(x, x)).sum()).collect();
        KernelSums { own, ..Self::across((set, groups), (set, groups)) }
    }

    /// Between two sets.
    pub fn across((a, of_a): (&[Vec<f64>], &[Range<usize>]), (b, of_b): (&[Vec<f64>], &[Range<usize>])) -> Self {
        let block = |x: &Range<usize>, y: &Range<usize>| {
            a[x.clone()].iter().map(|x| b[y.clone()].iter().map(|y| kernel(x, y)).sum::<f64>()).sum()
        };
        let pairs = of_a.par_iter().map(|x| of_b.iter().map(|y| block(x, y)).collect()).collect();
        KernelSums { pairs, own: Vec::new(), sizes: of_a.iter().map(Range::len).collect() }
    }

    fn sum(&self, picks: &[usize]) -> f64 {
        picks.iter().map(|&i| picks.iter().map(|&j| self.pairs[i][j]).sum::<f64>()).sum()
    }

    /// The mean over pairs of different elements.
    fn mean_within(&self, picks: &[usize]) -> f64 {
        let n: usize = picks.iter().map(|&i| self.sizes[i]).sum();
        let own: f64 = picks.iter().map(|&i| self.own[i]).sum();
        (self.sum(picks) - own) / (n * n.saturating_sub(1)).max(1) as f64
    }
}

/// The distance of the groups `picks` of two sets, from the sums within the first, within the second and across.
pub fn distance([a, b, across]: [&KernelSums; 3], picks: &[usize]) -> f64 {
    let n = |sums: &KernelSums| picks.iter().map(|&i| sums.sizes[i]).sum::<usize>();
    a.mean_within(picks) + b.mean_within(picks) - 2.0 * across.sum(picks) / (n(a) * n(b)).max(1) as f64
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

    #[test]
    fn groups_change_nothing() {
        let (a, b) = (cloud(3, 0.0), cloud(4, 0.3));
        let groups: Vec<_> = (0..10).map(|g| g * 4..g * 4 + 4).collect();
        let sums = [
            &KernelSums::within(&a, &groups),
            &KernelSums::within(&b, &groups),
            &KernelSums::across((&a, &groups), (&b, &groups)),
        ];
        let all: Vec<_> = (0..10).collect();
        assert!((distance(sums, &all) - kernel_distance(&a, &b)).abs() < 1e-12);
    }
}
