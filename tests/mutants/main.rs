//! Whether the emulated driver, and the tests of kernels on it, notice broken kernels: PTX of our own kernels with one
//! barrier, wait, bound or mask deleted or weakened must fail a test or be reported.
//!
//! Each mutant runs in a process of its own, since a fault leaves a CUDA context unusable. What survives must be listed
//! in `survivors.tsv` with the reason why it does no harm.

#[path = "../devices/mod.rs"]
mod devices;
mod operators;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use flg_kernels::catalog::{KERNELS, Kernel};
use flg_kernels::runtime::cuda::COMPILED;
use flg_kernels::{DType, Runtime};
use rayon::prelude::*;

use self::operators::{Mutant, mutants};

/// The mutant that a child process runs: the folder's name and the mutant's number.
const CHILD: &str = "FLG_TEST_MUTANT";
/// Mutants of one kernel folder, at most; spread over all that there are.
const OF_ONE_FOLDER: usize = 24;
/// Kernel name, mutant and reason.
const SURVIVORS: &str = include_str!("survivors.tsv");

#[test]
fn broken_kernels_are_noticed() {
    let chosen: Vec<(&str, usize, Mutant)> =
        COMPILED.iter().flat_map(|folder| choose(folder.name, folder.ptx)).collect();
    assert!(chosen.len() >= 200, "{} mutants", chosen.len());
    let survived: Vec<_> = chosen.par_iter().filter(|(folder, index, _)| survives(folder, *index)).collect();
    let known: BTreeMap<&str, &str> =
        SURVIVORS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once('\t')).collect();
    let mut unknown = Vec::new();
    for (folder, index, mutant) in &survived {
        let name = format!("{folder}\t{mutant}");
        let reason = known.get(name.as_str());
        println!("survived: {folder} {index}: {mutant}: {}", reason.unwrap_or(&"NOT LISTED"));
        if reason.is_none() {
            unknown.push(name);
        }
    }
    let caught = chosen.len() - survived.len();
    println!("{caught} of {} mutants were noticed", chosen.len());
    assert!(caught * 100 >= chosen.len() * 95, "{caught} of {} were noticed", chosen.len());
    assert!(unknown.is_empty(), "not in survivors.tsv:\n{}", unknown.join("\n"));
}

/// Some mutants of a folder's PTX, in equal steps over all of them.
fn choose(folder: &'static str, ptx: &'static str) -> Vec<(&'static str, usize, Mutant)> {
    let all = mutants(ptx);
    let count = all.len().min(OF_ONE_FOLDER);
    let indices = (0..count).map(|i| i * all.len() / count.max(1));
    indices.map(|index| (folder, index, all[index].clone())).collect()
}

fn survives(folder: &str, index: usize) -> bool {
    let child = Command::new(std::env::current_exe().expect("a test knows its own file"))
        .args(["--exact", "child", "--ignored"])
        .env(CHILD, format!("{folder}:{index}"))
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    child.expect("a test can start itself").success()
}

#[test]
#[ignore = "a part of `broken_kernels_are_noticed`, in a process of its own"]
fn child() {
    let Ok(which) = std::env::var(CHILD) else { return };
    let (name, index) = which.split_once(':').expect("a folder and a number");
    let folder = COMPILED.iter().find(|folder| folder.name == name).expect("a compiled folder");
    let Some(rt @ Runtime::Cuda(gpu)) = devices::gpu() else { unreachable!("built with the feature `cuda`") };
    // A number beyond the last mutant runs the kernel as it is.
    if let Some(mutant) = mutants(folder.ptx).get(index.parse::<usize>().expect("a number")) {
        gpu.substitute(folder.name, mutant.apply(folder.ptx));
    }
    // A folder may have several files (`gemm_tensor`), and several rows (`layer_norm_modulated`).
    let of_folder = |kernel: &&&dyn Kernel| name.starts_with(kernel.name()) || kernel.name().starts_with(name);
    for kernel in KERNELS.iter().filter(of_folder) {
        run(*kernel, &rt);
    }
}

/// Everything that `tests/kernels.rs` lists for a kernel, on one device.
fn run(kernel: &dyn Kernel, rt: &Runtime) {
    for &variant in kernel.variants() {
        for &dtype in kernel.dtypes() {
            for shape in kernel.shapes() {
                check(kernel, variant, shape, dtype, rt);
            }
        }
    }
}

fn check(kernel: &dyn Kernel, variant: &'static str, shape: &[usize], dtype: DType, rt: &Runtime) {
    let at = format!("{}/{variant} {shape:?} {dtype}", kernel.name());
    let mut problem = kernel.problem(variant, shape, dtype, 1);
    problem.move_to(rt).and_then(|()| problem.run(rt)).unwrap_or_else(|error| panic!("{at}: {error}"));
    for ((name, got), want) in problem.outputs().iter().zip(problem.expected()) {
        for (i, (&got, &value)) in got.iter().zip(&want.value).enumerate() {
            assert!((f64::from(got) - value).abs() <= want.bound(i, dtype), "{at}: {name}[{i}] = {got}, not {value}");
        }
    }
    devices::assert_no_reports(&at);
}

/// The children themselves work: a kernel as it is passes, and one that is no PTX any more does not.
#[test]
fn a_child_tells_sound_from_broken() {
    assert!(survives("silu", usize::MAX));
    let broken = mutants(COMPILED.iter().find(|folder| folder.name == "silu").expect("silu is compiled").ptx);
    assert!(!broken.is_empty());
}
