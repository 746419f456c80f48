//! Micro-batches: parts of a batch, each with a tape of its own, at the same time on as many threads as there are.
//!
//! Small networks do not fill a core with one operation at a time; two whole passes side by side do. Every part has
//! gradients of its own, which are added in the order of the parts: the bits do not depend on the threads.
//!
//! Parts of a large network follow each other and add to the same gradients, which are as large as its weights.

use flg_engine::{Grads, ParamStore};

use super::learner::Learner;
use crate::error::Result;

/// Bytes of weights from which on parts follow each other: such a network fills all cores by itself.
const LARGE: usize = 256 << 20;

/// Runs `body` for each of `count` parts; returns what they return, in order, and the sum of the gradients that they
/// make.
///
/// # Errors
/// The first error, in the order of the parts.
pub fn run<T: Send>(
    count: usize,
    learner: &Learner,
    body: impl Fn(usize, &mut Grads) -> Result<T> + Sync,
) -> Result<(Vec<T>, Grads)> {
    let (store, none) = (&learner.weights, || learner.no_gradients());
    if is_large(store) { one_by_one(count, none, body) } else { side_by_side(count, store, none, body) }
}

/// Runs `body`, which makes no gradients, for each of `count` parts of what the network of these weights does; returns
/// what they return, in order.
pub fn each<T: Send>(count: usize, store: &ParamStore, body: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    if is_large(store) { (0..count).map(body).collect() } else { store.device().pool().side_by_side(count, body) }
}

/// Whether parts of what the network of these weights does follow each other.
pub fn is_large(store: &ParamStore) -> bool {
    store.bytes() >= LARGE
}

fn one_by_one<T>(
    count: usize,
    none: impl Fn() -> Grads,
    body: impl Fn(usize, &mut Grads) -> Result<T>,
) -> Result<(Vec<T>, Grads)> {
    let mut sum = none();
    let values = (0..count).map(|i| body(i, &mut sum)).collect::<Result<_>>()?;
    Ok((values, sum))
}

fn side_by_side<T: Send>(
    count: usize,
    store: &ParamStore,
    none: impl Fn() -> Grads + Sync,
    body: impl Fn(usize, &mut Grads) -> Result<T> + Sync,
) -> Result<(Vec<T>, Grads)> {
    let part = |i: usize| {
        let mut grads = none();
        body(i, &mut grads).map(|value| (value, grads))
    };
    let parts = store.device().pool().side_by_side(count, part);
    let (mut values, mut sum) = (Vec::with_capacity(count), none());
    for part in parts {
        let (value, grads) = part?;
        values.push(value);
        sum.add_all(grads)?;
    }
    Ok((values, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Cx, Device, Key, Tensor};

    #[test]
    fn the_sum_has_the_same_bits_on_any_number_of_threads() {
        let device = Device::cpu();
        let mut store = ParamStore::new(&device);
        let w = store.insert("w", Key::new(1).normal(&device, [33]).unwrap()).unwrap();
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let body = |i: usize, grads: &mut Grads| {
                let cx = Cx::training(&store);
                let x = Key::new(2).at(i as u64).normal(&device, [33])?;
                let y = cx.multiply(&cx.input(x), &cx.param(w))?;
                let loss = cx.mse(&y, &Tensor::zeros(&device, [33]).unwrap())?;
                let value = f64::from(loss.value().item()?);
                cx.backward(&loss, 1.0, grads)?;
                Ok(value)
            };
            let (value, grads) = pool.install(|| side_by_side(5, &store, || Grads::new(&store), body)).unwrap();
            let (again, sum) = pool.install(|| one_by_one(5, || Grads::new(&store), body)).unwrap();
            // The same numbers, added in the same order, but each rounded with the sum so far.
            assert_eq!(value, again);
            for (a, b) in grads.get(w).unwrap().to_vec().iter().zip(sum.get(w).unwrap().to_vec()) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} {b}");
            }
            (
                value.iter().map(|x: &f64| x.to_bits()).collect::<Vec<_>>(),
                grads.get(w).unwrap().to_vec().iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            )
        };
        let one = bits(1);
        assert_eq!(one, bits(2));
        assert_eq!(one, bits(3));
    }
}
