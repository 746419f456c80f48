//! `flg` as a user meets it: wrong flags, files that are missing, cut short or hostile, geometry that cannot be, disks
//! that are full. Each time one clear line, the right exit code, no panic, and nothing damaged.

mod network;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use flg_model::{FewStep, Rule};
use network::network;

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const NUMERICAL: i32 = 4;
const SYSTEM: i32 = 5;

/// Runs `flg` in `dir`.
fn flg(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flg"));
    command.current_dir(dir).args(args).output().expect("the binary was built with the tests")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a command that must fail with `code` and a message that contains all of `parts`.
fn refuse(dir: &Path, args: &[&str], code: i32, parts: &[&str]) {
    let output = flg(dir, args);
    judge(&output, &args.join(" "), code, parts);
}

fn judge(output: &Output, what: &str, code: i32, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {message}");
    assert!(!message.contains("panicked"), "{what}: {message}");
    assert!(message.starts_with("error: "), "{what}: {message}");
    for part in parts {
        assert!(message.contains(part), "{what}: `{part}` is not in: {message}");
    }
}

/// [`refuse`], for errors that are ours and not clap's: one line.
fn refuse_in_one_line(dir: &Path, args: &[&str], code: i32, parts: &[&str]) {
    refuse(dir, args, code, parts);
    let lines = String::from_utf8(flg(dir, args).stderr).unwrap().lines().count();
    assert_eq!(lines, 1, "{}", args.join(" "));
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn wrong_flags_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for (args, part) in [
        (&["nothing"][..], "nothing"),
        (&["data", "list", "--nope"], "--nope"),
        (&["data", "list", "--threads", "0"], "threads"),
        (&["data", "make"], "--output"),
        (&["data", "make", "--count", "0", "-o", "x.gif"], "--count"),
        (&["data", "make", "--fps", "x", "-o", "x.gif"], "frame rate"),
        (&["sample", "--model", "m", "-o", "x.gif"], "--prompt"),
        (&["sample", "--model", "m", "-p", "a 7", "--solver", "heun", "-o", "x.gif"], "euler or unipc"),
        (&["forward", "--model", "m", "--inputs", "i", "--output", "o", "--precision", "f8"], "f32 or bf16"),
        (&["data", "make", "-o", "x.xyz"], "writable extensions"),
        (&["data", "make", "-o", "x"], "writable extensions"),
        (&["data", "make", "--world", "nothing", "-o", "x.gif"], "digits, counter"),
        (&["data", "import", ".", "--out", "o", "--held-out", "2"], "between 0 and 1"),
        (&["bench", "--size", "XL"], "S, M or L"),
        (&["bench", "--mode", "sample"], "train or infer"),
        (&["bench", "--batch", "0"], "--batch"),
        (&["bench", "--only", "gemm"], "--kernels"),
        (&["bench", "--kernels", "--size", "S"], "--kernels"),
        (&["bench", "--mode", "train", "--weights", "bf16"], "in f32"),
        (&["bench", "--mode", "infer", "--checkpointing"], "only training"),
    ] {
        refuse(at, args, USAGE, &[part]);
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "nothing was written");
    let help = stdout(&flg(at, &["--help"]));
    assert!(help.contains("Exit codes") && help.contains("inspect"));
    assert!(stdout(&flg(at, &["--version"])).starts_with("flg "));
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("file"), "text").unwrap();
    let inputs = fixture("wan_t2v/inputs.safetensors");
    for (args, part) in [
        (&["inspect", "gone"][..], "gone"),
        (&["inspect", "empty"], "empty"),
        (&["inspect", "file"], "file"),
        (&["sample", "--model", "gone", "-p", "a 7", "-o", "x.gif"], "`gone` does not exist"),
        (&["sample", "--model", "file", "-p", "a 7", "-o", "x.gif"], "`file` is not a folder"),
        (&["sample", "--model", "empty", "-p", "a 7", "-o", "x.gif"], "empty"),
        (&["sample", "--model", "empty", "--prompt-file", "gone", "-o", "x.gif"], "gone"),
        (&["sample", "--model", "empty", "--prompt-file", "empty", "-o", "x.gif"], "empty"),
        (&["forward", "--model", "empty", "--inputs", "gone", "--output", "o"], "gone"),
        (&["forward", "--model", "empty", "--inputs", &inputs, "--output", "o"], "empty"),
        (&["data", "import", "gone", "--out", "o"], "gone"),
        (&["data", "import", "empty", "--out", "o"], "empty"),
    ] {
        refuse_in_one_line(at, args, INPUT, &[part]);
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), 2, "nothing was written");
}

