//! What the catalog's random problems cannot ask: where a NaN goes, what a mask hides, and what is refused.

use super::{Backward, Dims, Forward, backward, forward};
use crate::catalog::operands;
use crate::{Error, In, Out, Runtime};

const DIMS: Dims = Dims { batch: 1, heads: 2, queries: 21, keys: 150, width: 9 };
const QUERY_LEN: usize = 21 * 2 * 9;
const KEY_LEN: usize = 150 * 2 * 9;

/// The operands of one call, and its results after [`Call::run`].
struct Call {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mask: Option<Vec<f32>>,
    out: Vec<f32>,
    lse: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl Call {
    fn new() -> Self {
        let (q, k, v) = (operands(5, 0, QUERY_LEN), operands(5, 1, KEY_LEN), operands(5, 2, KEY_LEN));
        let [out, dq] = [0, 1].map(|_| vec![777.0; QUERY_LEN]);
        let [dk, dv] = [0, 1].map(|_| vec![777.0; KEY_LEN]);
        Call { q, k, v, mask: None, out, lse: vec![777.0; 2 * 21], dq, dk, dv }
    }

    /// Forward, then backward for the gradient 1.
    fn run(mut self) -> Self {
        let (dims, scale) = (DIMS, 1.0 / 3.0);
        let (q, k, v) = (In::F32(&self.q), In::F32(&self.k), In::F32(&self.v));
        let key_mask = self.mask.as_deref().map(In::F32);
        let (out, lse) = (Out::F32(&mut self.out), Out::F32(&mut self.lse));
        forward(&Runtime::cpu(), Forward { q, k, v, key_mask, out, lse, dims, scale }).unwrap();
        let (out, lse, dout) = (In::F32(&self.out), In::F32(&self.lse), vec![1.0; QUERY_LEN]);
        let [dq, dk, dv] = [&mut self.dq, &mut self.dk, &mut self.dv].map(|g| Out::F32(g));
        let dout = In::F32(&dout);
        let args = Backward { q, k, v, key_mask, out, lse, dout, dq, dk, dv, dims, scale };
        backward(&Runtime::cpu(), args).unwrap();
        self
    }
}

/// Which tokens of head `head` are not finite, one flag a token; `None` if a token is so only in part.
fn broken(x: &[f32], head: usize) -> Option<Vec<bool>> {
    let tokens = x.chunks(18).map(|token| {
        let broken = token[head * 9..][..9].iter().filter(|x| !x.is_finite()).count();
        (broken == 0 || broken == 9).then_some(broken == 9)
    });
    tokens.collect()
}

fn only(token: usize, tokens: usize) -> Option<Vec<bool>> {
    Some((0..tokens).map(|t| t == token).collect())
}

#[test]
fn a_nan_query_reaches_its_own_row_and_every_key() {
    for query in [0, 5, 20] {
        let mut call = Call::new();
        call.q[query * 18 + 4] = f32::NAN;
        let call = call.run();
        assert_eq!(broken(&call.out, 0), only(query, 21), "out of query {query}");
        assert_eq!(broken(&call.dq, 0), only(query, 21), "dq of query {query}");
        assert_eq!(broken(&call.dk, 0), Some(vec![true; 150]), "dk of query {query}");
        assert_eq!(broken(&call.dv, 0), Some(vec![true; 150]), "dv of query {query}");
        for x in [&call.out, &call.dq, &call.dk, &call.dv] {
            assert!(!broken(x, 1).unwrap().contains(&true), "the other head");
        }
        let nan: Vec<_> = (0..42).filter(|&i| call.lse[i].is_nan()).collect();
        assert_eq!(nan, [query]);
    }
}

#[test]
fn a_nan_key_reaches_every_query_wherever_it_stands() {
    for key in [0, 1, 15, 127, 128, 149] {
        let mut call = Call::new();
        call.k[key * 18 + 9] = f32::NAN;
        let call = call.run();
        assert_eq!(broken(&call.out, 1), Some(vec![true; 21]), "key {key}");
        assert_eq!(broken(&call.dq, 1), Some(vec![true; 21]), "key {key}");
        assert!(!broken(&call.out, 0).unwrap().contains(&true), "the other head");
    }
}

#[test]
fn a_nan_value_reaches_its_own_column() {
    for key in [0, 127, 128, 149] {
        let mut call = Call::new();
        call.v[key * 18 + 7] = f32::NAN;
        let call = call.run();
        for (i, out) in call.out.iter().enumerate() {
            assert_eq!(out.is_nan(), i % 18 == 7, "key {key}, element {i}");
        }
        assert!(call.lse.iter().all(|l| l.is_finite()));
    }
}

#[test]
fn a_masked_key_is_not_looked_at() {
    let mask: Vec<f32> = (0..150).map(|j| if j % 3 == 1 { 0.0 } else { 1.0 }).collect();
    let clean = Call { mask: Some(mask.clone()), ..Call::new() }.run();
    let mut call = Call { mask: Some(mask), ..Call::new() };
    for (key, token) in call.k.chunks_mut(18).zip(call.v.chunks_mut(18)).enumerate().filter(|(j, _)| j % 3 == 1) {
        token.0.fill(if key % 2 == 0 { f32::NAN } else { f32::INFINITY });
        token.1.fill(f32::NAN);
    }
    let call = call.run();
    assert_eq!(call.out, clean.out);
    assert_eq!(call.dq, clean.dq);
    for (key, (dk, dv)) in call.dk.chunks(18).zip(call.dv.chunks(18)).enumerate() {
        let zero = dk.iter().chain(dv).all(|&g| g == 0.0);
        assert_eq!(zero, key % 3 == 1, "gradients of key {key}");
    }
}

#[test]
fn a_query_without_keys_gives_zeros() {
    let call = Call { mask: Some(vec![0.0; 150]), ..Call::new() }.run();
    assert!(call.lse.iter().all(|&l| l == f32::NEG_INFINITY));
    for x in [&call.out, &call.dq, &call.dk, &call.dv] {
        assert!(x.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn scores_far_apart_do_not_overflow() {
    let mut call = Call::new();
    call.q.iter_mut().for_each(|q| *q *= 1e4);
    let call = call.run();
    for x in [&call.out, &call.lse, &call.dq, &call.dk, &call.dv] {
        assert!(x.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_mask_of_another_length_is_refused() {
    let call = Call::new();
    let (mut out, mut lse) = (call.out.clone(), call.lse.clone());
    let args = Forward {
        q: In::F32(&call.q),
        k: In::F32(&call.k),
        v: In::F32(&call.v),
        key_mask: Some(In::F32(&call.q[..149])),
        out: Out::F32(&mut out),
        lse: Out::F32(&mut lse),
        dims: DIMS,
        scale: 1.0,
    };
    let error = forward(&Runtime::cpu(), args).unwrap_err();
    assert_eq!(error, Error::Length { op: "attention", operand: "key_mask", expected: 150, got: 149 });
}
