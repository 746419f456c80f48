//! The loss curves of a stage, from the `metrics.jsonl` of its run folder.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::figures::{Series, curves, described};
use crate::Result;
use crate::run::Error;

/// One picture: what is drawn of which stage. Metrics in one picture have one unit.
struct Plot {
    stage: &'static str,
    title: &'static str,
    metrics: &'static [(&'static str, &'static str)],
}

const PLOTS: &[Plot] = &[
    Plot {
        stage: "train",
        title: "Teacher: flow-matching loss",
        metrics: &[("loss", "training"), ("validation_loss", "held-out clips")],
    },
    Plot { stage: "prune", title: "Stage II: distance from the whole teacher", metrics: &[("loss", "training")] },
    Plot {
        stage: "prune",
        title: "Stage II: flow-matching loss, held-out clips",
        metrics: &[("validation_pruned", "without the removed blocks"), ("validation_unpruned", "all blocks")],
    },
    Plot { stage: "distill", title: "Stage III: loss of the critic", metrics: &[("loss", "critic")] },
    Plot {
        stage: "distill",
        title: "Stage III: size of the matching gradient",
        metrics: &[("distance", "teacher against critic")],
    },
    Plot {
        stage: "distill",
        title: "Stage III: the guard's kernel distance, held-out captions",
        metrics: &[("guard_distance", "student against real clips")],
    },
];

/// SVG pictures of what a stage's run folder logged; none for a stage that trains nothing or has not begun.
///
/// # Errors
/// A file that cannot be read or that the trainer did not write.
pub fn of_run(folder: &Path, stage: &str) -> Result<Vec<String>> {
    let path = folder.join("metrics.jsonl");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(Error::io("read", &path)(cause).into()),
    };
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|_| Error::MetricsLine { path: path.clone(), line: i + 1 })
    };
    // A run that was killed may have left a torn last line, which a resumed run cuts off.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines: Vec<Value> = whole.lines().enumerate().map(parse).collect::<Result<_, Error>>()?;
    let mut pictures = Vec::new();
    for plot in PLOTS.iter().filter(|plot| stage.starts_with(plot.stage)) {
        let series = |&(key, name): &(&str, &str)| Series { name: name.to_owned(), points: points(&lines, key) };
        let series: Vec<Series> = plot.metrics.iter().map(series).collect();
        let drawn = curves(plot.title, &series).map_err(|cause| crate::Error::Drawing { cause })?;
        pictures.extend(drawn.map(|svg| described(&svg, &spoken(plot.title, &series))));
    }
    Ok(pictures)
}

/// The last value that a run logged under a name at or before `step` steps.
pub(crate) fn logged(lines: &str, name: &str, step: u64) -> Option<f64> {
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let early = lines.filter(|line| line["step"].as_u64().is_some_and(|s| s < step));
    early.filter_map(|line| line.get(name)?.as_f64()).fold(None, |_, value| Some(value))
}

/// Steps are counted from 0 in the file, and from 1 in pictures.
fn points(lines: &[Value], key: &str) -> Vec<(f64, f64)> {
    lines.iter().filter_map(|line| Some((line.get("step")?.as_f64()? + 1.0, line.get(key)?.as_f64()?))).collect()
}

/// What a picture shows, in words.
fn spoken(title: &str, series: &[Series]) -> String {
    let ends = series.iter().filter_map(|series| {
        let ((_, first), (step, last)) = (series.points.first()?, series.points.last()?);
        Some(format!("{} from {first:.4} to {last:.4} at step {step}", series.name))
    });
    format!("{title}: {}.", ends.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_becomes_its_pictures() {
        let folder = tempfile::tempdir().unwrap();
        assert!(of_run(folder.path(), "prune").unwrap().is_empty());
        let lines = "{\"step\":0,\"loss\":1.0}\n{\"step\":1,\"loss\":0.5,\"validation_pruned\":0.25}\n{\"step\":2,\"lo";
        fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        let pictures = of_run(folder.path(), "prune").unwrap();
        assert_eq!(pictures.len(), 2);
        assert!(pictures[0].contains("training from 1.0000 to 0.5000 at step 2"), "{}", &pictures[0][..400]);
        assert_eq!(logged(lines, "validation_pruned", 2), Some(0.25));
        assert_eq!(logged(lines, "validation_pruned", 1), None);
        fs::write(folder.path().join("metrics.jsonl"), "nonsense\n").unwrap();
        assert!(of_run(folder.path(), "prune").is_err());
    }
}
