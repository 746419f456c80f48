//! Kernels that nvcc compiled, against references in f64.
//!
//! `FLG_PTX` names a folder with `basic.ptx` and `tensor.ptx`, made from `tests/nvcc/*.cu` by
//! `nvcc -O3 -std=c++17 -ptx -arch=compute_80`; without it the tests pass over.

use std::path::PathBuf;
use std::time::Instant;

use cuda::exec::{Launch, Options, Outcome, run};
use cuda::memory::Memory;
use cuda::ptx::Module;

struct Device {
    memory: Memory,
    module: Module,
    globals: Vec<u64>,
    checked: bool,
}

impl Device {
    /// The module of that name, if there is a folder.
    fn load(name: &str) -> Option<Device> {
        let path = PathBuf::from(std::env::var_os("FLG_PTX")?).join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let memory = Memory::new(1 << 28).unwrap();
        let globals = module.globals.iter().map(|global| {
            let address = memory.allocate(global.size.max(1)).unwrap();
            memory.fill(address, &[0], global.size).unwrap();
            memory.write(address, global.initial.as_deref().unwrap_or_default()).unwrap();
            address
        });
        let globals = globals.collect();
        Some(Device { memory, module, globals, checked: std::env::var_os("FLG_UNCHECKED").is_none() })
    }

    fn upload<T: Copy>(&self, values: &[T]) -> u64 {
        let bytes = size_of_val(values);
        let address = self.memory.allocate(bytes).unwrap();
        // SAFETY: the values are plain numbers of this test, without padding.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes) };
        self.memory.write(address, bytes).unwrap();
        address
    }

    fn download<T: Copy + Default>(&self, address: u64, count: usize) -> Vec<T> {
        let mut values = vec![T::default(); count];
        // SAFETY: the values are plain numbers of this test, of which any bits are one.
        let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), count * size_of::<T>()) };
        self.memory.read(address, bytes).unwrap();
        values
    }

    fn launch(&self, name: &str, grid: [u32; 3], block: u32, dynamic_shared: usize, params: &[Param]) -> Outcome {
        let entry = self.module.entry(name).unwrap();
        let mut space = Vec::new();
        for (param, place) in params.iter().zip(&entry.params) {
            space.resize(place.offset, 0);
            match param {
                Param::Int(value) => space.extend(value.to_le_bytes()),
                Param::Float(value) => space.extend(value.to_le_bytes()),
                Param::Pointer(value) => space.extend(value.to_le_bytes()),
            }
        }
        let launch = Launch {
            module: &self.module,
            entry,
            globals: &self.globals,
            grid,
            block: [block, 1, 1],
            dynamic_shared,
            shared_limit: 160 << 10,
            params: &space,
        };
        let started = Instant::now();
        let outcome = run(launch, &self.memory, Options { seed: 3, checked: self.checked, counted: self.checked });
        let seconds = started.elapsed().as_secs_f64();
        let million = outcome.counters.warp_instructions as f64 / 1e6;
        println!("{name}: {million:.2} M warp instructions, {:.1} M/s, {:?}", million / seconds, outcome.counters);
        outcome
    }

    fn clean(&self, name: &str, grid: [u32; 3], block: u32, dynamic_shared: usize, params: &[Param]) {
        let outcome = self.launch(name, grid, block, dynamic_shared, params);
        let reports: Vec<String> = outcome.reports.iter().map(ToString::to_string).collect();
        assert!(reports.is_empty(), "{}", reports.join("\n"));
    }
}

enum Param {
    Int(i32),
    Float(f32),
    Pointer(u64),
}
use Param::{Float, Int, Pointer};

/// Numbers in -1..1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn bf16(values: &[f32]) -> Vec<u16> {
    values.iter().map(|value| half::bf16::from_f32(*value).to_bits()).collect()
}

fn real(bits: u16) -> f64 {
    f64::from(half::bf16::from_bits(bits).to_f32())
}

