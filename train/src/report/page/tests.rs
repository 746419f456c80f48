//! Pages made of made-up numbers.

use std::collections::BTreeMap;

use flg_engine::files::{write_atomic, write_json};
use tempfile::TempDir;

use super::*;
use crate::audit::Score;
use crate::config::Config;
use crate::report::{Losses, verdict};
use crate::run::Record;
use crate::video::{self, Clip, FrameRate, Geometry};

fn row(name: &str, condition: Condition, (steps, calls, blocks): (usize, usize, usize), seconds: f64) -> Row {
    let figures = crate::eval::Figures {
        caption_accuracy: 0.94,
        labels: BTreeMap::from([("digit".to_owned(), 0.95)]),
        frechet: 20.0 + 1000.0 / calls as f64,
        kernel_distance: 0.012,
        motion: 1.01,
        diversity: 0.9,
        contrast: 1.0,
        still: 0.0,
        style: None,
        recognised: None,
    };
    let intervals = crate::eval::Figures {
        caption_accuracy: [0.91, 0.97],
        labels: BTreeMap::from([("digit".to_owned(), [0.9, 1.0])]),
        frechet: [20.0, 300.0],
        kernel_distance: [0.01, 0.015],
        motion: [0.9, 1.1],
        diversity: [0.8, 1.0],
        contrast: [0.9, 1.1],
        still: [0.0, 0.0],
        style: None,
        recognised: None,
    };
    let cost = Cost {
        steps,
        network_calls: calls,
        guidance: if calls > steps { 3.0 } else { 1.0 },
        blocks,
        parameters: 64_000 * blocks,
        weight_bytes: 256_000 * blocks,
        memory_bytes: 1 << 20,
        seconds_per_clip: seconds,
    };
    let differences = crate::eval::Figures { frechet: [-90.0, 15.0], ..intervals.clone() };
    let differences = BTreeMap::from(
        ["teacher, 50 steps + guidance", "teacher, 4 steps"].map(|name| (name.to_owned(), differences.clone())),
    );
    let (name, cost, resampled) = (name.to_owned(), Some(cost), Default::default());
    let measured = crate::eval::Row { name, condition, cost, figures, intervals, differences, resampled };
    Row {
        distilled: measured.name.starts_with("student"),
        measured,
        sampler: format!("Euler, {steps} steps <shift 5>"),
        note: None,
    }
}

fn audit() -> Audit {
    let score = |value: f64| Score { value, low: 0.9 * value, high: 1.1 * value };
    let values = [0.6, 0.03, 0.02, 0.01, 0.02, 0.14];
    Audit {
        blocks: 6,
        clips: 96,
        strata: 6,
        method: ["fm", "surrogate", "importance", "greedy"].map(str::to_owned),
        loss: 0.14,
        importance: values.map(score).to_vec(),
        flow_matching: values.map(score).to_vec(),
        elbo: values.map(score).to_vec(),
        by_stratum: vec![vec![0.1; 6]; 6],
        u_shape: Score { value: 0.9, low: 0.7, high: 1.0 },
        ranked: vec![3, 2, 4, 1, 5, 0],
        removed: vec![2, 3],
        joint: 0.1,
    }
}

fn summary(figures: Figures) -> Summary {
    let rows = vec![
        row("teacher, 50 steps + guidance", Condition::Text, (50, 100, 6), 0.09),
        row("teacher, 4 steps", Condition::Text, (4, 4, 6), 0.004),
        row("student, 4 steps", Condition::Text, (4, 4, 4), 0.0029),
        row("teacher, 50 steps + guidance", Condition::TextImage, (50, 100, 6), 0.09),
        row("student, 4 steps", Condition::TextImage, (4, 4, 4), 0.0029),
    ];
    Summary {
        version: "0.0.0".to_owned(),
        preset: "digits & <signs>".to_owned(),
        figures,
        seed: 3,
        sampling_speedup: 31.0,
        sampling_speedup_theory: 37.5,
        parameter_ratio: 0.68,
        prompts: 256,
        teacher: rows[0].measured.name.clone(),
        student: rows[2].measured.name.clone(),
        rows,
        validation: Losses { teacher: 0.12, untrained: 0.25, random_masks: Some(0.16), pruned: 0.13 },
        audit: audit(),
        evaluation: serde_json::Map::from_iter([("digit accuracy".to_owned(), 0.934.into())]),
        seconds: BTreeMap::from([("prune".to_owned(), 63.0)]),
        notes: Vec::new(),
    }
}

