//! The page, from the files of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::files::{read_json, write_atomic};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment as Templates, context};
use serde::Serialize;

use super::figures::{data_uri, described};
use super::verdict::{guidance, sentences, significant, time};
use super::{CLIPS, Figures, PAGE, Row, SHOWN, SUMMARY, Shown, Summary, curves};
use crate::audit::{self, Audit};
use crate::eval::{Condition, Cost};
use crate::run::{Environment, Error as RunError, Record};
use crate::{Error, Result};

const TEMPLATE: &str = include_str!("page.html");
/// The stages of a demo, each a folder of its own where it was run.
const STAGES: [&str; 4] = ["train", "prune", "distill", "distill-all-blocks"];

/// A clip on the page, its files inlined.
#[derive(Debug, Serialize)]
struct Picture {
    caption: String,
    teacher: String,
    student: String,
    real: Option<String>,
}

/// A line of the table, ready to be printed.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    class: &'static str,
    sampler: String,
    note: Option<String>,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    value: String,
    interval: String,
}

/// Curves of one stage.
#[derive(Debug, Serialize)]
struct Stage {
    name: String,
    pictures: Vec<String>,
}

/// Makes `report.html` in a demo's folder anew, and returns its path.
///
/// # Errors
/// Files that are missing or not what a demo writes; the system's refusals.
pub fn of_demo(folder: &Path) -> Result<PathBuf> {
    let summary: Summary = read_json(folder.join(SUMMARY))?;
    let shown = pictures(&folder.join(CLIPS))?;
    let conditions = [(Condition::Text, "From a caption"), (Condition::TextImage, "From a caption and a first frame")];
    let table =
        |(condition, title)| (title, summary.under(condition).map(|row| line(&summary, row)).collect::<Vec<_>>());
    let tables: Vec<_> = conditions.into_iter().map(table).filter(|(_, lines)| !lines.is_empty()).collect();
    let (text_clips, image_clips): (Vec<_>, Vec<_>) =
        shown.into_iter().partition(|(given, _)| *given == Condition::Text);
    let pictures = |clips: Vec<(Condition, Picture)>| clips.into_iter().map(|clip| clip.1).collect::<Vec<_>>();
    let (teacher, student) = summary.pair(Condition::Text).unzip();
    let html = render(context! {
        title => format!("FastLightGen demo: {}", summary.preset),
        kind => "demo",
        quick => summary.figures == Figures::Meaningless,
        summary => context! {
            version => summary.version.as_str(), seed => summary.seed, prompts => summary.prompts,
            speedup => format!("{:.1}", summary.sampling_speedup),
            theory => format!("{:.1}", summary.sampling_speedup_theory),
            parameters => format!("{:.2}", summary.parameter_ratio),
            student_accuracy => student.map(|row| percent(row.measured.figures.caption_accuracy)),
            teacher_accuracy => teacher.map(|row| percent(row.measured.figures.caption_accuracy)),
            student_frechet => student.map(|row| significant(row.measured.figures.frechet)),
            teacher_frechet => teacher.map(|row| significant(row.measured.figures.frechet)),
            teacher => summary.teacher.as_str(), student => summary.student.as_str(),
        },
        verdict => Serde(sentences(&summary).iter().map(|said| said.replace('\'', "’")).collect::<Vec<_>>()),
        clips => Serde(pictures(text_clips)),
        image_clips => Serde(pictures(image_clips)),
        tables => Serde(tables),
        audit => audit_figure(&summary.audit)?,
        stages => Serde(stages(folder)?),
        evaluation => Serde(summary.evaluation.iter().map(|(k, v)| (k.clone(), plain(v))).collect::<Vec<_>>()),
        seconds => Serde(summary.seconds.iter().map(|(part, s)| (part.clone(), time(*s))).collect::<Vec<_>>()),
        config => text_of(&folder.join("config.resolved.toml"))?,
        environment => Serde(environment(folder)?),
    })?;
    write(folder, &html)
}

/// Makes a page with the curves of one stage's run folder, and returns its path.
///
/// # Errors
/// A folder that is no run; files that the trainer did not write; the system's refusals.
pub fn of_run(folder: &Path) -> Result<PathBuf> {
    let stage = read_json::<Record>(folder.join("run.json"))?.stage;
    let importance = folder.join("audit/importance.json");
    let audit = if importance.is_file() { Some(audit_figure(&read_json(importance)?)?) } else { None };
    let html = render(context! {
        title => format!("FastLightGen run: {stage}"),
        kind => "run",
        quick => false,
        audit => audit,
        stages => Serde([Stage { pictures: curves::of_run(folder, &stage)?, name: stage.clone() }]),
        config => text_of(&folder.join("config.resolved.toml"))?,
        environment => Serde(environment(folder)?),
    })?;
    write(folder, &html)
}

