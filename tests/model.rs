//! What the transformer promises about masks, resuming, checkpointing, its files and its fresh weights.

use flg_engine::{Cx, Device, Grads, Key, ParamStore, SavedAs, Tensor};
use flg_model::checkpoint::{self, Provenance};
use flg_model::{BlockMask, Checkpoint, Checkpointing, Error, FewStep, Inputs, Rule, Time, Wan, WanConfig, extract};

const LATENTS: [usize; 5] = [2, 3, 3, 4, 6];
const ROWS: usize = 5;

fn config() -> WanConfig {
    WanConfig {
        num_attention_heads: 2,
        attention_head_dim: 10,
        in_channels: 3,
        out_channels: 3,
        text_dim: 7,
        freq_dim: 16,
        ffn_dim: 26,
        num_layers: 4,
        ..WanConfig::default()
    }
}

/// The same that attends to two images a sample, of 3 rows each.
fn with_images() -> WanConfig {
    let d = config().inner_dim();
    WanConfig { image_dim: Some(9), added_kv_proj_dim: Some(d), pos_embed_seq_len: Some(6), ..config() }
}

/// A network whose every parameter matters: fresh ones have a zero head and zero biases.
fn network(config: WanConfig) -> (Wan, ParamStore) {
    let mut weights = ParamStore::new(&Device::cpu());
    let wan = Wan::init(config, &mut weights, Key::new(1)).unwrap();
    let noise = |name: &str, shape| Key::new(2).name(name).normal(weights.device(), shape).unwrap();
    let changes: Vec<_> = weights.iter().map(|(id, name, value)| (id, noise(name, value.shape()))).collect();
    for (id, change) in changes {
        weights.get_mut(id).accumulate(0.1, &change).unwrap();
    }
    (wan, weights)
}

fn drawn(name: &str, shape: impl Into<flg_engine::Shape>) -> Tensor {
    Key::new(3).name(name).normal(&Device::cpu(), shape).unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_vec().iter().map(|x| x.to_bits()).collect()
}

fn run(wan: &Wan, weights: &ParamStore, time: &Time, mask: &BlockMask) -> Tensor {
    let cx = Cx::inference(weights);
    let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
    wan.forward(&cx, &Inputs { latents: &latents, time, text: &text, image: None }, mask).unwrap().value().clone()
}

fn time() -> Time {
    Time::first_frame_clean(&[800.0, 33.0], 3)
}

#[test]
fn the_masked_and_the_extracted_network_agree_bit_for_bit() {
    let (wan, weights) = network(config());
    let masks: [&[usize]; 4] = [&[], &[0], &[1, 3], &[0, 1, 2, 3]];
    let mut outputs = Vec::new();
    for removed in masks {
        let mask = BlockMask::without(4, removed).unwrap();
        let masked = run(&wan, &weights, &time(), &mask);
        let (small, store) = extract(wan.config(), &weights, &mask).unwrap();
        assert_eq!(small.num_layers, 4 - removed.len());
        let small = Wan::bind(small, &store).unwrap();
        let extracted = run(&small, &store, &time(), &BlockMask::all(4 - removed.len()));
        assert_eq!(bits(&masked), bits(&extracted), "without {removed:?}");
        outputs.push(bits(&masked));
    }
    outputs.dedup();
    assert_eq!(outputs.len(), masks.len(), "every mask must change the output");
    assert!(matches!(extract(wan.config(), &weights, &BlockMask::all(3)), Err(Error::BlockMask { got: 3, layers: 4 })));
}

#[test]
fn a_skipped_block_is_the_identity_and_a_full_mask_skips_none() {
    let (wan, weights) = network(config());
    let cx = Cx::inference(&weights);
    let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
    let embedded = wan.embed(&cx, &Inputs { latents: &latents, time: &time(), text: &text, image: None }).unwrap();
    let x = embedded.tokens.clone();
    let all = BlockMask::all(4);
    let skipped = wan.blocks(&cx, &embedded, x.clone(), 2..3, &BlockMask::without(4, &[2]).unwrap()).unwrap();
    assert_eq!(bits(skipped.value()), bits(x.value()));
    let mut stream = x.clone();
    for block in 0..4 {
        let next = wan.blocks(&cx, &embedded, stream.clone(), block..block + 1, &all).unwrap();
        assert_ne!(bits(next.value()), bits(stream.value()), "block {block} does nothing");
        stream = next;
    }
    let one_by_one = wan.head(&cx, &embedded, &stream).unwrap();
    assert_eq!(bits(one_by_one.value()), bits(&run(&wan, &weights, &time(), &all)));
}

