//! Every differentiable operation against finite differences of its own forward pass, through the tape.
//!
//! Kernels' backwards are held to f64 references in `kernels.rs`; this holds the wiring: the right input gets the right
//! gradient, with the right sign, summed over uses. Along a random direction `u` of one input, the derivative of
//! `L = sum(y g)` is compared with the Richardson-extrapolated central difference `(4 D(h) - D(2h)) / 3`.

mod devices;

use flg_engine::ops::{OPS, OpCase};
use flg_engine::{Cx, DType, Device, Grads, Key, ParamStore, SavedAs, Tensor, Var};
use flg_kernels::KERNELS;

const H: f64 = 0.02;

struct Inputs {
    store: ParamStore,
    values: Vec<Tensor>,
}

impl Inputs {
    fn draw(device: &Device, shapes: &[&[usize]], key: Key) -> Self {
        let draw = |(i, dims): (usize, &&[usize])| {
            let mut stream = key.at(i as u64).stream();
            let values = (0..dims.iter().product()).map(|_| stream.uniform() as f32 * 2.0 - 1.0).collect();
            Tensor::from_vec(device, values, flg_engine::Shape::new(dims).unwrap()).unwrap()
        };
        let values = shapes.iter().enumerate().map(draw).collect();
        Inputs { store: ParamStore::new(device), values }
    }

    /// `sum(y g)` in f64, with input `i` moved by `step` along `u`.
    fn loss(&self, case: &OpCase, i: usize, u: &[f32], step: f64, g: &[f32]) -> f64 {
        let cx = Cx::inference(&self.store);
        let mut values = self.values.clone();
        let moved = values[i].to_vec().iter().zip(u).map(|(x, u)| (*x as f64 + step * *u as f64) as f32).collect();
        values[i] = Tensor::from_vec(self.store.device(), moved, values[i].shape()).unwrap();
        let vars: Vec<Var> = values.into_iter().map(|v| cx.input(v)).collect();
        let y = (case.run)(&cx, &vars).unwrap();
        y.value().to_vec().iter().zip(g).map(|(y, g)| *y as f64 * *g as f64).sum()
    }
}

fn directions(key: Key, n: usize) -> Vec<f32> {
    let mut stream = key.stream();
    (0..n).map(|_| stream.uniform() as f32 * 2.0 - 1.0).collect()
}

fn check(device: &Device, case: &OpCase, shapes: &[&[usize]], key: Key) {
    let inputs = Inputs::draw(device, shapes, key.name("inputs"));
    let cx = Cx::training(&inputs.store);
    let vars: Vec<Var> = inputs.values.iter().map(|v| cx.watched_input(v.clone())).collect();
    let y = (case.run)(&cx, &vars).unwrap_or_else(|e| panic!("{} {shapes:?}: {e}", case.name));
    let g = directions(key.name("g"), y.value().elements());
    let dy = Tensor::from_vec(inputs.store.device(), g.clone(), y.value().shape()).unwrap();
    let gradients = cx.vjp(&y, dy, &mut Grads::new(&inputs.store)).unwrap();
    for (i, var) in vars.iter().enumerate() {
        let analytic = gradients.get(var).map(Tensor::to_vec).unwrap_or_else(|| vec![0.0; var.value().elements()]);
        for trial in 0..3 {
            let u = directions(key.name("u").at(i as u64).at(trial), var.value().elements());
            let terms = analytic.iter().zip(&u).map(|(d, u)| *d as f64 * *u as f64);
            let (got, scale) = terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
            let difference = |h: f64| (inputs.loss(case, i, &u, h, &g) - inputs.loss(case, i, &u, -h, &g)) / (2.0 * h);
            let want = (4.0 * difference(H) - difference(2.0 * H)) / 3.0;
            // f32 rounding of y (2^-24 of its terms' sizes) over h, and the h^4 term of the extrapolation.
            let size: f64 = y.value().to_vec().iter().zip(&g).map(|(y, g)| (*y as f64 * *g as f64).abs()).sum();
            let bound = 1e-3 * scale.max(want.abs()) + 8.0 * f32::EPSILON as f64 * size / H + 1e-5;
            let at = format!("{} {shapes:?} input {i} on {:?}", case.name, device.runtime());
            assert!((got - want).abs() <= bound, "{at}: {got}, expected {want}");
            devices::assert_no_reports(&at);
        }
    }
}

#[test]
fn every_operation_agrees_with_finite_differences() {
    for device in devices::all() {
        for (row, case) in OPS.iter().flat_map(|cases| cases.iter()).enumerate() {
            for (variant, shapes) in case.shapes.iter().enumerate() {
                check(&device, case, shapes, Key::new(11).at(row as u64).at(variant as u64));
            }
        }
    }
}

