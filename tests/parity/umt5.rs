//! A `UMT5EncoderModel` with token ids and masks, hidden states, and the buckets of distances.

use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::{Device, Tensor};
use flg_model::umt5::{Buckets, Umt5};

use super::report::Report;
use super::tensors::{Array, Tensors};

const FORWARD: f64 = 5e-5;

pub fn check(folder: &Path, device: &Device, report: &mut Report) {
    report.device(device);
    let mut umt5 = Umt5::open(folder).unwrap();
    let read = |name: &str| Tensors::read(&folder.join(name));
    let (inputs, outputs, activations) =
        (read("inputs.safetensors"), read("outputs.safetensors"), read("activations.safetensors"));
    let sequences = sequences(&inputs);
    let mut hidden = Vec::new();
    let mut see = |done: flg_model::BlockDone<'_>| {
        hidden.push(done.hidden.clone());
        ControlFlow::Continue(())
    };
    let last = umt5.forward(&sequences, device, &mut see).unwrap();

    let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
    let got: Vec<f32> = last.iter().flat_map(Tensor::to_vec).collect();
    for name in ["last_hidden_state", "prompt_embeds"] {
        report.close(name, &got, &valid_rows(&outputs[name], &lengths), FORWARD);
    }
    for (block, hidden) in hidden[1..].iter().enumerate() {
        let name = format!("encoder.block.{block}");
        check_block(&name, hidden, &activations[&name], &lengths, inputs["input_ids"].shape[1], report);
    }
    let captured = &activations["relative_position_bucket"];
    let len = captured.shape[1] as isize;
    let buckets = Buckets::new(umt5.config());
    let of_row = |query: isize| (0..len).map(move |key| buckets.of(key - query) as f32);
    let got: Vec<f32> = [0, len / 2, len - 1].into_iter().flat_map(of_row).collect();
    report.close("relative_position_bucket", &got, &captured.values, 0.0);
}

/// The tokens that the mask leaves: padding is at the end.
fn sequences(inputs: &Tensors) -> Vec<Vec<usize>> {
    let (ids, mask) = (&inputs["input_ids"], &inputs["attention_mask"]);
    let rows = ids.values.chunks(ids.shape[1]).zip(mask.values.chunks(ids.shape[1]));
    let sequence = |(ids, mask): (&[f32], &[f32])| {
        let len = mask.iter().filter(|&&m| m == 1.0).count();
        assert!(mask[..len].iter().all(|&m| m == 1.0), "padding in front of tokens");
        ids[..len].iter().map(|&id| id as usize).collect()
    };
    rows.map(sequence).collect()
}

/// Of `[batch, rows, d]` the first rows of each item.
fn valid_rows(padded: &Array, lengths: &[usize]) -> Vec<f32> {
    let [_, rows, d] = padded.shape[..] else { panic!("a hidden state of shape {:?}", padded.shape) };
    let items = padded.values.chunks(rows * d).zip(lengths);
    items.flat_map(|(item, len)| &item[..len * d]).copied().collect()
}

/// Captures hold rows 0, 1, 5, middle and last of the padded sequence; of padding there is nothing to compare.
fn check_block(name: &str, hidden: &Tensor, captured: &Array, lengths: &[usize], padded: usize, report: &mut Report) {
    let (d, rows) = (hidden.dims()[1], [0, 1, 5, padded / 2, padded - 1]);
    let ours = hidden.to_vec();
    let (mut got, mut want, mut start) = (Vec::new(), Vec::new(), 0);
    for (item, &len) in lengths.iter().enumerate() {
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| **row < len) {
            got.extend_from_slice(&ours[(start + row) * d..][..d]);
            want.extend_from_slice(&captured.values[(item * rows.len() + at) * d..][..d]);
        }
        start += len;
    }
    let size = want.iter().fold(1.0, |max: f64, x| max.max(f64::from(x.abs())));
    report.close(name, &got, &want, FORWARD * size);
}
