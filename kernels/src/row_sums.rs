//! Sums over one row, `M` at a time: four chains of vector additions (enough to hide an addition's latency), then lanes.
//! The order depends on the row's length only.

use crate::simd::{LANES, Simd};

const CHAINS: usize = 4;

/// `sum_i f(0, x[0][i], x[1][i], ..)` for each of `M` sums, where `f` adds its terms to the sums it is given. All rows
/// are as long as `x[0]`; lanes past their end hold `fill`, for which `f` must add zero.
#[inline(always)]
pub(crate) fn row_sums<S: Simd, const N: usize, const M: usize>(
    s: S,
    x: [&[f32]; N],
    fill: f32,
    f: impl Fn([S::V; M], [S::V; N]) -> [S::V; M],
) -> [f32; M] {
    const BLOCK: usize = CHAINS * LANES;
    let n = x[0].len();
    let x = x.map(|x| &x[..n]);
    let mut chains = [[s.zero(); M]; CHAINS];
    let blocks = n - n % BLOCK;
    for start in (0..blocks).step_by(BLOCK) {
        for (k, chain) in chains.iter_mut().enumerate() {
            let i = start + k * LANES;
            *chain = f(*chain, x.map(|x| s.load(&x[i..i + LANES])));
        }
    }
    for i in (blocks..n).step_by(LANES) {
        chains[0] = f(chains[0], x.map(|x| s.load_partial(&x[i..], fill)));
    }
    let [a, b, c, d] = chains;
    std::array::from_fn(|m| s.sum(s.add(s.add(a[m], b[m]), s.add(c[m], d[m]))))
}
