//! Whether the emulated driver, and the tests of kernels on it, notice broken kernels: PTX of our own kernels with one
//! barrier, wait, mask, length of a copy or bound deleted or weakened should fail a test or be reported.
//!
//!     .ci/emulated cargo test --features cuda --test mutants -- --nocapture
//!
//! Each mutant runs in a process of its own, since a fault leaves a CUDA context unusable: the exercises (`exercises.rs`)
//! that launch its kernel, up to the first that fails. What survives must be listed in `survivors.tsv` with the reason why
//! it does no harm.
//!
//! Of orders 451 of 451 are noticed; all tests here take 130 s of processor time. The way there, from 128 of 218: shapes
//! that lead into every path, one more than each tile has, and NaN beside what is read; a report on lanes that are not in
//! their own mask; and barriers and waits that turned out to order nothing, which the kernels no longer have.

#[path = "../devices/mod.rs"]
mod devices;
mod exercises;
mod operators;
#[path = "../wide/mod.rs"]
mod wide;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use flg_kernels::Runtime;
use flg_kernels::runtime::cuda::COMPILED;
use rayon::prelude::*;

use self::operators::{Group, Mutant, mutants};

/// What a child process does: `survey`, or the folder's name, the mutant's number and those of exercises.
const CHILD: &str = "FLG_TEST_MUTANT";
/// What a line of a survey begins with: number of an exercise and name of a kernel follow.
const LAUNCHES: &str = "launches:";
/// Mutants of one kernel folder, at most; spread over all that there are.
const OF_ONE_FOLDER: usize = 60;
/// Kernel folder, mutant and reason.
const SURVIVORS: &str = include_str!("survivors.tsv");

#[test]
fn kernels_with_a_broken_order_are_noticed() {
    let (chosen, survived) = try_all(Group::Order);
    assert!(chosen >= 200, "{chosen} mutants");
    let caught = chosen - survived.len();
    assert!(caught * 100 >= chosen * 95, "{caught} of {chosen} were noticed");
    assert_known(&survived);
}

#[test]
#[ignore = "a measurement: many loops end before their bounds matter"]
fn kernels_with_broken_bounds() {
    try_all(Group::Bounds);
}

/// Fails where something survived that is not listed with a reason.
fn assert_known(survived: &[String]) {
    let known: BTreeMap<&str, &str> =
        SURVIVORS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once('\t')).collect();
    let unknown: Vec<_> = survived.iter().filter(|name| !known.contains_key(name.as_str())).collect();
    assert!(unknown.is_empty(), "not in survivors.tsv: {unknown:#?}");
}

/// No kernel is out of reach of the mutants.
#[test]
fn every_kernel_is_launched() {
    let launched: BTreeSet<&str> = survey().keys().map(String::as_str).collect();
    let entries = COMPILED.iter().flat_map(|folder| operators::entries(folder.ptx));
    let never: Vec<String> = entries.filter(|entry| !launched.contains(entry.as_str())).collect();
    assert!(never.is_empty(), "never launched: {never:?}");
}

/// Tries mutants of every folder; how many there were, and the names of those that nothing noticed.
fn try_all(group: Group) -> (usize, Vec<String>) {
    let chosen: Vec<(&str, Mutant)> = COMPILED
        .iter()
        .flat_map(|folder| choose(folder.ptx, group).into_iter().map(|mutant| (folder.name, mutant)))
        .collect();
    let survived: Vec<String> = chosen
        .par_iter()
        .filter(|(folder, mutant)| {
            let exercises = survey().get(&mutant.entry).map_or(&[][..], Vec::as_slice);
            survives(folder, mutant.index, exercises)
        })
        .map(|(folder, mutant)| format!("{folder}\t{mutant}"))
        .collect();
    survived.iter().for_each(|name| println!("survived: {name}"));
    println!("{group:?}: {} of {} mutants were noticed", chosen.len() - survived.len(), chosen.len());
    (chosen.len(), survived)
}

