//! Approximations: the manual gives their values at special operands, and their largest error elsewhere.

use crate::case::{Case, judged};
use crate::exact::{F16, F32, Format, Number};
use crate::values::Kind;

/// How far a result may be from the exact one.
#[derive(Clone, Copy)]
enum Error {
    /// Times the exact result.
    Relative(f64),
    Absolute(f64),
    /// Units in the last place of the format, at the exact result.
    Ulp(f64),
    /// Either suffices.
    Either(f64, f64),
}

/// A function, where it is asked for, and its largest error.
struct Function {
    opcode: &'static str,
    format: Format,
    kind: Kind,
    operands: usize,
    ftz: bool,
    of: fn(&[f64]) -> f64,
    within: fn(&[f64]) -> bool,
    error: Error,
}

fn to_f64(format: Format, bits: u64) -> f64 {
    match format.number(bits) {
        Number::Nan => f64::NAN,
        _ if format == F16 => f64::from(half::f16::from_bits(bits as u16)),
        _ if format == F32 => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from(half::bf16::from_bits(bits as u16)),
    }
}

impl Function {
    fn judge(&self, operands: &[u64], found: u64) -> Result<(), String> {
        let flush = |bits: u64| if self.ftz { self.format.flush(bits) } else { bits };
        let operands: Vec<f64> = operands.iter().map(|bits| to_f64(self.format, flush(*bits))).collect();
        if !(self.within)(&operands) {
            return Ok(());
        }
        let (exact, found) = ((self.of)(&operands), to_f64(self.format, found));
        let least = 2f64.powi(2 - (1 << (self.format.exponent - 1)));
        let largest =
            2f64.powi((1 << (self.format.exponent - 1)) - 1) * (2.0 - 2f64.powi(-(self.format.fraction as i32)));
        let good = if exact.is_nan() || found.is_nan() {
            exact.is_nan() && found.is_nan()
        } else if self.ftz && exact.abs() < least * (1.0 + 1e-6) && found == 0.0 {
            // Zero, with the sign of what it was.
            exact == 0.0 || found.is_sign_negative() == exact.is_sign_negative()
        } else if self.ftz && exact.abs() < least * (1.0 - 1e-6) {
            false
        } else if exact == 0.0 || exact.is_infinite() {
            found == exact && found.is_sign_negative() == exact.is_sign_negative()
        } else if exact.abs() > largest && found.is_infinite() {
            found.is_sign_negative() == exact.is_sign_negative()
        } else {
            self.near(exact, found)
        };
        if good { Ok(()) } else { Err(format!("{exact:e} was expected of {operands:?}, not {found:e}")) }
    }

    fn near(&self, exact: f64, found: f64) -> bool {
        let difference = (exact - found).abs();
        // Subnormal results have the spacing of the least normal ones.
        let exponent = (exact.abs().log2().floor() as i32).max(2 - (1 << (self.format.exponent - 1)));
        let ulp = 2f64.powi(exponent - self.format.fraction as i32);
        match self.error {
            Error::Relative(error) => difference <= (error * exact.abs()).max(ulp / 2.0),
            Error::Absolute(error) => difference <= error,
            Error::Ulp(count) => difference <= count * ulp,
            Error::Either(relative, absolute) => difference <= relative * exact.abs() || difference <= absolute,
        }
    }

    /// The same of two halves of a register.
    fn pair(self, opcode: &'static str) -> Case {
        let kind = if self.kind == Kind::F16 { Kind::F16x2 } else { Kind::Bf16x2 };
        judged(&format!("{opcode} %d0, %a0;"), &[kind], &[kind], move |v, found| {
            self.judge(&[v[0] & 0xffff], found[0] & 0xffff)?;
            self.judge(&[v[0] >> 16], found[0] >> 16)
        })
    }

    fn case(self) -> Case {
        let places: String = (0..self.operands).map(|k| format!(", %a{k}")).collect();
        let text = format!("{} %d0{places};", self.opcode);
        judged(&text, &[self.kind], &vec![self.kind; self.operands], move |v, found| self.judge(v, found[0]))
    }
}

