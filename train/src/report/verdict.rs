//! What the numbers say, in sentences. Every sentence is computed: none of them knows how a demo should end.

use super::summary::{Figures, Losses, Summary};
use crate::eval::{self, Condition};

/// Sentences for the top of the page, the most important first.
pub fn sentences(summary: &Summary) -> Vec<String> {
    let mut said = Vec::new();
    if summary.figures == Figures::Meaningless {
        said.push(
            "This was a quick run: everything was done, nothing for long enough. The figures mean nothing.".to_owned(),
        );
    }
    said.extend(speed(summary));
    said.extend(
        [Condition::Text, Condition::TextImage].into_iter().filter_map(|condition| quality(summary, condition)),
    );
    said.extend(undistilled(summary));
    said.push(pruning(&summary.validation));
    said.push(shape(summary));
    said.extend(summary.notes.iter().cloned());
    said
}

/// How much faster, how much was to be expected, and where the rest goes.
fn speed(summary: &Summary) -> Option<String> {
    let (teacher, student) = summary.pair(Condition::Text)?;
    let (teacher, student) = (teacher.measured.cost.as_ref()?, student.measured.cost.as_ref()?);
    let (slow, fast) = (teacher.seconds_per_clip, student.seconds_per_clip);
    let (calls, fewer) = (teacher.network_calls, student.network_calls);
    let (measured, theory) = (summary.sampling_speedup, summary.sampling_speedup_theory);
    let smaller = 100.0 * (1.0 - summary.parameter_ratio);
    let mut text = format!(
        "The student samples a clip in {} where the teacher takes {}: {measured:.1} times faster, with {smaller:.0} % \
         fewer parameters. Counting transformer blocks alone, {theory:.1} times was to be expected: {calls} network \
         calls of {} blocks against {fewer} of {}.",
        time(fast),
        time(slow),
        teacher.blocks,
        student.blocks,
    );
    let per_call = (slow / calls as f64) / (fast / fewer as f64);
    let blocks = teacher.blocks as f64 / student.blocks as f64;
    if measured < 0.98 * theory {
        text += &format!(
            " Of these, the calls account for exactly {:.0} times; a call by itself became {per_call:.2} times faster, \
             not {blocks:.2} times: what every call does besides its blocks (embedding the patches and the time, the \
             output head, the sampler's own arithmetic) does not shrink with them.",
            calls as f64 / fewer as f64
        );
    } else if measured > 1.02 * theory {
        text += &format!(" A call by itself became {per_call:.2} times faster, more than the blocks explain.");
    }
    Some(text)
}

/// What the speed costs.
fn quality(summary: &Summary, condition: Condition) -> Option<String> {
    let (teacher, student) = summary.pair(condition)?;
    let given = match condition {
        Condition::Text => "From a caption",
        Condition::TextImage => "From a caption and a first frame",
    };
    let (teacher, student) = (&teacher.measured, &student.measured);
    let (before, got) = (&teacher.figures, &student.figures);
    Some(format!(
        "{given}, {:.1} % ({}) of the student's {} clips show what was asked for, {:.1} % ({}) of the teacher's; its \
         Fréchet distance from real clips is {} against {}, {:.2} times the teacher's{}.",
        100.0 * got.caption_accuracy,
        percents(student.intervals.caption_accuracy),
        summary.prompts,
        100.0 * before.caption_accuracy,
        percents(teacher.intervals.caption_accuracy),
        significant(got.frechet),
        significant(before.frechet),
        got.frechet / before.frechet,
        student.differences.get(&teacher.name).map_or(String::new(), |less| {
            let (captions, distance) = (less.caption_accuracy.map(|x| 100.0 * x), less.frechet);
            format!(" (paired differences: captions {} points, distance {})", between(captions), between(distance))
        }),
    ))
}

/// What as few network calls give without distillation. The paired difference of the distances decides.
fn undistilled(summary: &Summary) -> Option<String> {
    let (_, student) = summary.pair(Condition::Text)?;
    let student = &student.measured;
    let calls = student.cost.as_ref()?.network_calls;
    let as_few = |row: &&eval::Row| row.cost.as_ref().is_some_and(|cost| cost.network_calls <= calls);
    let rivals = summary.under(Condition::Text).filter(|row| !row.distilled).map(|row| &row.measured).filter(as_few);
    let best = rivals.min_by(|a, b| a.figures.frechet.total_cmp(&b.figures.frechet))?;
    let [low, high] = student.differences.get(&best.name)?.frechet;
    let found = if high < 0.0 {
        format!("distillation wins, {:.1} times over", best.figures.frechet / student.figures.frechet)
    } else if low > 0.0 {
        format!("distillation loses, {:.1} times over", student.figures.frechet / best.figures.frechet)
    } else {
        "it is open whether distillation helps".to_owned()
    };
    let figures = |row: &eval::Row| {
        let f = &row.figures;
        let distance = significant(f.frechet);
        format!(
            "{distance}, {:.0} % of real motion, {:.1} % of captions right",
            100.0 * f.motion,
            100.0 * f.caption_accuracy
        )
    };
    Some(format!(
        "With as few calls and without distillation, the lowest Fréchet distance is that of “{}” on {} blocks: {}; the \
         student: {}. By that distance (paired difference {}) {found}.",
        best.name,
        best.cost.as_ref()?.blocks,
        figures(best),
        figures(student),
        between([low, high]),
    ))
}

fn pruning(losses: &Losses) -> String {
    let random =
        losses.random_masks.map_or(String::new(), |loss| format!("{loss:.4} after training with random masks, "));
    format!(
        "Removing the blocks takes the held-out loss from {:.4} to {:.4}; training brings it to {random}{:.4} in the \
         end, {:.2} times the whole teacher's.",
        losses.teacher,
        losses.untrained,
        losses.pruned,
        losses.pruned / losses.teacher
    )
}

/// Whether the blocks in the middle are the least important.
fn shape(summary: &Summary) -> String {
    let audit = &summary.audit;
    let mut order: Vec<usize> = (0..audit.importance.len()).collect();
    order.sort_by(|&a, &b| audit.importance[b].value.total_cmp(&audit.importance[a].value));
    let top: Vec<String> = order.iter().take(2).map(|block| block.to_string()).collect();
    let u = audit.u_shape;
    let found = if u.low > 0.0 { "a U shape" } else { "no U shape beyond doubt" };
    format!(
        "The audit found {found}: importance and distance from the middle correlate by {:.2} (Spearman, {:.2} to {:.2}); \
         blocks {} matter most. Removed: {}.",
        u.value,
        u.low,
        u.high,
        top.join(" and "),
        list(&audit.removed)
    )
}

/// An interval of differences.
fn between([low, high]: [f64; 2]) -> String {
    let signed = |x: f64| format!("{}{}", if x > 0.0 { "+" } else { "" }, significant(x));
    format!("{} to {}", signed(low), signed(high))
}

fn list(blocks: &[usize]) -> String {
    if blocks.is_empty() {
        return "none".to_owned();
    }
    blocks.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn percents([low, high]: [f64; 2]) -> String {
    format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high)
}

/// A time, in the unit in which it is a handy number.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.2} s"),
        s => format!("{} ms", significant(1e3 * s)),
    }
}

/// Three significant digits.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    match exponent {
        -4..=5 => format!("{value:.*}", usize::try_from(2 - exponent).unwrap_or(0)),
        _ => format!("{value:.2e}"),
    }
}

/// What a strength of guidance is called, counted as Ho and Salimans do.
pub fn guidance(w: f64) -> String {
    if w == 1.0 { "none".to_owned() } else { significant(w) }
}