#[test]
fn damaged_checkpoints_are_refused_by_file_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let teacher = network(None, at);
    let weights = teacher.join("transformer/diffusion_pytorch_model.safetensors");
    let config = teacher.join("transformer/config.json");
    let (good_weights, good_config) = (fs::read(&weights).unwrap(), fs::read_to_string(&config).unwrap());
    let sample = ["sample", "--model", "teacher", "-p", "a 7 moving left", "--steps", "1", "-o", "x.gif"];
    let damage = |path: &Path, contents: &[u8], part: &str| {
        fs::write(path, contents).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        refuse_in_one_line(at, &sample, INPUT, &[name, part]);
        fs::write(&weights, &good_weights).unwrap();
        fs::write(&config, &good_config).unwrap();
    };
    for cut in [0, 7, 8, 100, good_weights.len() / 2, good_weights.len() - 1] {
        damage(&weights, &good_weights[..cut], "");
    }
    damage(&weights, &[&good_weights[..], &[0]].concat(), "");
    damage(&weights, &[0xff; 64], "");
    damage(&config, b"", "");
    damage(&config, b"{", "");
    damage(&config, good_config.replace("\"ffn_dim\": 16", "\"ffn_dim\": 0").as_bytes(), "ffn_dim");
    damage(&config, good_config.replace("WanTransformer3DModel", "UNet").as_bytes(), "UNet");
    damage(&config, good_config.replace("\"num_layers\": 2", "\"num_layers\": 99999999999").as_bytes(), "num_layers");

    // Another number of blocks: every tensor at fault is named, and the folder.
    fs::write(&config, good_config.replace("\"num_layers\": 2", "\"num_layers\": 3")).unwrap();
    refuse_in_one_line(at, &sample, INPUT, &["teacher/transformer", "missing blocks.2."]);
    fs::write(&config, &good_config).unwrap();
    fs::remove_file(teacher.join("model_index.json")).unwrap();
    refuse_in_one_line(at, &sample, INPUT, &["teacher", "model_index.json"]);
    fs::write(teacher.join("flg_data.json"), "{\"world\": 3}").unwrap();
    refuse_in_one_line(at, &sample, INPUT, &["flg_data.json"]);
    assert!(!at.join("x.gif").exists());
}

#[test]
fn inspect_needs_headers_only() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    network(None, at);
    let report = stdout(&flg(at, &["inspect", "teacher", "--tensors", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["files"]["transformer/config.json"]["num_layers"], 2);
    assert_eq!(report["files"]["flg_data.json"]["geometry"]["frames"], 8);
    let weights = &report["weights"]["transformer"];
    assert_eq!(weights["tensors"].as_u64().unwrap(), weights["list"].as_array().unwrap().len() as u64);
    assert_eq!(weights["bytes"].as_u64().unwrap(), 4 * weights["elements"].as_u64().unwrap());

    // A header that promises a terabyte costs nothing to look at.
    let header = br#"{"x":{"dtype":"F32","shape":[262144,1048576],"data_offsets":[0,1099511627776]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    fs::write(at.join("huge.safetensors"), file).unwrap();
    refuse_in_one_line(at, &["inspect", "huge.safetensors"], INPUT, &["huge.safetensors"]);
}

#[test]
fn networks_are_made_converted_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&stdout(&flg(at, &[args, &["--json"]].concat()))).unwrap()
    };
    let made = json(&["init", "--arch", "tiny", "--seed", "3", "--dtype", "bf16", "fresh"]);
    let report = json(&["inspect", "fresh"]);
    let network = &report["networks"]["transformer"];
    assert_eq!((&network["architecture"], &network["variant"]), (&"tiny".into(), &"text to video".into()));
    let of = |part: &str, what: &str| report["weights"][part][what].as_u64().unwrap();
    assert_eq!(network["parameters"], of("transformer", "elements"));
    for (what, all) in [("elements", "parameters"), ("bytes", "bytes")] {
        assert_eq!(made[all], of("transformer", what) + of("vae", what), "{what}");
    }
    let bytes = of("transformer", "bytes");
    let types = report["weights"]["transformer"]["type_bytes"].as_object().unwrap();
    assert_eq!(types.keys().collect::<Vec<_>>(), ["BF16", "F32"]);
    assert_eq!(report["files"]["scheduler/scheduler_config.json"]["flow_shift"], 5.0);

    let args = ["convert", "fresh", "w.safetensors", "--layout", "comfyui"];
    assert_eq!(json(&args)["bytes"], bytes);
    let report = json(&["inspect", "w.safetensors"]);
    assert_eq!(
        (&report["networks"]["."]["layout"], &report["networks"]["."]["inferred"]),
        (&"comfyui".into(), &false.into())
    );
    let told = stdout(&flg(at, &["inspect", "w.safetensors"]));
    assert!(told.contains("tiny (text to video), 2 blocks, 2 x 16 wide"), "{told}");
    let args = ["convert", "w.safetensors", "back", "--layout", "diffusers", "--shard-size", "20kB"];
    assert!(stdout(&flg(at, &args)).contains("comfyui to diffusers"));
    assert!(json(&["inspect", "back"])["weights"]["transformer"]["files"].as_u64().unwrap() > 1);

    // A pruned network says so; one whose tensors do not fit is described all the same, with what is wrong.
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(at.join("back/transformer/config.json")).unwrap()).unwrap();
    fs::write(at.join("back/flg_provenance.json"), r#"{"parent_layers": 5, "kept_indices": [1, 4]}"#).unwrap();
    let told = stdout(&flg(at, &["inspect", "back"]));
    assert!(told.contains("blocks removed of 5: 0, 2, 3"), "{told}");
    config["num_layers"] = 3.into();
    fs::write(at.join("back/transformer/config.json"), config.to_string()).unwrap();
    let told = stdout(&flg(at, &["inspect", "back"]));
    assert!(told.contains("PROBLEM") && told.contains("missing blocks.2."), "{told}");

    refuse_in_one_line(at, &["init", "--arch", "tiny", "fresh"], USAGE, &["fresh", "not empty"]);
    refuse(at, &["init", "--arch", "wan3", "other"], USAGE, &["wan2.1-t2v-1.3b"]);
    refuse(at, &["convert", "fresh", "x", "--layout", "gguf"], USAGE, &["comfyui"]);
    refuse(at, &["convert", "fresh", "x", "--layout", "original", "--dtype", "f8"], USAGE, &["bf16"]);
    refuse(at, &["convert", "fresh", "x", "--layout", "diffusers", "--shard-size", "0"], USAGE, &["shard-size"]);
    refuse_in_one_line(at, &["convert", "gone", "x", "--layout", "original"], INPUT, &["gone"]);
    refuse_in_one_line(at, &["convert", "fresh", "fresh/x", "--layout", "diffusers"], USAGE, &["must not lie in"]);
    refuse_in_one_line(at, &["convert", "fresh", "gone/x", "--layout", "original"], SYSTEM, &["gone/x"]);
    assert!(!at.join("x").exists() && !at.join("other").exists());
}

