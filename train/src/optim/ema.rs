//! A moving average of weights: what is evaluated and exported.

use flg_engine::{Error, ParamId, ParamStore, Result};

/// The decay of update `number` (from 1): `min(decay, (1 + n) / (10 + n))`, so that the start is forgotten.
pub fn decay_at(decay: f64, number: u64) -> f64 {
    let n = number as f64;
    decay.min((1.0 + n) / (10.0 + n))
}

/// `average = decay * average + (1 - decay) * weights`, every parameter.
///
/// # Errors
/// Stores of different networks.
pub fn update(average: &mut ParamStore, weights: &ParamStore, decay: f64) -> Result<()> {
    expect_same(average, weights)?;
    for i in 0..weights.len() {
        let id = ParamId::from_index(i);
        average.get_mut(id).average_with(weights.get(id), decay as f32)?;
    }
    Ok(())
}

/// Refuses the average of a network with another number of parameters.
pub(super) fn expect_same(average: &ParamStore, weights: &ParamStore) -> Result<()> {
    if average.len() == weights.len() {
        return Ok(());
    }
    Err(Error::ParamCount { op: "ema", expected: weights.len(), got: average.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Device, Tensor};

    #[test]
    fn it_follows_the_weights_at_the_rate_of_its_decay() {
        let device = Device::cpu();
        let store = |value| {
            let mut store = ParamStore::new(&device);
            store.insert("w", Tensor::full(&device, value, [3]).unwrap()).unwrap();
            store
        };
        let mut average = store(0.0);
        update(&mut average, &store(8.0), 0.75).unwrap();
        assert_eq!(average.get(ParamId::from_index(0)).to_vec(), [2.0; 3]);
        assert_eq!(decay_at(0.999, 1), 2.0 / 11.0);
        assert_eq!(decay_at(0.999, 1_000_000), 0.999);
        assert!(update(&mut average, &ParamStore::new(&device), 0.5).is_err());
    }
}