/// A function of f32 with and without `.ftz`, everywhere.
fn single(opcodes: [&'static str; 2], of: fn(&[f64]) -> f64, error: Error) -> [Function; 2] {
    opcodes.map(|opcode| Function {
        opcode,
        format: F32,
        kind: Kind::F32,
        operands: 1,
        ftz: opcode.contains(".ftz"),
        of,
        within: |_| true,
        error,
    })
}

fn root(v: &[f64]) -> f64 {
    v[0].sqrt()
}

/// The reciprocal root of -0 is negative infinity.
fn reciprocal_root(v: &[f64]) -> f64 {
    if v[0] == 0.0 { f64::INFINITY.copysign(v[0]) } else { 1.0 / v[0].sqrt() }
}

/// Not asked for beyond a few turns: the manual bounds errors within one.
fn angles(v: &[f64]) -> bool {
    v[0].abs() <= std::f64::consts::PI || !v[0].is_finite()
}

fn singles() -> Vec<Function> {
    let power = |exponent: f64| 2f64.powf(exponent);
    let mut all = Vec::new();
    all.extend(single(["rcp.approx.f32", "rcp.approx.ftz.f32"], |v| 1.0 / v[0], Error::Ulp(1.0)));
    all.extend(single(["sqrt.approx.f32", "sqrt.approx.ftz.f32"], root, Error::Relative(power(-23.0))));
    all.extend(single(["rsqrt.approx.f32", "rsqrt.approx.ftz.f32"], reciprocal_root, Error::Relative(power(-22.9))));
    all.extend(single(["ex2.approx.f32", "ex2.approx.ftz.f32"], |v| v[0].exp2(), Error::Relative(power(-22.5))));
    // Beside 1 the error is absolute.
    let logarithm = Error::Either(power(-22.6), power(-22.0));
    all.extend(single(["lg2.approx.f32", "lg2.approx.ftz.f32"], |v| v[0].log2(), logarithm));
    let turn = Error::Absolute(power(-20.9));
    for function in single(["sin.approx.f32", "sin.approx.ftz.f32"], |v| v[0].sin(), turn) {
        all.push(Function { within: angles, ..function });
    }
    for function in single(["cos.approx.f32", "cos.approx.ftz.f32"], |v| v[0].cos(), turn) {
        all.push(Function { within: angles, ..function });
    }
    let [tanh, _] = single(["tanh.approx.f32", "tanh.approx.f32"], |v| v[0].tanh(), Error::Relative(power(-11.0)));
    all.push(tanh);
    all
}

/// `div.approx` is bounded for divisors between 2^-126 and 2^126, `div.full` everywhere but is no better.
fn quotients() -> Vec<Function> {
    let within = |v: &[f64]| v[1].abs() >= 2f64.powi(-126) && v[1].abs() <= 2f64.powi(126);
    ["div.approx.f32", "div.approx.ftz.f32", "div.full.f32", "div.full.ftz.f32"]
        .map(|opcode| Function {
            opcode,
            format: F32,
            kind: Kind::F32,
            operands: 2,
            ftz: opcode.contains(".ftz"),
            of: |v| v[0] / v[1],
            within,
            error: Error::Ulp(2.0),
        })
        .into()
}

/// Functions of 16 bits.
fn halves() -> Vec<Function> {
    let half = |opcode, kind, of, error| Function {
        opcode,
        format: if kind == Kind::F16 { F16 } else { crate::exact::BF16 },
        kind,
        operands: 1,
        ftz: opcode == "ex2.approx.ftz.bf16",
        of,
        within: |_| true,
        error,
    };
    let power = |exponent: f64| 2f64.powf(exponent);
    let exponential: fn(&[f64]) -> f64 = |v| v[0].exp2();
    let tangent: fn(&[f64]) -> f64 = |v| v[0].tanh();
    vec![
        half("ex2.approx.f16", Kind::F16, exponential, Error::Relative(power(-9.9))),
        half("ex2.approx.ftz.bf16", Kind::Bf16, exponential, Error::Relative(power(-7.0))),
        half("tanh.approx.f16", Kind::F16, tangent, Error::Absolute(power(-10.987))),
        half("tanh.approx.bf16", Kind::Bf16, tangent, Error::Absolute(power(-8.0))),
    ]
}

pub fn cases() -> Vec<Case> {
    let pairs = ["ex2.approx.f16x2", "ex2.approx.ftz.bf16x2", "tanh.approx.f16x2", "tanh.approx.bf16x2"];
    let pairs = halves().into_iter().zip(pairs).map(|(function, opcode)| function.pair(opcode));
    singles().into_iter().chain(quotients()).chain(halves()).map(Function::case).chain(pairs).collect()
}