#[test]
fn impossible_requests_are_refused_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    network(None, at);
    let student = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    network(Some(&student), at);
    fs::write(at.join("image.png"), "no picture").unwrap();
    let sample = |model: &'static str, more: &[&'static str]| {
        let args = ["sample", "--model", model, "-p", "a 7 moving left", "--steps", "4", "-o", "x.gif"];
        [&args[..], more].concat()
    };
    for (args, code, parts) in [
        (sample("teacher", &["--height", "15"]), USAGE, ["--height 15", "nearest is 16"]),
        (sample("teacher", &["--width", "0"]), USAGE, ["--width 0", "nearest is 4"]),
        (sample("teacher", &["--frames", "999999"]), USAGE, ["--frames 999999", "at most"]),
        (sample("teacher", &["--frames", "2000"]), INPUT, ["latents", "rope_max_seq_len"]),
        (sample("teacher", &["--skip", "2"]), USAGE, ["block 2", "2 blocks"]),
        (sample("teacher", &["--shift=-1"]), USAGE, ["shift", "-1"]),
        (sample("teacher", &["-p", "an 11 moving left"]), USAGE, ["unknown word `an`", "left"]),
        (sample("teacher", &["-p", "a 7 moving left and right"]), USAGE, ["words", "at most 4"]),
        (sample("teacher", &["--image", "image.png"]), INPUT, ["image.png", ""]),
        (sample("student", &["--shift", "3"]), USAGE, ["distilled for", "shift 5"]),
        (sample("student", &["--guidance", "3"]), USAGE, ["--guidance", "distilled"]),
    ] {
        refuse_in_one_line(at, &args, code, &parts);
    }
    refuse_in_one_line(at, &sample("teacher", &["--guidance", "1e39", "--quiet"]), NUMERICAL, &["not finite"]);
    assert!(!at.join("x.gif").exists());
}