/// How far a gradient may be from that of the same call where the operation keeps results of its own in bf16, which are
/// off by `U = 2^-8` of themselves at most. Inputs, weights and `dy` are within -1..1.
///
/// Attention takes `D = sum(dy out)` of a row from what it keeps: off by `U width`, since `|out| <= 1`. The probabilities
/// of a row sum to 1 and keys are at most 1, so `dq` is off by `U width / sqrt(width)`, and `dk`, where all queries may
/// meet, by as much times the queries. An activation's slope is off by `U |pre|` times its curvature, which is 0.8 (GELU)
/// or 0.5 (SiLU) at most, `|pre| <= in + 1`; rows or outputs add up.
fn off_by_own_results(case: &OpCase, shapes: &[&[usize]]) -> f64 {
    const U: f64 = 1.0 / 256.0;
    if case.name.starts_with("attention") {
        let [queries, width] = [shapes[0][1], shapes[0][2]].map(|extent| extent as f64);
        return U * queries * width.sqrt();
    }
    if case.name.starts_with("linear ") {
        let (rows, n, k): (usize, _, _) =
            (shapes[0].split_last().unwrap().1.iter().product(), shapes[1][0], shapes[1][1]);
        return U * 0.8 * (k + 1) as f64 * rows.max(n) as f64;
    }
    0.0
}

/// Inputs that bf16 holds lose nothing when they are kept in it: the gradient is that of keeping them in f32, bit for
/// bit, but for what an operation keeps of its results.
#[test]
fn keeping_in_bf16_rounds_what_is_kept_and_nothing_else() {
    let device = Device::cpu();
    let (mut halved, mut differed) = (0, 0);
    for (row, case) in OPS.iter().flat_map(|cases| cases.iter()).enumerate() {
        for shapes in case.shapes {
            let mut inputs = Inputs::draw(&device, shapes, Key::new(12).at(row as u64));
            for value in &mut inputs.values {
                *value = value.cast(DType::Bf16).unwrap().cast(DType::F32).unwrap();
            }
            let run = |saved_as: SavedAs| {
                let cx = Cx::training(&inputs.store).with_saved(saved_as);
                let watched: Vec<Var> = inputs.values.iter().map(|v| cx.watched_input(v.clone())).collect();
                // Inputs stay as they are; results of operations are what may be kept in another type.
                let vars: Vec<Var> = watched.iter().map(|v| cx.reshape(v, v.value().shape()).unwrap()).collect();
                let y = (case.run)(&cx, &vars).unwrap();
                let kept: usize = cx.saved_bytes().iter().map(|(_, bytes)| bytes).sum();
                let g = directions(Key::new(13), y.value().elements());
                let dy = Tensor::from_vec(inputs.store.device(), g, y.value().shape()).unwrap();
                let result = y.value().to_vec();
                let gradients = cx.vjp(&y, dy, &mut Grads::new(&inputs.store)).unwrap();
                let gradient = |var| gradients.get(var).map(Tensor::to_vec).unwrap_or_default();
                (result, watched.iter().flat_map(gradient).collect::<Vec<_>>(), kept)
            };
            let ((y, exact, all), (y_again, got, less)) = (run(SavedAs::Computed), run(SavedAs::Bf16));
            assert_eq!(y, y_again, "{} {shapes:?}", case.name);
            let bound = off_by_own_results(case, shapes);
            assert_eq!(exact.len(), got.len());
            for (exact, got) in exact.iter().zip(&got) {
                let off = f64::from((exact - got).abs());
                assert!(off <= bound, "{} {shapes:?}: {got} for {exact}, off by {off}, not {bound}", case.name);
            }
            differed += usize::from(exact != got);
            halved += usize::from(less < all);
            assert!(less <= all);
        }
    }
    assert!(halved > 10 && differed > 5, "{halved} calls kept less, {differed} of them rounded results of their own");
}

#[test]
fn every_kernel_with_a_backward_has_an_operation() {
    let covered = |name: &str| OPS.iter().flat_map(|cases| cases.iter()).any(|case| case.kernel == name);
    for kernel in KERNELS {
        let differentiable = kernel.variants().iter().any(|v| v.contains("backward"));
        assert!(!differentiable || covered(kernel.name()), "kernel {} has no row in OPS", kernel.name());
    }
}

#[test]
fn a_wrong_gradient_is_caught() {
    let wrong = OpCase {
        name: "wrong",
        kernel: "",
        shapes: &[],
        // The product's gradient is lost for its first operand: the check must see that.
        run: |cx, v| cx.multiply(&v[0].detach(), &v[1]),
    };
    let caught = std::panic::catch_unwind(|| check(&Device::cpu(), &wrong, &[&[3, 7], &[3, 7]], Key::new(1)));
    assert!(caught.is_err());
}
