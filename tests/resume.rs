//! Runs that are stopped: by `kill -9`, Ctrl-C, a full disk, numbers that are none. Resumed, they end with the bytes of
//! the run that nobody stopped.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flg_engine::Key;

/// A network that trains in a second, checkpointed after every second step.
const TINY: &[&str] = &[
    "--quiet",
    "--threads=1",
    "--preset=quick",
    "--set=data.world=counter",
    "--set=model.num_layers=3",
    "--set=model.num_attention_heads=1",
    "--set=model.ffn_dim=16",
    "--set=model.freq_dim=16",
    "--set=train.batch=4",
    "--set=train.steps=12",
    "--set=train.validation_clips=2",
    "--set=prune.batch=4",
    "--set=prune.micro_batches=2",
    "--set=prune.validation_clips=2",
    "--set=distill.batch=2",
    "--set=distill.guard_clips=2",
    "--save-every=2",
];

fn command(at: &Path, stage: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flg"));
    command.current_dir(at).arg(stage).args(TINY).args(more).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(at: &Path, stage: &str, more: &[&str]) -> Output {
    command(at, stage, more).output().unwrap()
}

fn succeed(at: &Path, stage: &str, more: &[&str]) {
    let output = run(at, stage, more);
    assert!(output.status.success(), "{stage} {more:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn fail(output: &Output, code: i32, part: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(part) && !message.contains("panicked"), "{message}");
}

/// Every file of a run but the log, which has the time of day, by path.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(run).unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true => folders.push(path),
                false if name == "log.jsonl" => {}
                false => drop(found.insert(name, fs::read(path).unwrap())),
            }
        }
    }
    found
}

fn assert_same(got: &Path, expected: &Path) {
    let (got, expected) = (files(got), files(expected));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&got), names(&expected));
    for (name, bytes) in &expected {
        assert!(got[name] == *bytes, "{name} differs");
    }
}

/// Waits for the child at most `limit`, then kills it. Whether it was killed.
fn kill_after(mut child: Child, limit: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// Runs a stage once whole, and again in processes that are killed `kills` times, and compares.
fn kill_and_compare(at: &Path, stage: &str, inputs: &[&str], kills: u64) {
    let (whole, out) = (format!("{stage}-whole"), format!("{stage}-killed"));
    let began = Instant::now();
    succeed(at, stage, &[inputs, &["--out", &whole]].concat());
    let seconds = began.elapsed().as_secs_f64();
    let more = [inputs, &["--out", &out, "--resume", "latest"]].concat();
    let (mut killed, mut attempts) = (0, 0);
    while killed < kills {
        assert!(attempts < 20 * kills, "{killed} kills in {attempts} attempts");
        let limit = Key::new(7).name(stage).at(attempts).uniform() * seconds;
        attempts += 1;
        let child = command(at, stage, &more).stderr(Stdio::null()).spawn().unwrap();
        if kill_after(child, Duration::from_secs_f64(limit)) {
            killed += 1;
        } else {
            // It got to its end in spite of the earlier kills: the next attempt begins anew.
            assert_same(&at.join(&out), &at.join(&whole));
            fs::remove_dir_all(at.join(&out)).unwrap();
        }
    }
    succeed(at, stage, &more);
    assert_same(&at.join(out), &at.join(whole));
}

fn all_stages(kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    kill_and_compare(at, "train", &[], kills);
    kill_and_compare(at, "prune", &["--model", "train-whole"], kills);
    kill_and_compare(at, "distill", &["--model", "prune-whole"], kills);
}

#[test]
fn killed_runs_end_with_the_same_bytes() {
    all_stages(4);
}

#[test]
#[ignore = "minutes: the same with twenty kills a stage"]
fn often_killed_runs_end_with_the_same_bytes() {
    all_stages(20);
}

#[test]
fn an_interrupt_saves_and_says_130() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let never = ["--set=run.save_every=0", "--set=run.keep=1"];
    succeed(at, "train", &[&["--out", "whole"][..], &never].concat());
    // Long enough to be interrupted; the steps that matter are the same, because the schedule is constant here.
    let out = ["--out", "stopped", "--steps=100000", "--set=train.optimizer.decay=constant"];
    let child = command(at, "train", &[&out[..], &never].concat()).spawn().unwrap();
    let metrics = at.join("stopped/metrics.jsonl");
    let began = Instant::now();
    while fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the run never began");
        sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    fail(&output, 130, "--resume latest");
    let steps = fs::read_to_string(&metrics).unwrap().lines().count();
    assert!(at.join(format!("stopped/checkpoints/step-{steps:08}/MANIFEST.json")).is_file());

    // It goes on from there, with what it was started with.
    let goal = format!("--steps={}", steps + 2);
    succeed(at, "train", &["--out", "stopped", "--resume", "latest", &goal]);
    assert_eq!(fs::read_to_string(&metrics).unwrap().lines().count(), steps + 2);
}

