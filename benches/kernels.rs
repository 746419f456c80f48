//! Criterion over the catalog: `cargo bench --bench kernels -- layer_norm`. Names are those of the PyTorch peer script.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flg_kernels::{DType, KERNELS, Runtime};

fn kernels(c: &mut Criterion) {
    let rt = Runtime::cpu();
    for kernel in KERNELS {
        let mut group = c.benchmark_group(kernel.name());
        for &variant in kernel.variants() {
            for shape in kernel.bench_shapes() {
                let extents = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
                let work = kernel.work(variant, shape);
                // Arithmetic-bound kernels report operations a second, the others bytes a second.
                group.throughput(if work.flops > 8 * work.bytes {
                    Throughput::Elements(work.flops)
                } else {
                    Throughput::Bytes(work.bytes)
                });
                let mut problem = kernel.problem(variant, shape, DType::F32, 0);
                group.bench_function(format!("{variant}/{extents}"), |b| b.iter(|| problem.run(&rt)));
            }
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
