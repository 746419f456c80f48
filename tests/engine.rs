//! The autograd core: what is recorded, what is shared, what checkpointing and accumulation promise.

use flg_engine::ops::layer_norm::ModulatedNorm;
use flg_engine::{Cx, DType, Device, Error, Grads, Key, ParamId, ParamStore, Precision, Result, SavedAs, Tensor, Var};
use flg_kernels::gemm::Activation;

/// A small block with every kind of connection: a linear layer, a modulated norm, a gated residual.
#[derive(Clone, Copy)]
struct Block {
    weight: ParamId,
    bias: ParamId,
    table: ParamId,
}

const WIDTH: usize = 6;

impl Block {
    fn new(store: &mut ParamStore, name: &str, key: Key) -> Block {
        let device = store.device().clone();
        let mut add = |part: &str, shape: &[usize]| {
            let value = key.name(part).normal(&device, flg_engine::Shape::new(shape).unwrap()).unwrap();
            store.insert(format!("{name}.{part}"), value.scale(0.5).unwrap()).unwrap()
        };
        Block { weight: add("weight", &[WIDTH, WIDTH]), bias: add("bias", &[WIDTH]), table: add("table", &[3, WIDTH]) }
    }

    fn forward(&self, cx: &Cx<'_>, x: &Var) -> Result<Var> {
        let groups = x.value().shape().dims()[0];
        let none = cx.input(Tensor::zeros(cx.device(), [groups, 3 * WIDTH]).unwrap());
        let modulation = cx.modulation(&cx.param(self.table), &none)?;
        let n = cx.modulated_norm(x, &modulation, ModulatedNorm { shift: 0, scale: 1, eps: 1e-6 })?;
        let h = cx.linear_activated(&n, &cx.param(self.weight), &cx.param(self.bias), Activation::GeluTanh)?;
        cx.gated_add(x, &h, &modulation, 2)
    }
}

fn network(seed: u64) -> (ParamStore, Vec<Block>) {
    let mut store = ParamStore::new(&Device::cpu());
    let blocks = (0..3).map(|i| Block::new(&mut store, &format!("blocks.{i}"), Key::new(seed).at(i))).collect();
    (store, blocks)
}

fn input(store: &ParamStore) -> Tensor {
    Key::new(5).name("x").normal(store.device(), [2, 4, WIDTH]).unwrap()
}

