//! The Frechet distance between two sets of features, each taken for a Gaussian:
//! `|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Heusel et al., 2017).
//!
//! With `S1 = L L^T` the trace of the root is the sum of the roots of the eigenvalues of the symmetric `L^T S2 L`: no
//! root of a matrix is needed. The distance of finite samples is biased upward, so compare it at equal sizes, and with
//! that of real clips to real clips.

use super::spectrum::Square;

/// Number, sum and sum of products of features.
#[derive(Clone, Debug)]
pub struct Sums {
    count: f64,
    sum: Vec<f64>,
    products: Square,
}

impl Sums {
    /// Of nothing, for features of a width.
    pub fn new(width: usize) -> Self {
        Sums { count: 0.0, sum: vec![0.0; width], products: Square::zeros(width) }
    }

    /// Of rows of features.
    pub fn of(width: usize, rows: &[Vec<f64>]) -> Self {
        let mut sums = Sums::new(width);
        for row in rows {
            sums.count += 1.0;
            for (i, &x) in row.iter().enumerate() {
                sums.sum[i] += x;
                let products = &mut sums.products.values[i * width..][..width];
                products.iter_mut().zip(row).for_each(|(p, y)| *p += x * y);
            }
        }
        sums
    }

    /// Adds another set.
    pub fn add(&mut self, other: &Sums) {
        self.count += other.count;
        self.sum.iter_mut().zip(&other.sum).for_each(|(a, b)| *a += b);
        self.products.values.iter_mut().zip(&other.products.values).for_each(|(a, b)| *a += b);
    }

    fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|x| x / self.count).collect()
    }

    /// The unbiased covariance.
    fn covariance(&self) -> Square {
        let (n, mean) = (self.sum.len(), self.mean());
        let mut covariance = self.products.clone();
        for (i, row) in covariance.values.chunks_mut(n.max(1)).enumerate() {
            let centre = |(x, m): (&mut f64, &f64)| *x = (*x - self.count * mean[i] * m) / (self.count - 1.0);
            row.iter_mut().zip(&mean).for_each(centre);
        }
        covariance
    }
}

/// The distance between two sets of at least two rows each.
pub fn frechet_distance(a: &Sums, b: &Sums) -> f64 {
    let means: f64 = a.mean().iter().zip(b.mean()).map(|(x, y)| (x - y).powi(2)).sum();
    let (s1, s2) = (a.covariance(), b.covariance());
    let root: f64 = s2.between(&s1.cholesky()).eigenvalues().iter().map(|x| x.max(0.0).sqrt()).sum();
    means + s1.trace() + s2.trace() - 2.0 * root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with this mean and exactly this diagonal covariance: plus and minus along each axis.
    fn axes(mean: &[f64], variances: &[f64]) -> Sums {
        let d = mean.len();
        let scale = ((2 * d - 1) as f64 / 2.0).sqrt();
        let mut rows = Vec::new();
        for (i, variance) in variances.iter().enumerate() {
            for sign in [-1.0, 1.0] {
                let mut row = mean.to_vec();
                row[i] += sign * scale * variance.sqrt();
                rows.push(row);
            }
        }
        Sums::of(d, &rows)
    }

    #[test]
    fn two_gaussians_are_as_far_as_the_closed_form_says() {
        // Commuting covariances: |m1 - m2|^2 + sum (sigma1 - sigma2)^2 = 1 + 4 + (1 - 3)^2 + (2 - 2)^2 + (0 - 1)^2.
        let a = axes(&[0.0, 0.0, 1.0], &[1.0, 4.0, 0.0]);
        let b = axes(&[1.0, 2.0, 1.0], &[9.0, 4.0, 1.0]);
        assert!((frechet_distance(&a, &b) - 10.0).abs() < 1e-9, "{}", frechet_distance(&a, &b));
        assert!((frechet_distance(&b, &a) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn covariances_that_do_not_commute_follow_the_trace_formula() {
        // In two dimensions Tr (S1 S2)^(1/2) = sqrt(Tr S1 S2 + 2 sqrt(det S1 det S2)).
        let a = Sums::of(2, &[vec![1.0, 1.0], vec![-1.0, 0.0], vec![0.0, -1.0]]);
        let b = Sums::of(2, &[vec![2.0, 0.0], vec![-1.0, 0.5], vec![-1.0, -0.5]]);
        let (s, t) = (a.covariance(), b.covariance());
        let det = |m: &Square| m.values[0] * m.values[3] - m.values[1] * m.values[2];
        let product: f64 = (0..4).map(|i| s.values[i] * t.values[i]).sum();
        let root = (product + 2.0 * (det(&s) * det(&t)).sqrt()).sqrt();
        let expected = s.trace() + t.trace() - 2.0 * root;
        assert!((frechet_distance(&a, &b) - expected).abs() < 1e-12);
        assert!(frechet_distance(&a, &a).abs() < 1e-12);
    }
}