#[test]
fn exploding_numbers_stop_with_the_last_good_state_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let wild = ["--out", "wild", "--set=train.optimizer.kind=adamw", "--set=train.optimizer.lr=1e30"];
    fail(&run(at, "train", &wild), 4, "stopped at step");
    let checkpoints = fs::read_dir(at.join("wild/checkpoints")).unwrap().count();
    assert!(checkpoints == 0 || at.join("wild/checkpoints/latest").is_file());
    assert!(!at.join("wild/model").exists());
    let log = fs::read_to_string(at.join("wild/log.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"stopped\""), "{log}");
}

#[test]
fn a_full_disk_stops_with_the_last_good_state_kept() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    succeed(at, "train", &["--out", "whole"]);
    succeed(at, "train", &["--out", "full", "--steps=4", "--set=train.steps=12"]);
    let latest = fs::read(at.join("full/checkpoints/latest")).unwrap();
    // Writes beyond 8 KiB fail from here on: metrics still fit, weights do not.
    let more = ["--out", "full", "--resume", "latest", "--steps=12"];
    let script = format!("trap '' XFSZ; ulimit -f 16; exec \"$0\" train {} {}", TINY.join(" "), more.join(" "));
    let output = Command::new("sh").current_dir(at).args(["-c", &script, env!("CARGO_BIN_EXE_flg")]).output().unwrap();
    fail(&output, 5, "cannot write");
    assert_eq!(fs::read(at.join("full/checkpoints/latest")).unwrap(), latest);
}

#[test]
fn a_run_folder_is_for_one_run_of_one_stage() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("file"), "").unwrap();
    fail(&run(at, "train", &["--out", "file"]), 5, "file");
    fail(&run(at, "train", &["--set=train.stpes=3"]), 2, "did you mean `train.steps`?");
    fail(&run(at, "train", &["--set=model.patch_size=[1,3,4]"]), 2, "multiples of the patch");
    fail(&run(at, "train", &["--set=model.patch_size=[2,4,4]"]), 2, "train.first_frame");
    fail(&run(at, "train", &["--set=data.words=2"]), 2, "words");
    fail(&run(at, "train", &["--set=data.world=nothing"]), 2, "digits, counter");
    fail(&run(at, "train", &["--config=gone.toml"]), 3, "gone.toml");
    fail(&run(at, "prune", &[]), 2, "--model");
    succeed(at, "train", &["--dry-run"]);
    assert_eq!(fs::read_dir(at).unwrap().filter(|e| e.as_ref().unwrap().file_name() != "runs").count(), 1);

    succeed(at, "train", &["--out", "a", "--steps=1"]);
    let before = files(&at.join("a"));
    fail(&run(at, "train", &["--out", "a"]), 2, "--resume latest");
    fail(&run(at, "prune", &["--model", "a", "--out", "a", "--resume", "latest"]), 2, "a run of `train`");
    fail(&run(at, "train", &["--out", "a", "--resume", "gone"]), 3, "gone");
    assert!(files(&at.join("a")) == before);

    succeed(at, "prune", &["--model", "a", "--out", "p", "--remove=1"]);
    fail(&run(at, "prune", &["--model", "a", "--out", "q", "--remove=3"]), 2, "block 3");
    succeed(at, "train", &["--out", "b", "--steps=1", "--seed=5"]);
    fail(&run(at, "prune", &["--model", "b", "--out", "p", "--resume", "latest"]), 3, "not the one");
    fail(&run(at, "distill", &["--model", "p", "--out", "d", "--world", "digits"]), 3, "not the one");
}
