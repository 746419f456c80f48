//! Orthogonalisation by a quintic Newton-Schulz iteration (Jordan et al., *Muon*, 2024).

use flg_engine::{Result, Tensor};
use flg_kernels::gemm::Layout;
use flg_kernels::reduce::Term;

/// Coefficients of `a x + b x^3 + c x^5`, chosen for a steep slope at zero: singular values end up in about 0.7..1.2.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;

/// The nearest semi-orthogonal matrix to `matrix [rows, columns]`, roughly: same singular vectors, all singular values
/// about 1.
///
/// # Errors
/// A tensor that is no matrix.
pub fn orthogonalize(matrix: &Tensor) -> Result<Tensor> {
    let [rows, columns] = matrix.shape().expect_rank("orthogonalize")?;
    let tall = rows > columns;
    // The products below are the smaller ones when rows <= columns.
    let mut x = if tall { matrix.transpose(0, 1)?.contiguous()? } else { matrix.clone() };
    let norm = x.total(Term::Square, None)?.sqrt();
    x = x.scale(1.0 / (norm + 1e-7))?;
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let gram = x.matmul(&x, Layout::NT)?;
        let poly = gram.combine(b, &gram.matmul(&gram, Layout::NN)?, c)?;
        x = x.combine(a, &poly.matmul(&x, Layout::NN)?, 1.0)?;
    }
    if tall { x.transpose(0, 1)?.contiguous() } else { Ok(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Device, Key};

    #[test]
    fn singular_values_become_about_one() {
        let device = Device::cpu();
        for shape in [[8, 8], [5, 13], [13, 5], [1, 7]] {
            let x = Key::new(4).normal(&device, shape).unwrap();
            let y = orthogonalize(&x).unwrap();
            assert_eq!(y.shape().dims(), shape);
            let small = if shape[0] <= shape[1] { y.clone() } else { y.transpose(0, 1).unwrap().contiguous().unwrap() };
            let gram = small.matmul(&small, Layout::NT).unwrap();
            // Eigenvalues of the Gram matrix are squares of singular values: their mean is its trace over its size.
            let n = shape[0].min(shape[1]);
            let trace: f32 = (0..n).map(|i| gram.to_vec()[i * n + i]).sum();
            let mean = trace / n as f32;
            assert!((0.4..1.6).contains(&mean), "{shape:?}: mean squared singular value {mean}");
            // Same direction as the input.
            assert!(y.total(Term::Product, Some(&x)).unwrap() > 0.0);
        }
    }
}