fn bits(grads: &Grads) -> Vec<Vec<u32>> {
    grads.iter().map(|(_, g)| g.to_vec().iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn checkpointing_changes_no_bit_of_any_gradient() {
    let (store, blocks) = network(1);
    let run = |checkpointed: bool| {
        let cx = Cx::training(&store);
        let x0 = cx.watched_input(input(&store));
        let mut x = x0.clone();
        for block in blocks.clone() {
            x = if checkpointed {
                cx.checkpoint([&x], move |cx, [x]| block.forward(cx, &x)).unwrap()
            } else {
                block.forward(&cx, &x).unwrap()
            };
        }
        let saved: usize = cx.saved_bytes().iter().map(|(_, bytes)| bytes).sum();
        let mut grads = Grads::new(&store);
        let dy = Key::new(6).normal(store.device(), x.value().shape()).unwrap();
        let inputs = cx.vjp(&x, dy, &mut grads).unwrap();
        (bits(&grads), inputs.get(&x0).unwrap().to_vec(), saved)
    };
    let (plain, plain_input, plain_bytes) = run(false);
    let (checkpointed, checkpointed_input, checkpointed_bytes) = run(true);
    assert_eq!(plain.len(), 9);
    assert_eq!(plain, checkpointed);
    assert_eq!(plain_input, checkpointed_input);
    assert!(checkpointed_bytes * 3 < plain_bytes * 2, "{checkpointed_bytes} against {plain_bytes} bytes kept");
}

#[test]
fn gradients_flow_through_a_frozen_network_but_not_into_it() {
    let (student, blocks) = network(1);
    let (critic, _) = network(2);
    let run = |checkpointed: bool| {
        let cx = Cx::training(&student);
        let x = blocks[0].forward(&cx, &cx.input(input(&student))).unwrap();
        let block = blocks[1];
        let y = {
            let frozen = cx.through(&critic);
            if checkpointed {
                frozen.checkpoint([&x], move |cx, [x]| block.forward(cx, &x)).unwrap()
            } else {
                block.forward(&frozen, &x).unwrap()
            }
        };
        let mut grads = Grads::new(&student);
        cx.vjp(&y, Tensor::full(student.device(), 1.0, y.value().shape()).unwrap(), &mut grads).unwrap();
        grads
    };
    let grads = run(false);
    let reached: Vec<_> = grads.iter().map(|(id, _)| student.name(id).to_owned()).collect();
    assert_eq!(reached, ["blocks.0.weight", "blocks.0.bias", "blocks.0.table"]);
    assert_eq!(bits(&grads), bits(&run(true)));
}

#[test]
fn inference_records_nothing() {
    let (store, blocks) = network(1);
    let cx = Cx::inference(&store);
    let y = blocks[0].forward(&cx, &cx.watched_input(input(&store))).unwrap();
    assert!(!y.is_recorded());
    assert!(cx.saved_bytes().is_empty());
    assert!(matches!(cx.vjp(&y, y.value().clone(), &mut Grads::new(&store)), Err(Error::NotRecorded)));
}

#[test]
fn a_variable_of_another_context_is_an_error_and_its_value_is_not() {
    let (store, blocks) = network(1);
    let (p, q) = (Cx::training(&store), Cx::training(&store));
    let x = blocks[0].forward(&p, &p.input(input(&store))).unwrap();
    assert!(matches!(blocks[0].forward(&q, &x), Err(Error::ForeignVar { .. })));
    assert!(matches!(q.checkpoint([&x], |_, [x]| Ok(x)), Err(Error::ForeignVar { .. })));
    let cut = q.multiply(&x.detach(), &q.input(x.value().clone())).unwrap();
    assert!(!cut.is_recorded());
}

#[test]
fn a_tape_in_use_elsewhere_is_an_error() {
    let (store, blocks) = network(1);
    let cx = Cx::training(&store);
    let other = cx.through(&store);
    let y = blocks[0].forward(&cx, &cx.input(input(&store))).unwrap();
    let seed = y.value().clone();
    assert!(matches!(cx.vjp(&y, seed, &mut Grads::new(&store)), Err(Error::ContextInUse)));
    drop(other);
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let (store, blocks) = network(1);
    let x = input(&store);
    let target = Tensor::zeros(store.device(), [1, 4, WIDTH]).unwrap();
    let step = |part: Tensor, scale: f32, grads: &mut Grads| {
        let cx = Cx::training(&store);
        let y = blocks[0].forward(&cx, &cx.input(part.clone())).unwrap();
        let target = if part.shape().dims()[0] == 1 {
            target.clone()
        } else {
            Tensor::zeros(store.device(), part.shape()).unwrap()
        };
        let loss = cx.mse(&y, &target).unwrap();
        cx.backward(&loss, scale, grads).unwrap();
    };
    let (mut whole, mut parts) = (Grads::new(&store), Grads::new(&store));
    step(x.clone(), 1.0, &mut whole);
    for i in 0..2 {
        step(x.narrow(0, i, 1).unwrap(), 0.5, &mut parts);
    }
    for ((_, a), (_, b)) in whole.iter().zip(parts.iter()) {
        let scale = a.to_vec().iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        for (a, b) in a.to_vec().iter().zip(b.to_vec()) {
            assert!((a - b).abs() <= 8.0 * f32::EPSILON * scale, "{a} {b}");
        }
    }
}

#[test]
fn mixed_precision_stays_close_and_gradients_are_f32() {
    let (mut store, blocks) = network(1);
    store.refresh_shadows(|name| name.ends_with("weight")).unwrap();
    let run = |precision: Precision| {
        let cx = Cx::training(&store).with_precision(precision);
        let x = cx.input(input(&store).cast(precision.dtype()).unwrap());
        let y = blocks[0].forward(&cx, &x).unwrap();
        assert_eq!(y.value().dtype(), precision.dtype());
        let y32 = y.value().to_vec();
        let mut grads = Grads::new(&store);
        cx.vjp(&y, Tensor::full(store.device(), 1.0, y.value().shape()).unwrap(), &mut grads).unwrap();
        assert!(grads.iter().all(|(_, g)| g.dtype() == DType::F32));
        y32
    };
    let (full, half) = (run(Precision::F32), run(Precision::Bf16));
    // Four roundings to 8 bits along the longest path, on values below 4.
    let bound = 4.0 * 4.0 / 256.0;
    assert!(full.iter().zip(&half).all(|(a, b)| (a - b).abs() <= bound));
    assert!(full.iter().zip(&half).any(|(a, b)| a != b), "bf16 must round somewhere");
}

#[test]
fn views_share_and_writing_copies() {
    let device = Device::cpu();
    let mut a = Tensor::from_vec(&device, (0..24).map(|i| i as f32).collect(), [2, 3, 4]).unwrap();
    let view = a.narrow(1, 1, 2).unwrap().transpose(0, 2).unwrap();
    assert_eq!(view.to_vec()[..4], [4.0, 16.0, 8.0, 20.0]);
    assert!(view.input().is_err(), "a strided view is no kernel operand");
    assert_eq!(view.contiguous().unwrap().as_f32().unwrap(), view.to_vec());
    let before = a.clone();
    a.as_f32_mut().unwrap()[0] = 9.0;
    assert_eq!((before.to_vec()[0], a.to_vec()[0]), (0.0, 9.0));
}

#[test]
fn freed_memory_is_used_again() {
    let device = Device::cpu();
    drop(Tensor::empty(&device, [1000], DType::F32).unwrap());
    let kept = device.memory();
    assert_eq!((kept.live, kept.free), (0, 4000));
    let again = Tensor::empty(&device, [900], DType::F32).unwrap();
    assert_eq!((device.memory().live, device.memory().free), (4000, 0));
    drop(again);
    device.pool().trim();
    assert_eq!(device.memory().free, 0);
}

#[test]
fn operations_that_keep_a_value_in_bf16_share_one_copy() {
    let device = Device::cpu();
    let store = ParamStore::new(&device);
    // Large enough for statistics, the results that are alive and what is too small to tell not to matter.
    let [x, weight] = [[512, 64], [64, 64]].map(|shape| Key::new(1).normal(&device, shape).unwrap());
    let bias = Tensor::zeros(&device, [64]).unwrap();
    let kept = |saved_as, uses: usize| {
        let cx = Cx::training(&store).with_saved(saved_as);
        let (weight, bias) = (cx.watched_input(weight.clone()), cx.watched_input(bias.clone()));
        let before = device.memory().live;
        let h = cx.linear(&cx.input(x.clone()), &weight, &bias).unwrap();
        for i in 0..uses {
            // A sum of results that are not held, by operations that differ in how they keep `h`.
            drop(if i % 2 == 0 { cx.silu(&h).unwrap() } else { cx.linear(&h, &weight, &bias).unwrap() });
        }
        drop(h);
        device.memory().live - before
    };
    let bytes = x.bytes();
    assert_eq!([0, 1, 2, 5].map(|uses| kept(SavedAs::Computed, uses)), [0, bytes, bytes, bytes]);
    assert_eq!([0, 1, 2, 5].map(|uses| kept(SavedAs::Bf16, uses)), [0, bytes / 2, bytes / 2, bytes / 2]);
}

#[test]
fn memory_that_came_from_outside_does_not_pile_up() {
    let device = Device::cpu();
    for step in 0..5 {
        let brought = Tensor::from_vec(&device, vec![1.0; 1000], [1000]).unwrap();
        let index = Tensor::from_indices(&device, vec![0; 500], [500]).unwrap();
        assert_eq!(device.pool().usage().live, 1500 * 4, "step {step}");
        drop((brought, index));
        assert_eq!((device.pool().usage().live, device.pool().usage().free), (0, 0), "step {step}");
    }
}

#[test]
fn a_rehearsal_takes_no_memory_and_no_time() {
    let device = Device::dry();
    // 64 GiB each, which few machines have.
    let x = Tensor::zeros(&device, [1 << 34]).unwrap();
    let y = x.add(&x).unwrap();
    drop(x);
    assert_eq!((device.memory().live, device.memory().peak, device.memory().held), (1 << 36, 1 << 37, 1 << 37));
    assert_eq!(y.shape().elements(), 1 << 34);
    assert!(y.add(&Tensor::zeros(&device, [3]).unwrap()).is_err(), "operands are checked");
}

#[test]
fn a_rehearsal_counts_parts_as_if_they_ran_at_once() {
    let peaks = |threads: usize| {
        let device = Device::dry();
        let body = |_| drop(Tensor::zeros(&device, [1000]).unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| drop(device.pool().side_by_side(3, body)));
        (device.memory().peak, device.memory().held)
    };
    assert_eq!([1, 2, 8].map(peaks), [(4000, 4000), (8000, 8000), (12000, 12000)]);
}

#[test]
fn keys_are_independent_of_order_and_of_each_other() {
    let device = Device::cpu();
    let key = Key::new(3).name("noise");
    let draw = |key: Key| key.normal(&device, [1000]).unwrap().to_vec();
    assert_eq!(draw(key.at(1)), draw(key.at(1)));
    assert_ne!(draw(key.at(1)), draw(key.at(2)));
    assert_ne!(draw(key.name("a").at(1)), draw(key.name("b").at(1)));
    let values = draw(key);
    let mean = values.iter().map(|&x| x as f64).sum::<f64>() / 1000.0;
    let variance = values.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / 1000.0;
    // Standard errors are 0.032 and 0.045.
    assert!(mean.abs() < 0.13 && (variance - 1.0).abs() < 0.18, "mean {mean}, variance {variance}");
}

#[test]
fn panels_change_no_bit_and_are_dropped_with_the_weight() {
    let (mut store, blocks) = network(1);
    let run = |store: &ParamStore| {
        let cx = Cx::inference(store);
        blocks[0].forward(&cx, &cx.input(input(store))).unwrap().value().to_vec()
    };
    let plain = run(&store);
    store.prepack().unwrap();
    assert_eq!(plain, run(&store));
    let doubled = store.get(blocks[0].weight).scale(2.0).unwrap();
    *store.get_mut(blocks[0].weight) = doubled;
    let changed = run(&store);
    assert_ne!(plain, changed);
    assert_eq!(changed, run(&store.deep_copy().unwrap()));
}

#[test]
fn uniform_numbers_drawn_at_once_are_those_of_the_stream() {
    let key = Key::new(5).name("uniforms");
    let mut stream = key.stream();
    let all: Vec<f64> = (0..10_000).map(|_| stream.uniform()).collect();
    for (offset, n) in [(0, 10_000), (1, 9000), (4096, 1), (4097, 5000), (7, 0)] {
        assert_eq!(key.uniforms(offset as u64, n), all[offset..offset + n], "{offset} {n}");
    }
}