#[test]
fn samples_depend_on_the_seed_and_on_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let schedule = FewStep::new(2, 5.0, Rule::Renoise).unwrap();
    network(Some(&schedule), at);
    stdout(&flg(at, &["data", "make", "--count", "1", "--scale", "1", "-o", "first.png"]));
    let sample = |output: &str, more: &[&str]| {
        let args = ["sample", "--model", "student", "-p", "a 7 moving left", "--count", "3", "-o", output];
        stdout(&flg(at, &[&args[..], more].concat()))
    };
    sample("a.npy", &["--threads", "1", "--batch", "2"]);
    sample("b.npy", &["--threads", "2", "--batch", "3", "--save-latents", "l.safetensors"]);
    let report: serde_json::Value = serde_json::from_str(&sample("c.npy", &["--seed", "1", "--json"])).unwrap();
    assert_eq!((&report["network_calls"], &report["clips"]), (&2.into(), &3.into()));
    let [a, b, c] = ["a.npy", "b.npy", "c.npy"].map(|name| fs::read(at.join(name)).unwrap());
    assert!(a == b && a != c);
    let given = sample("d.gif", &["--image", "first.png"]);
    assert!(given.contains("d.gif") && fs::read(at.join("d.gif")).unwrap().starts_with(b"GIF89a"));
}

#[test]
fn forward_runs_on_given_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let (model, inputs) = (fixture("wan_ti2v"), fixture("wan_ti2v/inputs.safetensors"));
    let args = ["forward", "--model", &model, "--inputs", &inputs, "--output", "out.safetensors"];
    stdout(&flg(at, &args));
    let read = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let sample = file.tensor("sample").unwrap();
        let floats = sample.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect::<Vec<_>>();
        (sample.shape().to_vec(), floats)
    };
    let got = read(&at.join("out.safetensors"));
    let expected = read(Path::new(&fixture("wan_ti2v/outputs.safetensors")));
    assert_eq!(got.0, expected.0);
    // The limit that this fixture's own parity test derives.
    assert!(got.1.iter().zip(&expected.1).all(|(a, b)| (a - b).abs() <= 5e-5 * (1.0 + b.abs())));

    let outputs = fixture("wan_ti2v/outputs.safetensors");
    let args = ["forward", "--model", &model, "--inputs", &outputs, "--output", "no.safetensors"];
    refuse_in_one_line(at, &args, INPUT, &["outputs.safetensors", "hidden_states"]);
    let other = fixture("wan_t2v/inputs.safetensors");
    let args = ["forward", "--model", &model, "--inputs", &other, "--output", "no.safetensors"];
    refuse_in_one_line(at, &args, INPUT, &["channels"]);
    assert!(!at.join("no.safetensors").exists());
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    refuse_in_one_line(at, &["data", "make", "-o", "gone/x.gif"], SYSTEM, &["gone/x.gif"]);
    fs::write(at.join("x.npy"), "precious").unwrap();
    // `ulimit -f` makes every write beyond 1 KiB fail, as a full disk does.
    #[cfg(unix)]
    {
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" data make --scale 8 -o x.npy";
        let output =
            Command::new("sh").current_dir(at).args(["-c", script, env!("CARGO_BIN_EXE_flg")]).output().unwrap();
        judge(&output, script, SYSTEM, &["x.npy"]);
        assert_eq!(fs::read(at.join("x.npy")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(at).unwrap().count(), 1, "no temporary file stays");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let script = "\"$0\" data inspect digits --json | head -c 1 >/dev/null";
    let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_flg")]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn bench_reports_what_peers_report() {
    let dir = tempfile::tempdir().unwrap();
    let row = |args: &[&str]| -> serde_json::Value {
        let args = [&["bench", "--threads", "1", "--json"], args].concat();
        serde_json::from_str(&stdout(&flg(dir.path(), &args))).unwrap()
    };
    let steps = ["--size", "S", "--batch", "1", "--steps", "1", "--mode"];
    for (mode, phases) in [("train", &["forward_ms", "backward_ms", "optimizer_ms"][..]), ("infer", &[])] {
        let row = row(&[&steps[..], &[mode]].concat());
        assert_eq!((&row["size"], &row["mode"]), (&"S".into(), &mode.into()));
        assert_eq!([&row["batch"], &row["threads"], &row["tokens"]].map(|n| n.as_u64()), [1, 1, 512].map(Some));
        assert_eq!(row["parameters"], 13_351_232);
        let time = |name: &str| row[name].as_f64().unwrap();
        assert!(["gflops", "share_of_peak", "step_ms"].iter().chain(phases).all(|name| time(name) > 0.0), "{row}");
        assert!(phases.iter().map(|name| time(name)).sum::<f64>() <= time("step_ms") + 1e-3, "{row}");
        // The weights alone are 51 MiB.
        assert!(time("peak_rss_mb") > 51.0);
    }
    let row = row(&["--kernels", "--only", "gemm/nn/256x256x256"]);
    assert_eq!(row["kernel"], "gemm/nn/256x256x256");
    assert!(row["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
}