/// A demo's folder.
fn folder(summary: &Summary) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::create_dir_all(root.join(CLIPS)).unwrap();
    fs::create_dir_all(root.join("prune")).unwrap();
    let clip = Clip::black(Geometry { channels: 1, frames: 2, height: 4, width: 4 }).unwrap();
    video::write(&root.join(CLIPS).join("a.apng"), &clip, FrameRate::default()).unwrap();
    let shown = |condition, real| Shown {
        caption: "a 7 <moving> left".to_owned(),
        condition,
        teacher: "a.apng".to_owned(),
        student: "a.apng".to_owned(),
        real,
    };
    let list = [shown(Condition::Text, None), shown(Condition::TextImage, Some("a.apng".to_owned()))];
    write_json(root.join(CLIPS).join(SHOWN), &list).unwrap();
    write_json(root.join(SUMMARY), summary).unwrap();
    write_json(root.join("env.json"), &Environment::here("test")).unwrap();
    let metrics = "{\"step\":0,\"loss\":1.0,\"validation_pruned\":0.3}\n";
    write_atomic(root.join("prune/metrics.jsonl"), |out| out.write_all(metrics.as_bytes())).unwrap();
    write_atomic(root.join("config.resolved.toml"), |out| out.write_all(Config::default().to_toml().as_bytes()))
        .unwrap();
    place
}

#[test]
fn a_page_has_everything_and_asks_the_network_for_nothing() {
    let place = folder(&summary(Figures::Measured));
    let html = fs::read_to_string(of_demo(place.path()).unwrap()).unwrap();
    for part in
        ["31.0×", "37.5×", "Stage II", "a 7 &lt;moving&gt; left", "&lt;shift 5&gt;", "[prune.optimizer]", "2, 3"]
    {
        assert!(html.contains(part), "no {part}");
    }
    // SVG names its name space by an address, which nothing follows.
    let addresses = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(!addresses.contains("http://") && !addresses.contains("https://"));
    assert!(!html.contains("<moving>") && !html.contains("figures mean nothing"));
    assert_eq!(html.matches("<img ").count(), html.matches(" alt=\"").count());
    assert_eq!(html.matches("data:image/apng;base64,").count(), 5);
    assert_eq!(html.matches("<svg role=\"img\" aria-label=").count(), html.matches("<svg ").count());
    assert_eq!(html.matches("class=\"student\"><th").count(), 2);
    // Made again from the same files, it has the same bytes.
    assert_eq!(html, fs::read_to_string(of_demo(place.path()).unwrap()).unwrap());
}

#[test]
fn a_quick_run_says_so_first() {
    let summary = summary(Figures::Meaningless);
    assert!(verdict::sentences(&summary)[0].contains("mean nothing"));
    let html = fs::read_to_string(of_demo(folder(&summary).path()).unwrap()).unwrap();
    assert!(html.contains("class=\"warning\""));
}

#[test]
fn the_verdict_follows_the_numbers() {
    let mut made_up = summary(Figures::Measured);
    let text = verdict::sentences(&made_up).join("\n");
    assert!(text.contains("31.0 times faster, with 32 % fewer parameters"), "{text}");
    assert!(text.contains("open whether distillation helps"), "{text}");
    assert!(text.contains("calls account for exactly 25 times"), "{text}");
    made_up.rows[2].measured.figures.frechet = 40.0;
    let less = |summary: &mut Summary, interval| {
        summary.rows[2].measured.differences.get_mut("teacher, 4 steps").unwrap().frechet = interval;
    };
    less(&mut made_up, [-300.0, -19.0]);
    made_up.audit.u_shape.low = -0.1;
    let text = verdict::sentences(&made_up).join("\n");
    assert!(text.contains("distillation wins, 6.8 times over"), "{text}");
    assert!(text.contains("no U shape beyond doubt"), "{text}");
    less(&mut made_up, [0.1, 40.0]);
    assert!(verdict::sentences(&made_up).join("\n").contains("distillation loses"));
}

#[test]
fn a_single_run_has_a_page_too() {
    let place = folder(&summary(Figures::Measured));
    let record = Record { stage: "prune".to_owned(), inputs: BTreeMap::new() };
    write_json(place.path().join("run.json"), &record).unwrap();
    fs::copy(place.path().join("prune/metrics.jsonl"), place.path().join("metrics.jsonl")).unwrap();
    let html = fs::read_to_string(of_run(place.path()).unwrap()).unwrap();
    assert!(html.contains("FastLightGen run: prune") && html.matches("<svg ").count() == 2);
    assert!(of_run(tempfile::tempdir().unwrap().path()).is_err());
}

#[test]
fn numbers_have_three_digits() {
    for (value, text) in [(0.0, "0"), (0.93457, "0.935"), (31.26, "31.3"), (1234.5, "1234"), (0.00012345, "0.000123")] {
        assert_eq!(verdict::significant(value), text);
    }
    assert_eq!(verdict::time(0.0029), "2.90 ms");
}
