//! Criterion over the catalog: `cargo bench --bench kernels -- layer_norm`. Names are those of the PyTorch peer script.

mod table;

use criterion::{Criterion, criterion_group, criterion_main};
use flg_kernels::{DType, KERNELS, Runtime};
use table::{SAMPLES, Table};

fn kernels(c: &mut Criterion) {
    let rt = Runtime::cpu();
    let mut table = Table::new(&rt, rayon::current_num_threads());
    for kernel in KERNELS {
        let mut group = c.benchmark_group(kernel.name());
        for &variant in kernel.variants() {
            for shape in kernel.bench_shapes() {
                let extents = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
                let mut problem = kernel.problem(variant, shape, DType::F32, 0);
                let call = || problem.run(&rt).expect("a problem of the catalog is well-formed");
                table.time(&mut group, &format!("{variant}/{extents}"), kernel.work(variant, shape), call);
            }
        }
        group.finish();
        table.print(kernel.name());
    }
}

criterion_group!(name = benches; config = Criterion::default().sample_size(SAMPLES); targets = kernels);
criterion_main!(benches);
