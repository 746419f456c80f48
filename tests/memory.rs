//! What commands say of the memory that they will hold: it is so, and too much of it is refused before anything is made.

mod network;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use network::network;

fn flg(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flg")).current_dir(dir).args(args).output().expect("built with the tests")
}

#[test]
fn what_cannot_fit_is_refused_with_the_number_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    network(None, at);
    for (command, advice) in [
        (&["train"][..], "micro-batches"),
        (&["train", "--dry-run"], "micro-batches"),
        (&["prune", "--model", "teacher", "--remove", "1"], "micro-batches"),
        (&["distill", "--model", "teacher", "--remove", "1"], "micro-batches"),
        (&["audit", "--model", "teacher", "--set", "audit.protect=[0,1]"], "micro-batches"),
        (&["sample", "--model", "teacher", "-p", "a 7 moving left", "-o", "x.gif"], "--batch"),
        (&["bench", "--size", "S"], "--checkpointing"),
        (&["bench", "--size", "M", "--mode", "infer", "--json"], "--batch"),
    ] {
        let output = flg(at, &[command, &["--max-memory", "2MiB"]].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {message}");
        assert_eq!((message.lines().count(), output.stdout.len()), (1, 0), "{command:?}: {message}");
        for part in ["error: this is expected to hold ", "--max-memory is 2.0 MiB", advice] {
            assert!(message.contains(part), "{command:?}: `{part}` is not in: {message}");
        }
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), 1, "nothing was written");
    let wrong = flg(at, &["train", "--max-memory", "much"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_network_larger_than_any_machine_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let set = |value: &'static str| ["--set", value];
    let large = ["model.num_attention_heads=64", "model.attention_head_dim=128", "model.num_layers=64"].map(set);
    let args = [&["train", "--max-memory", "64GiB", "--set", "model.ffn_dim=32768"], &large.concat()[..]].concat();
    let output = flg(dir.path(), &args);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("expected to hold") && message.contains("TiB"), "{message}");
    assert_eq!((output.status.code(), fs::read_dir(dir.path()).unwrap().count()), (Some(2), 0));
}

#[test]
fn the_plan_is_told_before_the_first_step_and_not_to_the_quiet() {
    let dir = tempfile::tempdir().unwrap();
    network(None, dir.path());
    let train = ["train", "--steps", "1", "--max-memory", "8GiB", "--set", "model.num_layers=1"];
    let told = String::from_utf8(flg(dir.path(), &[&train[..], &["--out", "a"]].concat()).stderr).unwrap();
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("`{part}` is not in: {told}"));
    for part in ["weights", "averages", "moments", "gradients", "activations", "workspace", "in all"] {
        assert!(at(part) < at("train 1/1"), "{told}");
    }
    let quiet = flg(dir.path(), &[&train[..], &["--out", "b", "--json"]].concat());
    assert!(quiet.status.success() && quiet.stderr.is_empty());
    serde_json::from_slice::<serde_json::Value>(&quiet.stdout).expect("one object");
}

/// The process against what was expected of it. The program, its threads and the allocator are the 12 MiB.
#[test]
fn a_process_holds_what_was_expected() {
    for more in [&["--mode", "train"][..], &["--mode", "train", "--checkpointing"], &["--mode", "infer"]] {
        let fixed = ["bench", "--size", "S", "--batch", "1", "--steps", "1", "--threads", "1", "--json"];
        let output = flg(Path::new("."), &[&fixed[..], more].concat());
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let [expected, real] = ["expected_peak_mb", "peak_rss_mb"].map(|key| row[key].as_f64().unwrap());
        assert!((expected * 0.97 - 12.0..expected * 1.03 + 12.0).contains(&real), "{more:?}: {real}, not {expected}");
    }
}
