//! With the feature `cuda`: compiles each `src/*/*.cu` to PTX with nvcc, checks it with ptxas, and leaves
//! `OUT_DIR/<kernel>.ptx` for the kernel's `cuda.rs` to embed, and a table of them all in `OUT_DIR/compiled.rs`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// What the PTX is written for: every GPU from compute capability 8.0 on runs it.
const ARCH: &str = "compute_80";
/// The PTX version that is asked for in the end. nvcc writes its own, which older drivers refuse; this is the first one
/// with every instruction that the kernels use.
const PTX_VERSION: &str = "7.1";
/// GPUs that ptxas must be able to translate it for.
const CHECKED: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let nvcc = find_nvcc();
    let (mut kernels, mut headers) = (Vec::new(), Vec::new());
    for folder in fs::read_dir(&source).expect("src is readable").flatten().map(|entry| entry.path()) {
        for file in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("cu") => kernels.push(file),
                Some("cuh") => headers.push(file),
                _ => {}
            }
        }
    }
    // Of the folder as a whole, so that a new file is seen; what did not change is not compiled again.
    println!("cargo:rerun-if-changed=src");
    kernels.sort();
    headers.sort();
    // One thread a file: nvcc takes a second or two for each, and there are few.
    let compiler = Compiler { nvcc: &nvcc, source: &source, out: &out, shared: stamp(&headers) };
    let failures: Vec<String> = thread::scope(|scope| {
        let compiler = &compiler;
        let jobs: Vec<_> = kernels.iter().map(|file| scope.spawn(move || compiler.compile(file))).collect();
        jobs.into_iter().filter_map(|job| job.join().expect("no compile panics").err()).collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let table = kernels.iter().map(|file| row(name(file))).collect::<String>();
    let table = format!("&[\n{table}]\n");
    fs::write(out.join("compiled.rs"), table).expect("OUT_DIR can be written");
}

struct Compiler<'a> {
    nvcc: &'a Path,
    source: &'a Path,
    out: &'a Path,
    /// Of everything that any kernel may include, and of how it is compiled.
    shared: u64,
}

impl Compiler<'_> {
    fn compile(&self, file: &Path) -> Result<(), String> {
        let name = name(file);
        let (ptx, stamped) = (self.out.join(format!("{name}.ptx")), self.out.join(format!("{name}.stamp")));
        let current = format!("{:x} {:x} {:?}", self.shared, stamp(&[file.to_owned()]), self.nvcc);
        if fs::read_to_string(&stamped).is_ok_and(|last| last == current) {
            return Ok(());
        }
        let mut command = Command::new(self.nvcc);
        command.args(["-O3", "-std=c++17", "-ptx", "-lineinfo", "--Werror", "all-warnings"]);
        command.arg(format!("-arch={ARCH}")).arg("-I").arg(self.source).arg(file).arg("-o").arg(&ptx);
        run(command)?;
        let text = fs::read_to_string(&ptx).map_err(|error| format!("{}: {error}", ptx.display()))?;
        fs::write(&ptx, lower_version(&text)).map_err(|error| format!("{}: {error}", ptx.display()))?;
        CHECKED.into_iter().try_for_each(|arch| self.check(name, &ptx, arch))?;
        fs::write(&stamped, current).map_err(|error| error.to_string())
    }

    /// Registers, spills and shared memory of each kernel go to a file, for the bound on its time.
    fn check(&self, name: &str, ptx: &Path, arch: &str) -> Result<(), String> {
        // A toolkit without ptxas beside nvcc has it in the path.
        let beside = self.nvcc.with_file_name("ptxas");
        let mut command = Command::new(if beside.exists() { beside } else { PathBuf::from("ptxas") });
        command.arg(format!("-arch={arch}")).arg(ptx).args(["-v", "-o"]);
        command.arg(self.out.join(format!("{name}.{arch}.cubin")));
        let report = run(command)?;
        fs::write(self.out.join(format!("{name}.{arch}.txt")), report).map_err(|error| error.to_string())
    }
}

/// A kernel's name: that of its file.
fn name(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// A row of the table of compiled kernels.
fn row(name: &str) -> String {
    let file = |end: &str| format!("include_str!(concat!(env!(\"OUT_DIR\"), \"/{name}.{end}\"))");
    let reports = CHECKED.map(|arch| format!("(\"{arch}\", {})", file(&format!("{arch}.txt")))).join(", ");
    format!("    Compiled {{ name: \"{name}\", ptx: {}, reports: &[{reports}] }},\n", file("ptx"))
}

/// A number that differs where any of the files, or this one, does.
fn stamp(files: &[PathBuf]) -> u64 {
    let mut hash = DefaultHasher::new();
    include_str!("build.rs").hash(&mut hash);
    for file in files {
        (file, fs::read(file).ok()).hash(&mut hash);
    }
    hash.finish()
}

/// Runs a tool and returns what it wrote.
fn run(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let wrote = [output.stdout, output.stderr].concat();
    let wrote = String::from_utf8_lossy(&wrote).into_owned();
    if output.status.success() { Ok(wrote) } else { Err(format!("{command:?} failed\n{wrote}")) }
}

fn lower_version(text: &str) -> String {
    let lines = text.lines().map(|line| match line.starts_with(".version") {
        true => format!(".version {PTX_VERSION}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// nvcc, as `NVCC` says, in the toolkit that `CUDA_HOME` or `CUDA_PATH` names, in the path, or from the wheels in a
/// Python environment.
fn find_nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = toolkits.map(|root| PathBuf::from(root).join("bin")).collect();
    places.extend(env::split_paths(&path));
    places.push("/usr/local/cuda/bin".into());
    if let Some(environment) = env::var_os("VIRTUAL_ENV") {
        let pythons = fs::read_dir(PathBuf::from(environment).join("lib")).into_iter().flatten().flatten();
        places.extend(pythons.map(|python| python.path().join("site-packages/nvidia/cu13/bin")));
    }
    places.into_iter().map(|place| place.join("nvcc")).find(|nvcc| nvcc.is_file()).unwrap_or_else(|| {
        panic!(
            "\nThe feature `cuda` needs nvcc. None was found by NVCC, CUDA_HOME, CUDA_PATH, PATH or VIRTUAL_ENV.\n\
             `.ci/nvcc DIR` brings it from PyPI into DIR; then set CUDA_HOME to what it prints.\n"
        )
    })
}