#[test]
fn saxpy_is_exact() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let n = 100_003;
    let (x, y) = (numbers(n, 1), numbers(n, 2));
    let (dx, dy) = (device.upload(&x), device.upload(&y));
    device.clean("saxpy", [391, 1, 1], 256, 0, &[Int(n as i32), Float(2.5), Pointer(dx), Pointer(dy)]);
    let result: Vec<f32> = device.download(dy, n);
    assert!((0..n).all(|i| result[i] == 2.5f32.mul_add(x[i], y[i])));
}

#[test]
fn sums_are_near() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let x = numbers(100_000, 1);
    let (dx, out) = (device.upload(&x), device.upload(&[0f32]));
    device.clean("reduce_sum", [20, 1, 1], 256, 0, &[Int(x.len() as i32), Pointer(dx), Pointer(out)]);
    let want: f64 = x.iter().map(|x| f64::from(*x)).sum();
    assert!((f64::from(device.download::<f32>(out, 1)[0]) - want).abs() < 1e-2);
}

#[test]
fn products_are_near() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let (m, n, k) = (256, 128, 96);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let (da, db, dc) = (device.upload(&a), device.upload(&b), device.memory.allocate(4 * m * n).unwrap());
    let sizes = [Int(m as i32), Int(n as i32), Int(k as i32), Pointer(da), Pointer(db), Pointer(dc)];
    device.clean("sgemm", [n as u32 / 128, m as u32 / 128, 1], 256, 0, &sizes);
    let c: Vec<f32> = device.download(dc, m * n);
    for i in 0..m {
        for j in 0..n {
            let want: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
            assert!((f64::from(c[i * n + j]) - want).abs() < 1e-4, "{i} {j}");
        }
    }
}

#[test]
fn rows_are_normalised() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let (rows, n) = (5, 1000);
    let x: Vec<f32> = numbers(rows * n, 3).iter().map(|x| 8.0 * x).collect();
    let (dx, dy) = (device.upload(&x), device.memory.allocate(4 * rows * n).unwrap());
    device.clean("softmax", [rows as u32, 1, 1], 128, 0, &[Int(n as i32), Pointer(dx), Pointer(dy)]);
    let y: Vec<f32> = device.download(dy, rows * n);
    for row in 0..rows {
        let x = &x[row * n..][..n];
        let sum: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((0..n).all(|i| (f64::from(y[row * n + i]) - f64::from(x[i]).exp() / sum).abs() < 1e-6));
    }
    let (x, g, b) = (bf16(&x), numbers(n, 4), numbers(n, 5));
    let (dx, dy) = (device.upload(&x), device.memory.allocate(2 * rows * n).unwrap());
    let (dg, db) = (device.upload(&g), device.upload(&b));
    let params = [Int(n as i32), Float(1e-5), Pointer(dx), Pointer(dg), Pointer(db), Pointer(dy)];
    device.clean("layernorm", [rows as u32, 1, 1], 32, 0, &params);
    let y: Vec<u16> = device.download(dy, rows * n);
    for row in 0..rows {
        let x: Vec<f64> = x[row * n..][..n].iter().map(|x| real(*x)).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        for i in 0..n {
            let want = (x[i] - mean) / (variance + 1e-5).sqrt() * f64::from(g[i]) + f64::from(b[i]);
            assert!((real(y[row * n + i]) - want).abs() < 0.01 * want.abs() + 1e-3);
        }
    }
}

#[test]
fn counts_are_exact() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let x: Vec<u32> = (0..5000).map(|i: u32| i.wrapping_mul(2_654_435_761) >> 7).collect();
    let (dx, out) = (device.upload(&x), device.upload(&[0u32; 64]));
    device.clean("histogram", [7, 1, 1], 128, 0, &[Int(5000), Pointer(dx), Pointer(out)]);
    let mut want = [0u32; 64];
    x.iter().for_each(|x| want[*x as usize & 63] += 1);
    assert_eq!(device.download::<u32>(out, 64), want);
}

