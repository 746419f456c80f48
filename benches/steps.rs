//! Criterion over whole steps: one of training, one of sampling (a forward pass), at size S with a batch of one and with
//! the network of the demo. `cargo bench --bench steps -- S/train`; `flg bench` times the same for comparison with others.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flg_engine::{DType, Device};
use flg_train::bench::{Clock, Inference, Setting, Size, Training};
use flg_train::config::{DataConfig, ModelConfig, TrainConfig};
use flg_train::data::preset;

/// The bundled teacher's network on a batch of its training.
fn demo() -> Setting {
    let geometry = preset("digits").expect("the world is built in").geometry();
    let config = ModelConfig::default().wan(geometry.channels);
    let latent = [geometry.channels, geometry.frames, geometry.height, geometry.width];
    Setting { config, latent, text_rows: DataConfig::default().words, batch: TrainConfig::default().batch }
}

fn steps(c: &mut Criterion) {
    let (device, clock) = (Device::cpu(), Clock::for_threads(rayon::current_num_threads()));
    for (name, setting) in [("S", Setting { batch: 1, ..Size::S.setting() }), ("demo", demo())] {
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        group.throughput(Throughput::Elements(setting.training_flops()));
        let mut training = Training::new(&device, &setting).expect("a network that exists");
        group.bench_function("train", |b| b.iter(|| training.step(&clock)));
        group.throughput(Throughput::Elements(setting.forward_flops()));
        let inference = Inference::new(&device, &setting, DType::F32).expect("a network that exists");
        group.bench_function("sample", |b| b.iter(|| inference.step(&clock)));
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