/// Some mutants of a PTX text, in equal steps over all of them.
fn choose(ptx: &str, group: Group) -> Vec<Mutant> {
    let all: Vec<Mutant> = mutants(ptx).into_iter().filter(|mutant| mutant.group == group).collect();
    let count = all.len().min(OF_ONE_FOLDER);
    (0..count).map(|i| all[i * all.len() / count.max(1)].clone()).collect()
}

/// For each kernel the numbers of the exercises that launch it, by a child, which alone has the device that exercises
/// are made for.
fn survey() -> &'static BTreeMap<String, Vec<usize>> {
    static SURVEY: OnceLock<BTreeMap<String, Vec<usize>>> = OnceLock::new();
    SURVEY.get_or_init(|| {
        let output = child("survey").arg("--nocapture").stderr(Stdio::inherit()).output();
        let output = output.expect("a test can start itself");
        assert!(output.status.success(), "exercises can not be run");
        let mut launches: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((_, launch)) = line.split_once(LAUNCHES) else { continue };
            let (exercise, kernel) = launch.trim().split_once(' ').expect("a number and a name");
            launches.entry(kernel.to_owned()).or_default().push(exercise.parse().expect("a number"));
        }
        launches
    })
}

/// Says which kernels each exercise launches.
fn print_launches(rt: &Runtime) {
    devices::emulator::take_counters();
    for (number, exercise) in exercises::all().iter().enumerate() {
        exercise.launch(rt);
        for kernel in
            devices::emulator::take_counters().iter().filter_map(|line| kernel_of(line)).collect::<BTreeSet<_>>()
        {
            println!("{LAUNCHES} {number} {kernel}");
        }
    }
}

fn kernel_of(counters: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(counters).ok()?;
    Some(value.get("kernel")?.as_str()?.to_owned())
}

fn survives(folder: &str, index: usize, exercises: &[usize]) -> bool {
    let exercises: Vec<String> = exercises.iter().map(usize::to_string).collect();
    let status = child(&format!("{folder}:{index}:{}", exercises.join(",")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("a test can start itself").success()
}

/// A process that does `what` and nothing else.
fn child(what: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("a test knows its own file"));
    child
        .args(["--exact", "in_a_child", "--ignored"])
        .env(CHILD, what)
        .env("FLG_EMULATOR_MULTIPROCESSORS", "1")
        .env("RAYON_NUM_THREADS", "1");
    child
}

#[test]
#[ignore = "a part of the other tests, in a process of its own"]
fn in_a_child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let Some(rt @ Runtime::Cuda(gpu)) = devices::gpu() else { unreachable!("built with the feature `cuda`") };
    if what == "survey" {
        print_launches(&rt);
        return;
    }
    let [name, index, exercises] = what.split(':').collect::<Vec<_>>()[..] else { panic!("{what}") };
    let folder = COMPILED.iter().find(|folder| folder.name == name).expect("a compiled folder");
    // A number beyond the last mutant runs the kernel as it is.
    if let Some(mutant) = mutants(folder.ptx).get(index.parse::<usize>().expect("a number")) {
        gpu.substitute(folder.name, mutant.apply(folder.ptx));
    }
    let all = exercises::all();
    let exercises = exercises.split(',').filter(|number| !number.is_empty());
    for number in exercises {
        let exercise = &all[number.parse::<usize>().expect("a number")];
        println!("{}", exercise.name());
        exercise.check(&rt);
    }
}

/// Children themselves work: all kernels as they are pass, and one that is no PTX any more does not.
#[test]
fn a_child_tells_sound_from_broken() {
    let all: Vec<usize> = (0..exercises::all().len()).collect();
    assert!(all.par_chunks(all.len() / 8 + 1).all(|part| survives("silu", usize::MAX, part)));
    let exercises = &survey()["silu_forward"];
    let text = COMPILED.iter().find(|folder| folder.name == "silu").expect("silu is compiled").ptx;
    assert!(mutants(text).iter().any(|mutant| !survives("silu", mutant.index, exercises)));
}