#[test]
fn resuming_in_front_of_any_block_changes_no_bit() {
    let (wan, weights) = network(config());
    let mask = BlockMask::without(4, &[1]).unwrap();
    let direct = bits(&run(&wan, &weights, &time(), &mask));
    let cx = Cx::inference(&weights);
    let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
    let mut embedded = wan.embed(&cx, &Inputs { latents: &latents, time: &time(), text: &text, image: None }).unwrap();
    for precomputed in [false, true] {
        if precomputed {
            embedded.text = wan.embed_text_for(&cx, &text, None, &mask).unwrap();
        }
        for at in 0..=4 {
            let prefix = wan.blocks(&cx, &embedded, embedded.tokens.clone(), 0..at, &mask).unwrap();
            let x = wan.blocks(&cx, &embedded, prefix, at..4, &mask).unwrap();
            assert_eq!(bits(wan.head(&cx, &embedded, &x).unwrap().value()), direct, "at {at}");
        }
    }
    assert!(matches!(wan.blocks(&cx, &embedded, embedded.tokens.clone(), 3..5, &mask), Err(Error::BlockIndex { .. })));
}

#[test]
fn what_runs_in_one_pass_has_the_bits_of_what_runs_apart() {
    let (wan, mut weights) = network(config());
    let all = BlockMask::all(4);
    let forward = |cx: &Cx<'_>, probed: bool| {
        let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
        let inputs = Inputs { latents: &latents, time: &time(), text: &text, image: None };
        let mut names = Vec::new();
        let mut see = |name: &str, _: &Tensor| names.push(name.to_owned());
        let y = if probed { wan.forward_probed(cx, &inputs, &all, &mut see) } else { wan.forward(cx, &inputs, &all) };
        (bits(y.unwrap().value()), names)
    };
    // A probe asks for what one pass never writes: norm and rotation run apart.
    let (apart, names) = forward(&Cx::inference(&weights), true);
    for name in ["norm_q", "norm_k"].map(|norm| format!("blocks.3.attn1.{norm}")) {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(forward(&Cx::inference(&weights), false).0, apart);
    assert_eq!(forward(&Cx::training(&weights), false).0, apart);
    weights.prepack().unwrap();
    assert_eq!(forward(&Cx::inference(&weights), false).0, apart);
}

#[test]
fn checkpointing_changes_no_bit_of_output_or_gradient() {
    for config in [config(), with_images()] {
        checkpointing_changes_nothing(config);
    }
}

fn checkpointing_changes_nothing(config: WanConfig) {
    let (wan, weights) = network(config);
    let mask = BlockMask::without(4, &[2]).unwrap();
    let run = |checkpointing| {
        let wan = wan.clone().with_checkpointing(checkpointing);
        let cx = Cx::training(&weights);
        let mut inputs = vec![drawn("latents", LATENTS), drawn("text", [2, ROWS, 7])];
        inputs.extend(wan.config().image_dim.map(|width| drawn("image", [4, 3, width])));
        let inputs: Vec<_> = inputs.into_iter().map(|x| cx.watched_input(x)).collect();
        let given = Inputs { latents: &inputs[0], time: &time(), text: &inputs[1], image: inputs.get(2) };
        let y = wan.forward(&cx, &given, &mask).unwrap();
        let saved: usize = cx.saved_bytes().iter().map(|(_, bytes)| bytes).sum();
        let mut grads = Grads::new(&weights);
        let input_grads = cx.vjp(&y, drawn("dy", LATENTS), &mut grads).unwrap();
        let mut all: Vec<_> = grads.iter().map(|(id, g)| (weights.name(id).to_owned(), bits(g))).collect();
        all.extend(inputs.iter().map(|input| ("input".to_owned(), bits(input_grads.get(input).unwrap()))));
        (bits(y.value()), all, saved)
    };
    let (y, grads, saved) = run(Checkpointing::Off);
    let (y_again, grads_again, saved_again) = run(Checkpointing::PerBlock);
    assert_eq!(y, y_again);
    for (a, b) in grads.iter().zip(&grads_again) {
        assert_eq!(a, b);
    }
    let of_skipped = weights.iter().filter(|(_, name, _)| name.starts_with("blocks.2.")).count();
    let inputs = 2 + usize::from(wan.config().image_dim.is_some());
    assert_eq!([grads.len(), grads_again.len()], [weights.len() - of_skipped + inputs; 2]);
    assert!(saved_again * 3 < saved, "{saved_again} against {saved} bytes kept");
}

