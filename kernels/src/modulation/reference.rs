//! The modulation vectors in f64.

/// `[slots, groups, width]` from `[slots, width]` and `[groups, slots, width]`.
pub(super) fn forward(table: &[f64], projection: &[f64], [slots, groups, width]: [usize; 3]) -> Vec<f64> {
    let mut y = Vec::with_capacity(slots * groups * width);
    for s in 0..slots {
        for g in 0..groups {
            for j in 0..width {
                y.push(table[s * width + j] + projection[(g * slots + s) * width + j]);
            }
        }
    }
    y
}