fn render(context: minijinja::Value) -> Result<String> {
    let mut templates = Templates::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Chainable);
    let page = templates.render_str(TEMPLATE, context);
    page.map_err(|cause| Error::Drawing { cause: cause.to_string() })
}

fn write(folder: &Path, html: &str) -> Result<PathBuf> {
    let path = folder.join(PAGE);
    write_atomic(&path, |out| std::io::Write::write_all(out, html.as_bytes()))?;
    Ok(path)
}

/// The clips of the page with their conditions.
fn pictures(folder: &Path) -> Result<Vec<(Condition, Picture)>> {
    let list: Vec<Shown> = read_json(folder.join(SHOWN))?;
    let inline = |name: &str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(RunError::io("read", &path))?;
        Ok::<_, Error>(data_uri("image/apng", &bytes))
    };
    let picture = |shown: Shown| {
        let real = shown.real.as_deref().map(inline).transpose()?;
        let (teacher, student) = (inline(&shown.teacher)?, inline(&shown.student)?);
        Ok((shown.condition, Picture { caption: shown.caption, teacher, student, real }))
    };
    list.into_iter().map(picture).collect()
}

fn stages(folder: &Path) -> Result<Vec<Stage>> {
    let stage = |name: &str| Ok(Stage { name: name.to_owned(), pictures: curves::of_run(&folder.join(name), name)? });
    let stages: Vec<Stage> = STAGES.into_iter().map(stage).collect::<Result<_>>()?;
    Ok(stages.into_iter().filter(|stage| !stage.pictures.is_empty()).collect())
}

fn audit_figure(audit: &Audit) -> Result<String> {
    let svg = audit::plot::svg(audit).map_err(|cause| Error::Drawing { cause })?;
    let values: Vec<String> = audit.importance.iter().map(|score| significant(score.value)).collect();
    let removed: Vec<String> = audit.removed.iter().map(usize::to_string).collect();
    let text = format!("Importance of block 0 to the last: {}. Removed: {}.", values.join(", "), removed.join(", "));
    Ok(described(&svg, &text))
}

fn line(summary: &Summary, row: &Row) -> Line {
    let Row { measured, sampler, note, .. } = row;
    let class = match &measured.name {
        name if *name == summary.student => "student",
        name if *name == summary.teacher => "teacher",
        _ => "",
    };
    let number = |value, [low, high]: [f64; 2]| Cell {
        value: significant(value),
        interval: format!("{} – {}", significant(low), significant(high)),
    };
    let (figures, intervals) = (&measured.figures, &measured.intervals);
    let mut cells = costs(measured.cost.as_ref());
    cells.extend([
        number(figures.caption_accuracy, intervals.caption_accuracy),
        number(figures.frechet, intervals.frechet),
        number(figures.kernel_distance, intervals.kernel_distance),
        number(figures.motion, intervals.motion),
        number(figures.diversity, intervals.diversity),
    ]);
    Line { name: measured.name.clone(), class, sampler: sampler.clone(), note: note.clone(), cells }
}

/// The cells of what sampling takes; dashes for real clips.
fn costs(cost: Option<&Cost>) -> Vec<Cell> {
    let cell =
        |of: fn(&Cost) -> String| Cell { value: cost.map_or_else(|| "–".to_owned(), of), interval: String::new() };
    vec![
        cell(|c| c.steps.to_string()),
        cell(|c| c.network_calls.to_string()),
        cell(|c| guidance(c.guidance)),
        cell(|c| c.blocks.to_string()),
        cell(|c| format!("{:.3} M", c.parameters as f64 / 1e6)),
        cell(|c| time(c.seconds_per_clip)),
    ]
}

fn percent(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// A JSON value as a reader expects it: strings without quotes.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(n) if n.is_f64() => significant(n.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

fn environment(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let e: Environment = read_json(folder.join("env.json"))?;
    let mode = if e.optimised { "release" } else { "debug: times mean nothing" };
    Ok(vec![
        ("flg", e.version),
        ("build", mode.to_owned()),
        ("system", format!("{} {}", e.os, e.arch)),
        ("processor", e.cpu.unwrap_or_else(|| "unknown".to_owned())),
        ("threads", format!("{} of {}", e.threads, e.cores)),
        ("kernels", e.runtime),
    ])
}

fn text_of(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|cause| RunError::io("read", path)(cause).into())
}

#[cfg(test)]
mod tests;
