//! Rows as aligned text.

use super::row::Row;

/// Columns, and how a row fills them.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: &[Column] = &[
    ("sampler", |r| r.name.clone()),
    ("given", |r| r.condition.to_string()),
    ("steps", |r| cost(r, |c| c.steps.to_string())),
    ("calls", |r| cost(r, |c| c.network_calls.to_string())),
    ("guidance", |r| cost(r, |c| format!("{}", c.guidance))),
    ("blocks", |r| cost(r, |c| c.blocks.to_string())),
    ("parameters", |r| cost(r, |c| c.parameters.to_string())),
    ("s/clip", |r| cost(r, |c| format!("{:.4}", c.seconds_per_clip))),
    ("MB", |r| cost(r, |c| format!("{:.1}", c.memory_bytes as f64 / 1e6))),
    ("captions right", |r| with_interval(r.figures.caption_accuracy, r.intervals.caption_accuracy, 3)),
    ("frechet", |r| with_interval(r.figures.frechet, r.intervals.frechet, 2)),
    ("kernel", |r| with_interval(r.figures.kernel_distance, r.intervals.kernel_distance, 4)),
    ("motion", |r| with_interval(r.figures.motion, r.intervals.motion, 2)),
    ("diversity", |r| with_interval(r.figures.diversity, r.intervals.diversity, 2)),
    ("contrast", |r| format!("{:.2}", r.figures.contrast)),
    ("still", |r| format!("{:.2}", r.figures.still)),
];

/// Columns of worlds whose frames are read one by one.
const FRAME_COLUMNS: &[Column] = &[
    ("style", |r| optional(r.figures.style)),
    ("> .9", |r| optional(r.figures.recognised)),
    ("frames right", |r| optional(r.figures.labels.get("frame").copied())),
];

/// The rows under a line of headings, columns aligned, names to the left and numbers to the right.
pub fn table(rows: &[Row]) -> String {
    let frames = rows.iter().any(|row| row.figures.style.is_some());
    let columns = || COLUMNS.iter().chain(if frames { FRAME_COLUMNS } else { &[] });
    let mut lines: Vec<Vec<String>> = vec![columns().map(|(title, _)| (*title).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| columns().map(|(_, cell)| cell(row)).collect()));
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate();
        let cells = cells.map(|(i, (cell, &w))| if i < 2 { format!("{cell:<w$}") } else { format!("{cell:>w$}") });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// How rows differ from those that they were compared with, a line each; nothing where none was.
pub fn differences(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        for (other, of) in &row.differences {
            text += &format!(
                "{} less {other} ({}): captions right {}, frechet {}, kernel {}, motion {}, diversity {}\n",
                row.name,
                row.condition,
                signed(of.caption_accuracy, 3),
                signed(of.frechet, 2),
                signed(of.kernel_distance, 4),
                signed(of.motion, 2),
                signed(of.diversity, 2),
            );
        }
    }
    text
}

fn signed([low, high]: [f64; 2], digits: usize) -> String {
    format!("[{low:+.digits$}, {high:+.digits$}]")
}

fn cost(row: &Row, cell: impl Fn(&super::row::Cost) -> String) -> String {
    row.cost.as_ref().map_or_else(|| "-".to_owned(), cell)
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn with_interval(value: f64, [low, high]: [f64; 2], digits: usize) -> String {
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}
