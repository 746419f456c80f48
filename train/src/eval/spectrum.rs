//! Factors and eigenvalues of symmetric matrices, f64, for the Frechet distance.

/// A matrix of `n` rows and columns, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Square {
    pub(super) n: usize,
    pub(super) values: Vec<f64>,
}

/// QL iterations for one eigenvalue; two are usual.
const ITERATIONS: usize = 60;

impl Square {
    pub(super) fn zeros(n: usize) -> Self {
        Square { n, values: vec![0.0; n * n] }
    }

    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n..][..self.n]
    }

    pub(super) fn trace(&self) -> f64 {
        self.values.iter().step_by(self.n + 1).sum()
    }

    /// The lower-triangular `l` with `l l^T = self`, for a positive semi-definite matrix: where a pivot is lost in
    /// rounding, so is everything below it, and the column is zero.
    pub(super) fn cholesky(&self) -> Square {
        let n = self.n;
        let mut l = Square::zeros(n);
        let least = 1e-12 * self.values.iter().step_by(n + 1).copied().fold(0.0, f64::max);
        for j in 0..n {
            for i in j..n {
                let dot: f64 = l.row(i)[..j].iter().zip(&l.row(j)[..j]).map(|(a, b)| a * b).sum();
                let rest = self.values[i * n + j] - dot;
                let pivot = if i == j { rest.max(0.0).sqrt() } else { l.values[j * n + j] };
                if i == j {
                    l.values[i * n + j] = if rest > least { pivot } else { 0.0 };
                } else if pivot > 0.0 {
                    l.values[i * n + j] = rest / pivot;
                }
            }
        }
        l
    }

    /// `l^T self l`
    pub(super) fn between(&self, l: &Square) -> Square {
        let n = self.n;
        let product = |a: &Square, b: &Square, transposed: bool| {
            let mut c = Square::zeros(n);
            for i in 0..n {
                for k in 0..n {
                    let factor = if transposed { a.values[k * n + i] } else { a.values[i * n + k] };
                    if factor != 0.0 {
                        let row = &mut c.values[i * n..][..n];
                        row.iter_mut().zip(b.row(k)).for_each(|(c, b)| *c += factor * b);
                    }
                }
            }
            c
        };
        product(l, &product(self, l, false), true)
    }

    /// All eigenvalues of a symmetric matrix, in no particular order: Householder tridiagonalisation, then implicit QL
    /// (Golub and Van Loan, "Matrix Computations", sections 8.3.1 and 8.3.3).
    pub(super) fn eigenvalues(mut self) -> Vec<f64> {
        let off = self.tridiagonalise();
        let mut diagonal: Vec<f64> = self.values.iter().step_by(self.n + 1).copied().collect();
        ql(&mut diagonal, off);
        diagonal
    }

    /// Brings the matrix to tridiagonal form, leaves the diagonal in place and returns what is beside it.
    fn tridiagonalise(&mut self) -> Vec<f64> {
        let n = self.n;
        let mut off = vec![0.0; n];
        for k in 0..n.saturating_sub(1) {
            let mut v: Vec<f64> = (k + 1..n).map(|i| self.values[i * n + k]).collect();
            let tail: f64 = v[1..].iter().map(|x| x * x).sum();
            if tail == 0.0 {
                off[k] = v[0];
                continue;
            }
            let alpha = -(tail + v[0] * v[0]).sqrt().copysign(v[0]);
            v[0] -= alpha;
            off[k] = alpha;
            let beta = 2.0 / (tail + v[0] * v[0]);
            let row = |i: usize| &self.values[(k + 1 + i) * n + k + 1..][..n - k - 1];
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let mut w: Vec<f64> = (0..v.len()).map(|i| beta * dot(row(i), &v)).collect();
            let along = 0.5 * beta * dot(&w, &v);
            w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
            for i in 0..v.len() {
                let row = &mut self.values[(k + 1 + i) * n + k + 1..][..n - k - 1];
                row.iter_mut().enumerate().for_each(|(j, a)| *a -= v[i] * w[j] + w[i] * v[j]);
            }
        }
        off
    }
}

/// Eigenvalues of the tridiagonal matrix of `d` and, beside it, `e` (its last entry unused), into `d`.
fn ql(d: &mut [f64], mut e: Vec<f64>) {
    let n = d.len();
    for l in 0..n {
        for _ in 0..ITERATIONS {
            let small = |m: usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(|&m| small(m)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut deflated = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    deflated = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                let g2 = d[i + 1] - p;
                let r = (d[i] - g2) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g2 + p;
                g = c * r - b;
            }
            if !deflated {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::Key;

    #[test]
    fn eigenvalues_keep_trace_and_squares() {
        let mut stream = Key::new(3).stream();
        for n in [1, 2, 3, 7, 20] {
            let mut a = Square::zeros(n);
            for i in 0..n {
                for j in 0..=i {
                    let x = stream.normal();
                    (a.values[i * n + j], a.values[j * n + i]) = (x, x);
                }
            }
            let (trace, squares) = (a.trace(), a.values.iter().map(|x| x * x).sum::<f64>());
            let values = a.eigenvalues();
            // Rounding of O(n^3) operations on numbers of size 1.
            assert!((values.iter().sum::<f64>() - trace).abs() < 1e-10, "{n}");
            assert!((values.iter().map(|x| x * x).sum::<f64>() - squares).abs() < 1e-9, "{n}");
        }
        // [[2, 1], [1, 2]] has 1 and 3.
        let mut values = Square { n: 2, values: vec![2.0, 1.0, 1.0, 2.0] }.eigenvalues();
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-14 && (values[1] - 3.0).abs() < 1e-14, "{values:?}");
        assert!(Square::zeros(0).eigenvalues().is_empty());
    }

    #[test]
    fn the_factor_of_a_singular_matrix_has_its_product() {
        // Rank 1: (1, 2, 0) times itself.
        let a = Square { n: 3, values: vec![1.0, 2.0, 0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0] };
        let l = a.cholesky();
        assert_eq!(l.values, [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let identity = Square { n: 3, values: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0] };
        assert!((identity.between(&l).trace() - a.trace()).abs() < 1e-14);
    }
}