#[test]
fn functions_are_near() {
    let Some(device) = Device::load("basic.ptx") else { return };
    let n = 1000;
    let f: Vec<f32> = numbers(n, 1).iter().map(|x| 5.0 * x).collect();
    let d: Vec<f64> = numbers(n, 2).iter().map(|x| f64::from(*x) * 3.0).collect();
    let l: Vec<i64> = numbers(n, 3).iter().map(|x| (f64::from(*x) * 1e15) as i64).collect();
    let u: Vec<u32> = numbers(n, 4).iter().map(|x| x.to_bits().wrapping_mul(77_777)).collect();
    let h: Vec<u16> = numbers(n, 5).iter().map(|x| half::f16::from_f32(*x).to_bits()).collect();
    let (df, dd, dl, du, dh) =
        (device.upload(&f), device.upload(&d), device.upload(&l), device.upload(&u), device.upload(&h));
    let params = [Int(n as i32), Pointer(df), Pointer(dd), Pointer(dl), Pointer(du), Pointer(dh)];
    device.clean("misc", [8, 1, 1], 128, 0, &params);
    let (rf, rd, rl): (Vec<f32>, Vec<f64>, Vec<i64>) =
        (device.download(df, n), device.download(dd, n), device.download(dl, n));
    let (ru, rh): (Vec<u32>, Vec<u16>) = (device.download(du, n), device.download(dh, n));
    for i in 0..n {
        let x = f64::from(f[i]);
        let polynomial = (0..(i & 3) + 1).fold(0.0, |s, k| s * x + k as f64);
        let wide = f64::from(f[i] * 1000.0);
        let want = wide.sin() + x.cos() + x.tanh() + (x.abs() + 1.0).ln() + x.abs().powf(1.5) + polynomial;
        assert!((f64::from(rf[i]) - want).abs() < 2e-4, "{x}: {} {want}", rf[i]);
        let want = d[i].abs().sqrt() / (1.0 + d[i] * d[i]) + (-d[i] * d[i]).exp();
        assert!((rd[i] - want).abs() < 1e-14, "{} {want}", rd[i]);
        let by = if i == 7 { 3 } else { i as i64 - 7 };
        assert_eq!(rl[i], l[i] / by + l[i] % 1_000_003 + (rd[i] * 100.0).floor() as i64);
        let (v, w) = (u[i], i as u32);
        let permuted = (v & 0xff) | (w & 0xff) << 8 | (v >> 8 & 0xff) << 16 | (w >> 8 & 0xff) << 24;
        let shifted = ((u64::from(w) << 32 | u64::from(v)) << (w & 31) >> 32) as u32;
        let want = v.count_ones() + v.leading_zeros();
        let want = want.wrapping_add(v.reverse_bits()).wrapping_add((v / 7).wrapping_mul(v % 13));
        assert_eq!(ru[i], want.wrapping_add(permuted).wrapping_add(shifted));
        let x = f64::from(half::f16::from_bits(h[i]).to_f32());
        assert_eq!(rh[i], half::f16::from_f64(x * x + 0.5).to_bits());
    }
}

#[test]
fn tensor_products_are_near() {
    let Some(device) = Device::load("tensor.ptx") else { return };
    let (m, n, k) = (128, 256, 160);
    let (a, b) = (bf16(&numbers(m * k, 1)), bf16(&numbers(n * k, 2)));
    let (da, db, dc) = (device.upload(&a), device.upload(&b), device.memory.allocate(2 * m * n).unwrap());
    let sizes = [Int(m as i32), Int(n as i32), Int(k as i32), Pointer(da), Pointer(db), Pointer(dc)];
    device.clean("hgemm", [n as u32 / 128, m as u32 / 128, 1], 256, 3 * 256 * 32 * 2, &sizes);
    let c: Vec<u16> = device.download(dc, m * n);
    for i in 0..m {
        for j in 0..n {
            let want: f64 = (0..k).map(|p| real(a[i * k + p]) * real(b[j * k + p])).sum();
            assert!((real(c[i * n + j]) - want).abs() < 0.005 * want.abs() + 1e-4, "{i} {j} {want}");
        }
    }
}

