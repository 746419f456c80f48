//! Angles of the rotary position embedding over a grid of tokens.

use flg_engine::ops::rope::Rope;
use flg_engine::{Cx, Device, Result, Tensor, Var};

const THETA: f64 = 10000.0;

/// Cosines and sines of a grid's tokens, `[tokens, head_dim / 2]`: one column for each pair of a head's channels.
///
/// A head's channels split into a part for time, one for rows and one for columns: `2 (head_dim / 6)` each for rows and
/// columns, the rest, which comes first, for time. Positions count from 0 along each axis. Angles, cosines and sines are
/// taken in f64 and rounded.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// Cosines.
    pub cos: Tensor,
    /// Sines.
    pub sin: Tensor,
}

impl RopeTable {
    /// The table of `grid` tokens along frames, rows and columns, for heads of `head_dim` (even) channels.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(device: &Device, grid: [usize; 3], head_dim: usize) -> Result<Self> {
        let spatial = 2 * (head_dim / 6);
        let widths = [head_dim - 2 * spatial, spatial, spatial];
        let axes: [Vec<(f32, f32)>; 3] = std::array::from_fn(|axis| angles(grid[axis], widths[axis]));
        let tokens = grid.iter().product::<usize>();
        let [mut cos, mut sin] = [(); 2].map(|()| Vec::with_capacity(tokens * head_dim / 2));
        for frame in 0..grid[0] {
            for row in 0..grid[1] {
                for column in 0..grid[2] {
                    for (axis, position) in [frame, row, column].into_iter().enumerate() {
                        let pairs = widths[axis] / 2;
                        let of_position = &axes[axis][position * pairs..(position + 1) * pairs];
                        cos.extend(of_position.iter().map(|pair| pair.0));
                        sin.extend(of_position.iter().map(|pair| pair.1));
                    }
                }
            }
        }
        let shape = [tokens, head_dim / 2];
        Ok(RopeTable { cos: Tensor::from_vec(device, cos, shape)?, sin: Tensor::from_vec(device, sin, shape)? })
    }

    /// The rotation of `heads` heads, for the norm in front of it.
    pub(super) fn of_heads(&self, heads: usize) -> Rope {
        Rope::new(heads, &self.cos, &self.sin)
    }

    /// Turns queries or keys `[b, tokens, heads * head_dim]`.
    ///
    /// # Errors
    /// Another number of tokens or another width.
    pub fn turn(&self, cx: &Cx<'_>, heads: usize, x: &Var) -> Result<Var> {
        cx.rope(heads, x, &self.cos, &self.sin)
    }
}

/// Cosine and sine of every position and pair, `[positions, width / 2]`.
fn angles(positions: usize, width: usize) -> Vec<(f32, f32)> {
    let frequencies: Vec<f64> = (0..width / 2).map(|pair| 1.0 / THETA.powf((2 * pair) as f64 / width as f64)).collect();
    let at = |position: usize| {
        frequencies.iter().map(move |frequency| {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            (cos as f32, sin as f32)
        })
    };
    (0..positions).flat_map(at).collect()
}