#[test]
fn a_hidden_layer_in_pieces_changes_no_bit() {
    // 1.5 times what is there at a time, and rows that the pieces do not divide.
    let (rows, ffn) = (2 * 3 * 2 * 3, 1 << 20);
    let (wan, weights) =
        network(WanConfig { num_attention_heads: 1, attention_head_dim: 6, ffn_dim: ffn, num_layers: 1, ..config() });
    assert!(rows * ffn * 4 > 128 << 20);
    let mask = BlockMask::all(1);
    let pieces = run(&wan, &weights, &time(), &mask);
    let cx = Cx::training(&weights);
    let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
    let inputs = Inputs { latents: &latents, time: &time(), text: &text, image: None };
    assert_eq!(bits(&pieces), bits(wan.forward(&cx, &inputs, &mask).unwrap().value()));
}

#[test]
fn images_come_one_by_one_or_together_and_only_where_they_are_taken() {
    let (wan, weights) = network(with_images());
    let mask = BlockMask::all(4);
    let cx = Cx::inference(&weights);
    let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
    let images = drawn("image", [4, 3, 9]);
    let run = |wan: &Wan, cx: &Cx<'_>, image: Option<Tensor>| {
        let image = image.map(|image| cx.input(image));
        let given = Inputs { latents: &latents, time: &time(), text: &text, image: image.as_ref() };
        wan.forward(cx, &given, &mask).map(|y| bits(y.value()))
    };
    let y = run(&wan, &cx, Some(images.clone())).unwrap();
    assert_eq!(run(&wan, &cx, Some(images.reshape([2, 6, 9]).unwrap())).unwrap(), y);
    assert_ne!(run(&wan, &cx, Some(images.scale(2.0).unwrap())).unwrap(), y);
    // Keys and values that are computed once are those of every step.
    let image = cx.input(images.clone());
    let known = wan.embed_text_for(&cx, &text, Some(&image), &mask).unwrap();
    let embedded = wan.embed_latents(&cx, &latents, &time(), known).unwrap();
    let x = wan.blocks(&cx, &embedded, embedded.tokens.clone(), 0..4, &mask).unwrap();
    assert_eq!(bits(wan.head(&cx, &embedded, &x).unwrap().value()), y);

    let refused = |image: Option<Tensor>| run(&wan, &cx, image).unwrap_err().to_string();
    assert_eq!(refused(None), "image embedding: the network attends to an image");
    assert!(refused(Some(drawn("image", [4, 3, 8]))).contains("its width is not image_dim"));
    assert!(refused(Some(drawn("image", [2, 4, 9]))).contains("pos_embed_seq_len"));
    assert!(refused(Some(drawn("image", [6, 3, 9]))).contains("image"));
    let (plain, others) = network(config());
    let refusal = run(&plain, &Cx::inference(&others), Some(images)).unwrap_err().to_string();
    assert!(refusal.contains("the network takes no image"), "{refusal}");
}

