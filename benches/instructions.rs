//! One call of a kernel for an instruction counter: `.ci/instructions` runs it under valgrind, once for every row of
//! `instructions.tsv`, and holds the counts to those that were accepted.
//!
//! The argument is a row's name, `kernel/variant/extents` as benches write it. Instructions are counted and not
//! nanoseconds because they repeat, on a busy machine too. They are not time: a kernel that waits for memory waits
//! unseen.

use std::hint::black_box;

use flg_kernels::catalog::Problem;
use flg_kernels::{DType, KERNELS, Runtime};

/// What is counted: callgrind collects between its entry and its return, and finds it by its name.
#[inline(never)]
fn counted_call(problem: &mut dyn Problem, rt: &Runtime) -> bool {
    let result = problem.run(rt);
    // Used here, so that the call above does not become a jump out of this function.
    black_box(&result).is_ok()
}

/// The problem that a name names.
fn problem(name: &str) -> Option<Box<dyn Problem>> {
    let mut parts = name.split('/');
    let (kernel, variant, extents) = (parts.next()?, parts.next()?, parts.next()?);
    let kernel = KERNELS.iter().find(|row| row.name() == kernel)?;
    let &variant = kernel.variants().iter().find(|&&v| v == variant)?;
    let shape: Vec<usize> = extents.split('x').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    (shape.len() == kernel.extents().len()).then(|| kernel.problem(variant, &shape, DType::F32, 0))
}

fn main() {
    // `cargo bench` runs every bench and passes only switches.
    let Some(name) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else {
        println!("instructions: counted by .ci/instructions");
        return;
    };
    // On this thread, where callgrind sees all of it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().expect("nothing has used the pool before");
    let rt = Runtime::cpu();
    let Some(mut problem) = problem(&name) else {
        eprintln!("{name} names no kernel, variant and extents of the catalog");
        std::process::exit(2);
    };
    // Once for what happens once: buffers of a thread, detection of the instruction set.
    let warm = problem.run(&rt).is_ok();
    problem.reset();
    let ran = counted_call(&mut *problem, &rt);
    assert!(warm && ran, "{name}: a problem of the catalog is well-formed");
    println!("{rt:?}");
}