#[test]
fn attention_is_near() {
    let Some(device) = Device::load("tensor.ptx") else { return };
    let (heads, s, d) = (2, 130, 64);
    let parts: Vec<Vec<u16>> = (1..4).map(|seed| bf16(&numbers(heads * s * d, seed))).collect();
    let at: Vec<u64> = parts.iter().map(|part| device.upload(part)).collect();
    let out = device.memory.allocate(2 * heads * s * d).unwrap();
    let scale = std::f32::consts::LOG2_E / 8.0;
    let params = [Int(s as i32), Float(scale), Pointer(at[0]), Pointer(at[1]), Pointer(at[2]), Pointer(out)];
    device.clean("flash", [s.div_ceil(64) as u32, heads as u32, 1], 128, 0, &params);
    let result: Vec<u16> = device.download(out, heads * s * d);
    let row = |part: usize, head: usize, i: usize| -> Vec<f64> {
        parts[part][(head * s + i) * d..][..d].iter().map(|x| real(*x)).collect()
    };
    for head in 0..heads {
        for i in 0..s {
            let q = row(0, head, i);
            let weights: Vec<f64> =
                (0..s).map(|j| (q.iter().zip(row(1, head, j)).map(|(a, b)| a * b).sum::<f64>() / 8.0).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for c in 0..d {
                let want: f64 = (0..s).map(|j| weights[j] / sum * real(parts[2][(head * s + j) * d + c])).sum();
                assert!((real(result[(head * s + i) * d + c]) - want).abs() < 4e-3, "{head} {i} {c}");
            }
        }
    }
}

/// Processor time of this process in seconds.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of all, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
#[ignore = "a measurement: cargo test --release --test nvcc -- --ignored --nocapture"]
fn speed() {
    let Some(mut device) = Device::load("basic.ptx") else { return };
    let n = 512;
    let a = device.upload(&numbers(n * n, 1));
    let b = device.upload(&numbers(n * n, 2));
    let c = device.upload(&numbers(n * n, 3));
    let tensor = Device::load("tensor.ptx").unwrap();
    let d = tensor.upload(&bf16(&numbers(n * n, 1)));
    let e = tensor.upload(&bf16(&numbers(n * n, 2)));
    let sizes = |a, b, c| [Int(n as i32), Int(n as i32), Int(n as i32), Pointer(a), Pointer(b), Pointer(c)];
    let grid = [n as u32 / 128, n as u32 / 128, 1];
    let rows = [Int(n as i32), Pointer(a), Pointer(c)];
    let mut tensor = tensor;
    for checked in [false, true, false, true] {
        (device.checked, tensor.checked) = (checked, checked);
        let runs: [(&str, &dyn Fn() -> Outcome); 3] = [
            ("sgemm", &|| device.launch("sgemm", grid, 256, 0, &sizes(a, b, c))),
            ("hgemm", &|| tensor.launch("hgemm", grid, 256, 3 * 256 * 32 * 2, &sizes(d, e, d))),
            ("softmax", &|| device.launch("softmax", [n as u32, 1, 1], 128, 0, &rows)),
        ];
        let only = std::env::var("FLG_ONLY").unwrap_or_default();
        for (name, run) in runs.into_iter().filter(|(name, _)| format!("{name} {checked}").contains(&only)) {
            let started = processor_seconds();
            let mut instructions = 0;
            for _ in 0..if checked { 1 } else { 4 } {
                instructions += run().counters.warp_instructions;
            }
            let seconds = processor_seconds() - started;
            println!("== {name} checked {checked}: {:.1} M/s of processor time", instructions as f64 / 1e6 / seconds);
        }
    }
}
