//! What the catalog's random problems cannot ask: where a NaN goes, what a mask hides, and what is refused.

use super::{Backward, Dims, Forward, backward, forward};
use crate::catalog::{Stored, operands};
use crate::runtime::gpu_of_tests;
use crate::{DType, Error, In, Out, Runtime, bf16};

const QUERIES: usize = 21;
const KEYS: usize = 150;
const HEADS: usize = 2;

/// A device, the type of the operands there, and the width of a head: one that vectors of eight elements divide, one that
/// they do not.
#[derive(Clone, Copy, Debug)]
struct Setup {
    rt: Runtime,
    dtype: DType,
    width: usize,
}

/// The host; with the feature `cuda` a GPU in f32 and, on its tensor cores, in bf16.
fn setups() -> impl Iterator<Item = Setup> {
    let gpu = gpu_of_tests().into_iter().flat_map(|gpu| [(gpu, DType::F32), (gpu, DType::Bf16)]);
    let devices = [(Runtime::cpu(), DType::F32)].into_iter().chain(gpu);
    devices.flat_map(|(rt, dtype)| [9, 16].map(|width| Setup { rt, dtype, width }))
}

/// The operands of one call, and its results after [`Call::run`].
struct Call {
    setup: Setup,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mask: Option<Vec<f32>>,
    scale: f32,
    /// Type of `out`, and of all gradients.
    dtypes: [DType; 2],
    out: Vec<f32>,
    lse: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl Call {
    fn new(setup: Setup) -> Self {
        let [query, key] = [QUERIES, KEYS].map(|tokens| tokens * HEADS * setup.width);
        let (q, k, v) = (operands(5, 0, query), operands(5, 1, key), operands(5, 2, key));
        let [out, lse, dq, dk, dv] = [const { Vec::new() }; 5];
        Call { setup, q, k, v, mask: None, scale: 1.0 / 3.0, dtypes: [setup.dtype; 2], out, lse, dq, dk, dv }
    }

    /// Elements of a token.
    fn pitch(&self) -> usize {
        HEADS * self.setup.width
    }

    /// Forward, then backward for the gradient 1.
    fn run(mut self) -> Self {
        let Setup { rt, dtype, width } = self.setup;
        let stored = |x: &[f32], dtype| Stored::new(x.to_vec(), dtype).on(&rt).unwrap();
        let dims = Dims { batch: 1, heads: HEADS, queries: QUERIES, keys: KEYS, width };
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|x| stored(x, dtype));
        let mask = self.mask.as_ref().map(|mask| stored(mask, DType::F32));
        let [of_out, of_gradients] = self.dtypes;
        let mut out = stored(&vec![777.0; self.q.len()], of_out);
        let dout = stored(&vec![1.0; self.q.len()], of_gradients);
        let mut lse = stored(&[777.0; HEADS * QUERIES], DType::F32);
        let [mut dq, mut dk, mut dv] = [&self.q, &self.k, &self.v].map(|x| stored(&vec![777.0; x.len()], of_gradients));
        let args = Forward {
            q: q.input(),
            k: k.input(),
            v: v.input(),
            key_mask: mask.as_ref().map(Stored::input),
            out: out.output(),
            lse: lse.output(),
            dims,
            scale: self.scale,
        };
        forward(&rt, args).unwrap();
        let args = Backward {
            q: q.input(),
            k: k.input(),
            v: v.input(),
            key_mask: mask.as_ref().map(Stored::input),
            out: out.input(),
            lse: lse.input(),
            dout: dout.input(),
            dq: dq.output(),
            dk: dk.output(),
            dv: dv.output(),
            dims,
            scale: self.scale,
        };
        backward(&rt, args).unwrap();
        let results = [&mut self.out, &mut self.lse, &mut self.dq, &mut self.dk, &mut self.dv];
        results.into_iter().zip([out, lse, dq, dk, dv]).for_each(|(to, from)| *to = from.f32());
        self
    }

    /// Which tokens of head `head` of a result are not finite, one flag a token; `None` if a token is so only in part.
    fn broken(&self, x: &[f32], head: usize) -> Option<Vec<bool>> {
        let width = self.setup.width;
        let tokens = x.chunks(self.pitch()).map(|token| {
            let broken = token[head * width..][..width].iter().filter(|x| !x.is_finite()).count();
            (broken == 0 || broken == width).then_some(broken == width)
        });
        tokens.collect()
    }
}

