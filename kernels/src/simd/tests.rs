//! Lanes of every instruction set that this machine has, against std's functions.

use super::*;

struct Exp(f32);
impl Body for Exp {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        s.to_array(s.exp(s.splat(self.0)))[3]
    }
}

struct Exp2(f32);
impl Body for Exp2 {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        s.to_array(s.exp2(s.splat(self.0)))[5]
    }
}

#[test]
fn exp2_is_accurate_and_keeps_nan() {
    for isa in Isa::available() {
        for i in -12600..12700 {
            let x = i as f32 * 0.01;
            let (got, want) = (dispatch(isa, Exp2(x)) as f64, (x as f64).exp2());
            assert!((got - want).abs() <= 2e-7 * want, "{isa:?} exp2({x}) = {got}, expected {want}");
        }
        // The lowest bits of a payload must not get into the exponent.
        for nan in [f32::NAN, f32::from_bits(0x7fc0_0001), f32::from_bits(0xffff_ffff)] {
            assert!(dispatch(isa, Exp2(nan)).is_nan());
        }
        assert!(dispatch(isa, Exp2(f32::NEG_INFINITY)) < 2e-38);
    }
}

struct Transpose([[f32; LANES]; LANES]);
impl Body for Transpose {
    type Output = [[f32; LANES]; LANES];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [[f32; LANES]; LANES] {
        s.transpose(self.0.map(|row| s.load(&row))).map(|v| s.to_array(v))
    }
}

#[test]
fn transpose_swaps_lanes_and_vectors() {
    let rows: [[f32; LANES]; LANES] = std::array::from_fn(|i| std::array::from_fn(|j| (i * LANES + j) as f32));
    for isa in Isa::available() {
        let columns = dispatch(isa, Transpose(rows));
        for (i, j) in (0..LANES).flat_map(|i| (0..LANES).map(move |j| (i, j))) {
            assert_eq!(columns[j][i], rows[i][j], "{isa:?} {i} {j}");
        }
    }
}

struct Twice([f32; LANES]);
impl Body for Twice {
    type Output = [[f32; LANES]; 2];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [[f32; LANES]; 2] {
        s.twice(s.load(&self.0)).map(|v| s.to_array(v))
    }
}

#[test]
fn twice_puts_each_lane_beside_itself() {
    for isa in Isa::available() {
        let pairs = dispatch(isa, Twice([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
        assert_eq!(pairs, [[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [4.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0, 7.0]]);
    }
}

#[test]
fn exp_is_accurate_and_keeps_nan() {
    for isa in Isa::available() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let (got, want) = (dispatch(isa, Exp(x)) as f64, (x as f64).exp());
            assert!((got - want).abs() <= 2e-7 * want, "{isa:?} exp({x}) = {got}, expected {want}");
        }
        assert!(dispatch(isa, Exp(f32::NAN)).is_nan());
        assert!(dispatch(isa, Exp(-1000.0)) < 1e-37);
        assert!(dispatch(isa, Exp(1000.0)) > 1e38);
    }
}

/// The wide methods.
struct Wide([f32; WIDE]);
impl Body for Wide {
    type Output = [f32; WIDE];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; WIDE] {
        let (x, mut y) = (s.wide_load(&self.0), [0.0; WIDE]);
        let sum = s.wide_mul_add(x, s.wide_splat(3.0), s.wide_add(x, s.wide_zero()));
        s.wide_store(sum, &mut y);
        y
    }
}

#[test]
fn wide_vectors_are_lane_by_lane() {
    let x: [f32; WIDE] = std::array::from_fn(|i| i as f32 - 3.5);
    for isa in Isa::available() {
        assert_eq!(dispatch_wide(isa, Wide(x)), x.map(|x| 4.0 * x), "{isa:?}");
    }
}

#[test]
fn instruction_sets_that_this_machine_lacks_are_named() {
    use std::io::Write;
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        // Straight to stderr, which the test harness does not hold back.
        writeln!(std::io::stderr(), "skipped: kernels on {isa:?}, which this machine lacks").unwrap();
        assert!(isa > Isa::detect());
        assert_eq!(dispatch_wide(isa, Wide([1.0; WIDE])), [4.0; WIDE], "plain arrays take over");
    }
}
