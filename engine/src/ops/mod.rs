//! Differentiable operations, one file each: the struct, its [`crate::Op`] rules, the [`crate::Cx`] method, its rows.
//!
//! [`OPS`] is the table that the gradient tests iterate. A new operation is a file here and a line there.

pub mod arithmetic;
pub mod attention;
pub mod cast;
pub mod cross_entropy;
pub mod gated_add;
pub mod gather;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod modulation;
pub mod mse;
pub mod patchify;
pub mod rms_norm;
pub mod rope;
pub mod silu;

use crate::{Cx, Result, Var};

/// One way of calling an operation, for the tests that hold every gradient to finite differences.
#[derive(Debug)]
pub struct OpCase {
    /// The operation and, behind a space, its attributes.
    pub name: &'static str,
    /// The kernel whose backward it uses; empty for operations without one.
    pub kernel: &'static str,
    /// Shapes of the inputs, one list a variant: with 1, with primes, with an empty dimension where that makes sense.
    pub shapes: &'static [&'static [&'static [usize]]],
    /// The call. Inputs are drawn from -2..2.
    pub run: fn(&Cx<'_>, &[Var]) -> Result<Var>,
}

/// Every case of every operation.
pub const OPS: &[&[OpCase]] = &[
    arithmetic::CASES,
    attention::CASES,
    cast::CASES,
    cross_entropy::CASES,
    gated_add::CASES,
    gather::CASES,
    gelu::CASES,
    layer_norm::CASES,
    linear::CASES,
    modulation::CASES,
    mse::CASES,
    patchify::CASES,
    rms_norm::CASES,
    rope::CASES,
    silu::CASES,
];