fn only(token: usize, tokens: usize) -> Option<Vec<bool>> {
    Some((0..tokens).map(|t| t == token).collect())
}

#[test]
fn a_nan_query_reaches_its_own_row_and_every_key() {
    for (setup, query) in setups().flat_map(|setup| [0, 5, 20].map(|query| (setup, query))) {
        let mut call = Call::new(setup);
        let at = query * call.pitch() + 4;
        call.q[at] = f32::NAN;
        let call = call.run();
        assert_eq!(call.broken(&call.out, 0), only(query, QUERIES), "{setup:?}: out of query {query}");
        assert_eq!(call.broken(&call.dq, 0), only(query, QUERIES), "{setup:?}: dq of query {query}");
        assert_eq!(call.broken(&call.dk, 0), Some(vec![true; KEYS]), "{setup:?}: dk of query {query}");
        assert_eq!(call.broken(&call.dv, 0), Some(vec![true; KEYS]), "{setup:?}: dv of query {query}");
        for x in [&call.out, &call.dq, &call.dk, &call.dv] {
            assert!(!call.broken(x, 1).unwrap().contains(&true), "{setup:?}: the other head");
        }
        let nan: Vec<_> = (0..HEADS * QUERIES).filter(|&i| call.lse[i].is_nan()).collect();
        assert_eq!(nan, [query], "{setup:?}");
    }
}

#[test]
fn a_nan_key_reaches_every_query_wherever_it_stands() {
    for (setup, key) in setups().flat_map(|setup| [0, 1, 15, 127, 128, 149].map(|key| (setup, key))) {
        let mut call = Call::new(setup);
        let at = key * call.pitch() + setup.width;
        call.k[at] = f32::NAN;
        let call = call.run();
        assert_eq!(call.broken(&call.out, 1), Some(vec![true; QUERIES]), "{setup:?}: key {key}");
        assert_eq!(call.broken(&call.dq, 1), Some(vec![true; QUERIES]), "{setup:?}: key {key}");
        assert!(!call.broken(&call.out, 0).unwrap().contains(&true), "{setup:?}: the other head");
    }
}

#[test]
fn a_nan_value_reaches_its_own_column() {
    for (setup, key) in setups().flat_map(|setup| [0, 127, 128, 149].map(|key| (setup, key))) {
        let mut call = Call::new(setup);
        let at = key * call.pitch() + 7;
        call.v[at] = f32::NAN;
        let call = call.run();
        for (i, out) in call.out.iter().enumerate() {
            assert_eq!(out.is_nan(), i % call.pitch() == 7, "{setup:?}: key {key}, element {i}");
        }
        assert!(call.lse.iter().all(|l| l.is_finite()));
    }
}

/// In the middle of tiles, at their ends, and whole tiles of every size.
#[test]
fn a_masked_key_is_not_looked_at() {
    let every_third = |j: usize| j % 3 == 1;
    let tiles = |j: usize| (16..80).contains(&j) || j > 127;
    for (setup, excluded) in setups().flat_map(|setup| [(setup, every_third as fn(usize) -> bool), (setup, tiles)]) {
        let mask: Vec<f32> = (0..KEYS).map(|j| if excluded(j) { 0.0 } else { 1.0 }).collect();
        let clean = Call { mask: Some(mask.clone()), ..Call::new(setup) }.run();
        let mut call = Call { mask: Some(mask), ..Call::new(setup) };
        let pitch = call.pitch();
        for (key, token) in call.k.chunks_mut(pitch).zip(call.v.chunks_mut(pitch)).enumerate() {
            if excluded(key) {
                token.0.fill(if key % 2 == 0 { f32::NAN } else { f32::INFINITY });
                token.1.fill(f32::NAN);
            }
        }
        let call = call.run();
        assert_eq!(call.out, clean.out, "{setup:?}");
        assert_eq!(call.lse, clean.lse, "{setup:?}");
        assert_eq!(call.dq, clean.dq, "{setup:?}");
        for (key, (dk, dv)) in call.dk.chunks(pitch).zip(call.dv.chunks(pitch)).enumerate() {
            let zero = dk.iter().chain(dv).all(|&g| g == 0.0);
            assert_eq!(zero, excluded(key), "{setup:?}: gradients of key {key}");
        }
    }
}