/// The forward pass is the same bit for bit. On its way back a gradient passes, in each block, 13 values that were kept
/// (the inputs of two modulated norms, a norm, two RMS norms, two attentions' queries or values and results, four
/// products, an activation), and 3 around the blocks, each off by 2^-8 of itself at most; to first order the errors add
/// up. That bound is for errors that all point the same way: the floor shows that there are any.
#[test]
fn keeping_activations_in_bf16_moves_gradients_by_their_rounding() {
    let (wan, weights) = network(config());
    let mask = BlockMask::all(4);
    for checkpointing in [Checkpointing::Off, Checkpointing::PerBlock] {
        let wan = wan.clone().with_checkpointing(checkpointing);
        let run = |saved_as| {
            let cx = Cx::training(&weights).with_saved(saved_as);
            let (latents, text) = (cx.input(drawn("latents", LATENTS)), cx.input(drawn("text", [2, ROWS, 7])));
            let inputs = Inputs { latents: &latents, time: &time(), text: &text, image: None };
            let y = wan.forward(&cx, &inputs, &mask).unwrap();
            let saved: usize = cx.saved_bytes().iter().map(|(_, bytes)| bytes).sum();
            let mut grads = Grads::new(&weights);
            cx.vjp(&y, drawn("dy", LATENTS), &mut grads).unwrap();
            (bits(y.value()), grads.iter().flat_map(|(_, g)| g.to_vec()).collect::<Vec<_>>(), saved)
        };
        let ((y, exact, all), (y_again, got, less)) = (run(SavedAs::Computed), run(SavedAs::Bf16));
        assert_eq!(y, y_again);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let off = norm(&mut exact.iter().zip(&got).map(|(a, b)| f64::from(a - b)));
        let share = off / norm(&mut exact.iter().map(|&x| f64::from(x)));
        let bound = f64::from(4 * 13 + 3) / 256.0;
        assert!((1e-4..bound).contains(&share), "{checkpointing:?}: gradients moved by {share} of their norm");
        if checkpointing == Checkpointing::Off {
            assert!(less * 10 < all * 6, "{less} of {all} bytes are kept");
        }
    }
}

#[test]
fn times_of_frames_and_of_samples_agree_where_they_are_equal() {
    let (wan, weights) = network(config());
    let all = BlockMask::all(4);
    let clean = run(&wan, &weights, &Time::first_frame_clean(&[0.0, 0.0], 3), &all);
    assert_eq!(bits(&clean), bits(&run(&wan, &weights, &Time::per_sample(&[0.0, 0.0]), &all)));
    assert_ne!(bits(&clean), bits(&run(&wan, &weights, &time(), &all)));
}

#[test]
fn fresh_weights_depend_on_name_and_key_only_and_predict_zero() {
    let device = Device::cpu();
    let fresh = |layers, seed| {
        let mut weights = ParamStore::new(&device);
        let wan = Wan::init(WanConfig { num_layers: layers, ..config() }, &mut weights, Key::new(seed)).unwrap();
        (wan, weights)
    };
    let (wan, weights) = fresh(4, 7);
    let value = |weights: &ParamStore, name: &str| weights.get(weights.id(name).unwrap()).to_vec();
    let name = "blocks.1.ffn.net.0.proj.weight";
    assert_eq!(value(&weights, name), value(&fresh(2, 7).1, name));
    assert_ne!(value(&weights, name), value(&fresh(4, 8).1, name));
    let bound = (6.0f64 / (20 + 26) as f64).sqrt() as f32;
    let drawn = value(&weights, name);
    let largest = drawn.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    assert!(largest <= bound && largest > 0.95 * bound, "{largest} of {bound}");
    assert!(run(&wan, &weights, &time(), &BlockMask::all(4)).to_vec().iter().all(|&v| v == 0.0));
    assert_eq!(weights.elements(), config().parameter_count());
}

