//! Gather and its transpose in f64.

pub(super) fn forward(x: &[f64], index: &[i32], batch: usize, width: usize) -> Vec<f64> {
    let item = x.len() / batch.max(1);
    (0..batch)
        .flat_map(|b| index.iter().map(move |&i| (b, i)))
        .flat_map(|(b, i)| (0..width).map(move |j| usize::try_from(i).map_or(0.0, |i| x[b * item + i * width + j])))
        .collect()
}

pub(super) fn backward(dy: &[f64], index: &[i32], before: &[f64], batch: usize, width: usize) -> Vec<f64> {
    let mut dx = before.to_vec();
    let item = dx.len() / batch.max(1);
    for b in 0..batch {
        for (p, &i) in index.iter().enumerate() {
            let Ok(i) = usize::try_from(i) else { continue };
            for j in 0..width {
                dx[b * item + i * width + j] += dy[(b * index.len() + p) * width + j];
            }
        }
    }
    dx
}
