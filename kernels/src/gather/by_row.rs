//! The picks of each row, for the backward pass: so a row is written by one task, in the order of its picks.

/// Those of row `i` are `order[starts[i]..starts[i + 1]]`, ascending (a counting sort). `(starts, order)`
pub(super) fn by_row(index: &[i32], rows: usize) -> (Vec<usize>, Vec<usize>) {
    let picked = || index.iter().enumerate().filter_map(|(p, &i)| usize::try_from(i).ok().map(|i| (p, i)));
    let mut starts = vec![0; rows + 1];
    picked().for_each(|(_, i)| starts[i + 1] += 1);
    for i in 0..rows {
        starts[i + 1] += starts[i];
    }
    let (mut next, mut order) = (starts.clone(), vec![0; starts[rows]]);
    for (p, i) in picked() {
        order[next[i]] = p;
        next[i] += 1;
    }
    (starts, order)
}