#[test]
fn a_masked_key_gets_nothing_of_a_nan_query() {
    for setup in setups() {
        let mask: Vec<f32> = (0..KEYS).map(|j| if j % 3 == 1 { 0.0 } else { 1.0 }).collect();
        let mut call = Call { mask: Some(mask), ..Call::new(setup) };
        call.q[3] = f32::NAN;
        let call = call.run();
        let expected: Vec<_> = (0..KEYS).map(|j| j % 3 != 1).collect();
        assert_eq!(call.broken(&call.dk, 0), Some(expected.clone()), "{setup:?}");
        assert_eq!(call.broken(&call.dv, 0), Some(expected), "{setup:?}");
    }
}

#[test]
fn a_query_without_keys_gives_zeros() {
    for setup in setups() {
        let call = Call { mask: Some(vec![0.0; KEYS]), ..Call::new(setup) }.run();
        assert!(call.lse.iter().all(|&l| l == f32::NEG_INFINITY), "{setup:?}");
        for x in [&call.out, &call.dq, &call.dk, &call.dv] {
            assert!(x.iter().all(|&x| x == 0.0), "{setup:?}");
        }
    }
}

#[test]
fn scores_far_apart_do_not_overflow() {
    for setup in setups() {
        let mut call = Call::new(setup);
        call.q.iter_mut().for_each(|q| *q *= 1e4);
        let call = call.run();
        for x in [&call.out, &call.lse, &call.dq, &call.dk, &call.dv] {
            assert!(x.iter().all(|x| x.is_finite()), "{setup:?}");
        }
    }
}

/// A negative factor is that of the negated queries, bit for bit; with the factor 0 all keys weigh the same, masked or
/// not.
#[test]
fn the_factor_may_have_any_sign() {
    for setup in setups() {
        let mut negated = Call::new(setup);
        negated.q.iter_mut().for_each(|q| *q = -*q);
        let (negated, call) = (negated.run(), Call { scale: -1.0 / 3.0, ..Call::new(setup) }.run());
        assert_eq!((&call.out, &call.lse, &call.dk), (&negated.out, &negated.lse, &negated.dk), "{setup:?}");
        let mask = (0..KEYS).map(|j| if j % 2 == 0 { 0.0 } else { 1.0 }).collect();
        let call = Call { scale: 0.0, mask: Some(mask), ..Call::new(setup) }.run();
        let lse = (KEYS as f32 / 2.0).ln();
        assert!(call.lse.iter().all(|l| (l - lse).abs() < 1e-5), "{setup:?}: {:?}, expected {lse}", call.lse);
        assert!(call.out.iter().chain(&call.dv).all(|x| x.is_finite()), "{setup:?}");
    }
}

/// Results that are stored in f32 are those that are stored in bf16 before their last rounding.
#[test]
fn operands_of_different_types_mix() {
    let rounded = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect::<Vec<_>>();
    for setup in setups() {
        let narrow = Call { dtypes: [DType::Bf16; 2], ..Call::new(setup) }.run();
        let gradients = Call { dtypes: [DType::Bf16, DType::F32], ..Call::new(setup) }.run();
        let wide = Call { dtypes: [DType::F32; 2], ..Call::new(setup) }.run();
        assert_eq!((&narrow.out, &narrow.lse), (&rounded(&wide.out), &wide.lse), "{setup:?}");
        for (narrow, wide) in [(narrow.dq, gradients.dq), (narrow.dk, gradients.dk), (narrow.dv, gradients.dv)] {
            assert!(wide != rounded(&wide), "{setup:?}");
            assert_eq!(narrow, rounded(&wide), "{setup:?}");
        }
    }
}

#[test]
fn a_mask_of_another_length_is_refused() {
    let (len, dims) = (2 * 3 * 5, Dims { batch: 1, heads: 2, queries: 3, keys: 3, width: 5 });
    let (x, mut out, mut lse) = (vec![0.0; len], vec![0.0; len], vec![0.0; 6]);
    let args = Forward {
        q: In::F32(&x),
        k: In::F32(&x),
        v: In::F32(&x),
        key_mask: Some(In::F32(&x[..4])),
        out: Out::F32(&mut out),
        lse: Out::F32(&mut lse),
        dims,
        scale: 1.0,
    };
    let error = forward(&Runtime::cpu(), args).unwrap_err();
    assert_eq!(error, Error::Length { op: "attention", operand: "key_mask", expected: 3, got: 4 });
}