#[test]
fn wrong_inputs_are_errors() {
    let (wan, weights) = network(config());
    let refused = |latents: [usize; 5], text: [usize; 3], time: &Time, layers| {
        let cx = Cx::inference(&weights);
        let (latents, text) = (cx.input(drawn("x", latents)), cx.input(drawn("t", text)));
        wan.forward(&cx, &Inputs { latents: &latents, time, text: &text, image: None }, &BlockMask::all(layers))
            .unwrap_err()
    };
    let one = Time::per_sample(&[5.0]);
    assert!(matches!(refused([1, 2, 3, 4, 6], [1, 5, 7], &one, 4), Error::Latents { .. }));
    assert!(matches!(refused([1, 3, 3, 5, 6], [1, 5, 7], &one, 4), Error::Latents { .. }));
    assert!(matches!(refused([1, 3, 1025, 2, 2], [1, 5, 7], &one, 4), Error::Latents { .. }));
    assert!(matches!(refused([2, 3, 3, 4, 6], [2, 5, 7], &one, 4), Error::Times { .. }));
    assert!(matches!(refused([1, 3, 3, 4, 6], [2, 5, 7], &one, 4), Error::Engine(_)));
    assert!(matches!(refused([1, 3, 3, 4, 6], [1, 5, 8], &one, 4), Error::Engine(_)));
    assert!(matches!(refused([1, 3, 3, 4, 6], [1, 5, 7], &one, 3), Error::BlockMask { got: 3, layers: 4 }));
}

#[test]
fn every_missing_extra_and_misshapen_tensor_is_listed() {
    let (wan, weights) = network(config());
    let mut other = ParamStore::new(weights.device());
    for (_, name, value) in weights.iter() {
        match name {
            "proj_out.bias" | "blocks.2.attn1.to_k.weight" => {}
            "blocks.0.norm2.bias" => drop(other.insert(name, Tensor::zeros(weights.device(), [3]).unwrap()).unwrap()),
            _ => drop(other.insert(name, value.clone()).unwrap()),
        }
    }
    other.insert("blocks.9.extra", Tensor::zeros(weights.device(), [1]).unwrap()).unwrap();
    other.insert("blocks.0.attn2.norm_added_q.weight", Tensor::zeros(weights.device(), [20]).unwrap()).unwrap();
    let Err(Error::Parameters(mismatch)) = Wan::bind(wan.config().clone(), &other) else { panic!("accepted") };
    assert_eq!(mismatch.missing, ["blocks.2.attn1.to_k.weight", "proj_out.bias"]);
    assert_eq!(mismatch.extra, ["blocks.9.extra"]);
    assert_eq!(mismatch.misshapen, [("blocks.0.norm2.bias".to_owned(), [20].into(), [3].into())]);
    assert_eq!(
        mismatch.to_string(),
        "missing blocks.2.attn1.to_k.weight, proj_out.bias; extra blocks.9.extra; \
         blocks.0.norm2.bias is [3], expected [20]"
    );
}

#[test]
fn configurations_go_there_and_back() {
    let config = WanConfig { cross_attn_norm: false, eps: 1e-5, ..config() };
    let text = config.to_json();
    assert!(text.contains("\"_class_name\": \"WanTransformer3DModel\""));
    assert_eq!(WanConfig::from_json(&text).unwrap(), config);
    // Absent entries have the class's defaults, unknown ones are ignored, no output channels mean as many as input.
    let sparse = WanConfig::from_json(r#"{"in_channels": 36, "out_channels": null, "clip_output": false}"#).unwrap();
    assert_eq!(sparse, WanConfig { in_channels: 36, out_channels: 36, ..WanConfig::default() });
}

#[test]
fn configurations_that_cannot_be_are_errors() {
    let refused = |text: &str| WanConfig::from_json(text).unwrap_err().to_string();
    assert_eq!(
        refused(r#"{"num_attention_heads": 0}"#),
        "configuration: num_attention_heads = 0: must be 1 to 1048576"
    );
    assert!(refused(r#"{"ffn_dim": 99999999999}"#).contains("ffn_dim"));
    assert!(refused(r#"{"num_layers": 1000000000}"#).contains("num_layers"));
    assert!(refused(r#"{"attention_head_dim": 15}"#).contains("even"));
    assert!(refused(r#"{"eps": -1}"#).contains("eps"));
    assert!(refused(r#"{"image_dim": 1280}"#).contains("added_kv_proj_dim = null: must be the width of a token"));
    assert!(refused(r#"{"image_dim": 0, "added_kv_proj_dim": 5120}"#).contains("image_dim = 0"));
    assert!(refused(r#"{"added_kv_proj_dim": 5120}"#).contains("added_kv_proj_dim = 5120"));
    assert!(refused(r#"{"pos_embed_seq_len": 514}"#).contains("pos_embed_seq_len = 514: needs image_dim"));
    assert!(refused(r#"{"_class_name": "HunyuanVideoTransformer3DModel"}"#).contains("HunyuanVideo"));
    assert!(refused(r#"{"architectures": ["UMT5EncoderModel"], "num_layers": 24}"#).contains("UMT5EncoderModel"));
    assert!(refused("[1, 2]").contains("configuration"));
    assert!(refused(r#"{"patch_size": [1, 2]}"#).contains("configuration"));
}

#[test]
fn a_checkpoint_goes_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (wan, weights) = network(config());
    let mask = BlockMask::without(4, &[1]).unwrap();
    let (small, store) = extract(wan.config(), &weights, &mask).unwrap();
    let few_step = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    let provenance = Provenance::of(&mask);
    let wan = Wan::bind(small, &store).unwrap();
    let saved = Checkpoint { wan, weights: store, shift: None, few_step: Some(few_step), provenance: Some(provenance) };
    saved.save(folder.path()).unwrap();
    // The transformer's own folder leads to the schedule that it was distilled for, too.
    for path in [folder.path().to_owned(), folder.path().join("transformer")] {
        let loaded = Checkpoint::load(&path, &Device::cpu()).unwrap();
        assert_eq!(loaded.wan.config(), saved.wan.config());
        assert_eq!(loaded.few_step, saved.few_step);
        assert_eq!(loaded.shift, Some(5.0));
        assert_eq!(loaded.provenance.as_ref().unwrap().kept_indices, [0, 2, 3]);
        for ((_, name, a), (_, other, b)) in loaded.weights.iter().zip(saved.weights.iter()) {
            assert_eq!((name, bits(a)), (other, bits(b)));
        }
    }
    let again = BlockMask::without(3, &[0]).unwrap();
    assert_eq!(saved.provenance.unwrap().pruned(&again).unwrap().kept_indices, [2, 3]);

    // Saving a teacher over it leaves nothing of the student.
    let (wan, weights) = network(config());
    Checkpoint { wan, weights, shift: Some(3.0), few_step: None, provenance: None }.save(folder.path()).unwrap();
    let loaded = Checkpoint::load(folder.path(), &Device::cpu()).unwrap();
    assert_eq!((loaded.shift, loaded.few_step, loaded.provenance), (Some(3.0), None, None));
}

#[test]
fn folders_that_are_no_checkpoint_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (wan, weights) = network(config());
    let few_step = FewStep::new(2, 5.0, Rule::Ode).unwrap();
    let checkpoint = Checkpoint { wan, weights, shift: None, few_step: Some(few_step), provenance: None };
    let refused = |at: &str| Checkpoint::load(folder.path().join(at), &Device::cpu()).unwrap_err().to_string();
    assert!(refused("nowhere").contains("nowhere: is no folder"));
    assert!(refused("").contains("holds neither"));
    checkpoint.save(folder.path()).unwrap();

    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(checkpoint::FEW_STEP, r#"{"sigmas": [0.5, 0.75], "shift": 5.0, "rule": "ode"}"#);
    assert!(refused("").contains("flg_few_step.json: schedule: levels must descend"), "{}", refused(""));
    checkpoint.save(folder.path()).unwrap();
    write("transformer/config.json", &WanConfig { ffn_dim: 27, ..config() }.to_json());
    assert!(refused("").contains("blocks.3.ffn.net.2.weight is [20, 26], expected [20, 27]"), "{}", refused(""));
    write("transformer/config.json", "{");
    assert!(refused("").contains("config.json"));
    std::fs::remove_file(folder.path().join("transformer/config.json")).unwrap();
    assert!(refused("").contains("config.json"));
    checkpoint.save(folder.path()).unwrap();
    std::fs::remove_file(folder.path().join(checkpoint::INDEX)).unwrap();
    assert!(refused("").contains("not written to its end"));
}
