//! Networks from strangers: headers that are well formed and lie, configurations of absurd sizes, weights that are no
//! numbers. Each is refused with a line that says why, without panic and without memory that the file does not justify.

mod allocations;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::{self, Info, StoredType};
use flg_engine::{Device, Key, ParamStore, Tensor};
use flg_model::checkpoint::{
    Conversion, Form, Keep, Layout, PipelineIndex, StoredNetwork, convert, save_network, save_network_as,
};
use flg_model::{Checkpoint, Wan, WanConfig};
use proptest::prelude::*;

fn small(config: &WanConfig) -> ParamStore {
    let mut weights = ParamStore::new(&Device::cpu());
    Wan::init(config.clone(), &mut weights, Key::new(7)).unwrap();
    weights
}

fn config() -> WanConfig {
    WanConfig {
        num_attention_heads: 2,
        attention_head_dim: 4,
        in_channels: 1,
        out_channels: 1,
        text_dim: 3,
        freq_dim: 4,
        ffn_dim: 5,
        num_layers: 2,
        ..WanConfig::default()
    }
}

/// A folder of an honest network, in two shards.
fn honest(dir: &Path) -> PathBuf {
    let folder = dir.join("transformer");
    save_network_as(&folder, &config(), &small(&config()), Form { dtype: None, shard: 4000 }).unwrap();
    StoredNetwork::open(&folder).unwrap();
    folder
}

/// The one line for which a path is refused, by everything that reads networks.
fn refused(path: &Path) -> String {
    allocations::forget();
    let load = |keep| StoredNetwork::open(path).and_then(|mut network| network.load(keep, &Device::cpu()).map(drop));
    let message = load(Keep::F32).expect_err("a hostile network was accepted").to_string();
    assert_eq!(load(Keep::Stored).unwrap_err().to_string(), message);
    assert_eq!(Checkpoint::load(path, &Device::cpu()).unwrap_err().to_string(), message);
    let target = tempfile::tempdir().unwrap();
    let conversion = Conversion { layout: Layout::Original, form: Form::default() };
    let unconverted = convert(path, target.path().join("w"), conversion, &mut |_, _| {}).unwrap_err().to_string();
    assert_eq!(unconverted, message);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing is left of a failed conversion");
    let largest = allocations::largest();
    assert!(largest <= allocations::MOST, "{message}: {largest} bytes at once");
    assert!(!message.contains('\n') && !message.contains(char::is_control), "{message:?}");
    message
}

#[test]
fn configurations_of_absurd_sizes_are_refused_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let folder = honest(dir.path());
    let file = folder.join("config.json");
    let good: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for (key, value) in [
        ("num_layers", "18446744073709551615"),
        ("num_layers", "4097"),
        ("num_layers", "-1"),
        ("num_layers", "2.5"),
        ("num_layers", "\"2\""),
        ("num_layers", "null"),
        ("num_attention_heads", "0"),
        ("num_attention_heads", "1048577"),
        ("attention_head_dim", "1048576"),
        ("attention_head_dim", "3"),
        ("ffn_dim", "1e30"),
        ("ffn_dim", "4611686018427387904"),
        ("in_channels", "1048576"),
        ("out_channels", "1048576"),
        ("patch_size", "[1048576, 1048576, 1048576]"),
        ("patch_size", "[1, 0, 2]"),
        ("patch_size", "[2, 2]"),
        ("patch_size", "[1, 2, 2, 2]"),
        ("text_dim", "0"),
        ("freq_dim", "99999999"),
        ("rope_max_seq_len", "1152921504606846976"),
        ("eps", "0"),
        ("eps", "1e999"),
        ("image_dim", "18446744073709551615"),
        ("pos_embed_seq_len", "1048577"),
        ("_class_name", "\"AutoencoderKLWan\""),
    ] {
        let mut bad = good.clone();
        let text = match serde_json::from_str(value) {
            Ok(value) => {
                bad[key] = value;
                bad.to_string()
            }
            // Numbers that JSON's reader refuses are put in as text.
            Err(_) => good.to_string().replacen(&format!("\"{key}\":"), &format!("\"{key}\":{value},\"_\":"), 1),
        };
        fs::write(&file, text).unwrap();
        let message = refused(&folder);
        assert!(message.contains("config.json"), "{key} = {value}: {message}");
    }
    for text in ["", "[]", "{", "7", "\u{feff}{}", "[[[[[[", "nul"] {
        fs::write(&file, text).unwrap();
        assert!(refused(&folder).contains("config.json"), "{text}");
    }
    fs::write(&file, "[".repeat(1 << 20)).unwrap();
    assert!(refused(&folder).contains("recursion limit"));
}

/// A single file with a header of these tensors, all of one value.
fn single(path: &Path, entries: &[(&str, &[usize])]) {
    let list = entries.iter().map(|(name, shape)| {
        let info = Info { dtype: StoredType::F32, shape: flg_engine::Shape::new(shape).unwrap() };
        ((*name).to_owned(), info)
    });
    safetensors::write_streamed(path, list.collect(), &BTreeMap::new(), &mut |_, elements| {
        elements.push(&vec![0.0; elements.info().shape.elements()])
    })
    .unwrap();
}

#[test]
fn single_files_whose_shapes_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stranger.safetensors");
    let base: [(&str, &[usize]); 5] = [
        ("patch_embedding.weight", &[128, 1, 1, 1, 1]),
        ("head.head.weight", &[1, 128]),
        ("text_embedding.0.weight", &[128, 1]),
        ("time_embedding.0.weight", &[128, 2]),
        ("blocks.0.ffn.0.weight", &[1, 128]),
    ];
    let with = |more: &[(&'static str, &'static [usize])]| {
        let mut entries: BTreeMap<&str, &[usize]> = base.into_iter().collect();
        entries.extend(more.iter().copied());
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.push(("blocks.0.self_attn.q.weight", &[0, 128]));
        single(&path, &entries);
        let message = refused(&path);
        assert!(message.contains("stranger.safetensors"), "{message}");
        message
    };
    assert!(with(&[]).contains("missing"));
    assert!(with(&[("blocks.4096.modulation", &[0])]).contains("num_layers = 4097"));
    assert!(with(&[("blocks.18446744073709551615.modulation", &[0])]).contains("num_layers"));
    assert!(with(&[("blocks.99999999999999999999999.modulation", &[0])]).contains("extra blocks.9999999"));
    assert!(with(&[("patch_embedding.weight", &[0, 1 << 40, 1, 1, 1])]).contains("num_attention_heads"));
    assert!(with(&[("patch_embedding.weight", &[128, 0, 1 << 20, 1 << 20, 1])]).contains("in_channels"));
    assert!(with(&[("patch_embedding.weight", &[130, 1, 1, 1, 1])]).contains("width of 130"));
    assert!(with(&[("patch_embedding.weight", &[128])]).contains("patch_embedding.weight"));
    assert!(with(&[("head.head.weight", &[])]).contains("proj_out.weight"));
    assert!(with(&[("head.head.weight", &[0, 1 << 50])]).contains("out_channels"));
    assert!(with(&[("text_embedding.0.weight", &[0, 1 << 45])]).contains("text_dim"));
    assert!(with(&[("blocks.0.ffn.0.weight", &[1 << 42, 0])]).contains("ffn_dim"));
    assert!(with(&[("img_emb.proj.0.weight", &[1280])]).contains("added_kv_proj_dim"));
    assert!(with(&[("img_emb.emb_pos", &[1, 514, 1])]).contains("pos_embed_seq_len"));
    single(&path, &[]);
    assert!(refused(&path).contains("cannot be told"));
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_tensor_and_file() {
    let dir = tempfile::tempdir().unwrap();
    for (value, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for (name, at) in [("blocks.1.ffn.net.2.bias", 7), ("patch_embedding.weight", 0), ("scale_shift_table", 15)] {
            let mut weights = small(&config());
            let id = weights.id(name).unwrap();
            weights.get_mut(id).as_f32_mut().unwrap()[at] = value;
            let folder = dir.path().join("transformer");
            save_network(&folder, &config(), &weights).unwrap();
            let message = refused(&folder);
            let told = format!("tensor \"{name}\": element {at} is {shown}");
            assert!(message.contains(&told) && message.contains(safetensors::WEIGHTS), "{message}");
        }
    }
    // In the shard and the spelling that it has there; f16 and bf16 as well.
    for dtype in [StoredType::Bf16, StoredType::F16] {
        let folder = honest(dir.path());
        let source = StoredNetwork::open(&folder).unwrap();
        let path = dir.path().join("original.safetensors");
        let entries = config().parameters().into_iter();
        let entries = entries.map(|p| (Layout::Original.spell(&p.name).unwrap(), Info { dtype, shape: p.shape }));
        safetensors::write_streamed(&path, entries.collect(), &metadata(), &mut |name, elements| {
            let known = Layout::Original.read(name).unwrap();
            let mut values = source.tensor(&known, Keep::F32, &Device::cpu()).unwrap().values()?;
            if name == "blocks.0.norm3.weight" {
                values[3] = f32::NAN;
            }
            elements.push(&values)
        })
        .unwrap();
        let message = refused(&path);
        assert!(message.contains("\"blocks.0.norm3.weight\": element 3"), "{message}");
    }
}

/// The configuration that a single file carries, as ours do.
fn metadata() -> BTreeMap<String, String> {
    [("flg_config".to_owned(), config().to_json())].into()
}

#[test]
fn text_of_a_single_file_is_believed_no_more_than_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let weights = small(&config());
    let write = |text: &[(&str, &str)]| {
        let mut all = metadata();
        all.extend(text.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())));
        safetensors::write(&path, weights.iter().map(|(_, name, value)| (name, value)), &all).unwrap();
        Checkpoint::load(&path, &Device::cpu()).map_err(|error| error.to_string())
    };
    write(&[]).unwrap();
    for (name, text, part) in [
        ("flg_config", "{", "configuration"),
        ("flg_config", "{\"num_layers\": 99999999999}", "num_layers"),
        ("flg_config", "{}", "missing"),
        ("flg_few_step", "{\"sigmas\": [0.5, 0.75], \"shift\": 5.0, \"rule\": \"ode\"}", "descend"),
        ("flg_few_step", "[]", "configuration"),
        ("flg_provenance", "{\"parent_layers\": 1, \"kept_indices\": [0, 1]}", "kept_indices"),
        ("flg_provenance", "{\"parent_layers\": 9999999999999, \"kept_indices\": [0, 1]}", "kept_indices"),
        ("flg_provenance", "{\"parent_layers\": 3, \"kept_indices\": [1, 0]}", "kept_indices"),
        ("flg_shift", "five", "configuration"),
    ] {
        let error = write(&[(name, text)]).unwrap_err();
        assert!(error.contains(part) && error.contains("w.safetensors") && !error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn integers_are_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let weights = small(&config());
    let integers = Tensor::from_indices(&Device::cpu(), vec![1; 8], [8]).unwrap();
    let entries =
        weights.iter().map(|(_, name, value)| (name, if name == "patch_embedding.bias" { &integers } else { value }));
    safetensors::write(&path, entries, &metadata()).unwrap();
    assert!(refused(&path).contains("\"patch_embedding.bias\" holds I32"));
}

#[test]
fn indices_of_networks_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = honest(dir.path());
    let index = folder.join(format!("{}.safetensors.index.json", safetensors::STEM));
    let good = fs::read_to_string(&index).unwrap();
    let shards: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let mut shards: Vec<_> = shards.into_iter().filter(|name| name.ends_with(".safetensors")).collect();
    shards.sort();
    assert!(shards.len() > 1);
    let swap = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        fs::write(&index, good.replacen(from, to, 1)).unwrap();
        refused(&folder)
    };
    let last = format!("\"{}\"", shards[shards.len() - 1]);
    let first = format!("\"{}\"", shards[0]);
    assert!(swap(&last, &first).contains("index"));
    assert!(swap(&first, "\"../transformer/w.safetensors\"").contains("bare"));
    assert!(swap(&first, "\"/etc/passwd\"").contains("bare"));
    assert!(swap(&first, "\"C:\\\\w.safetensors\"").contains("bare"));
    assert!(
        swap(&first, "\"gone.safetensors\"").contains("index") || swap(&first, "\"gone.safetensors\"").contains("gone")
    );
    assert!(swap(&first, "null").contains("index.json"));
    assert!(swap("\"weight_map\"", "\"weights\"").contains("weights"));
    assert!(swap("\"patch_embedding.bias\"", "\"patch_embedding.Bias\"").contains("index"));
    fs::write(&index, &good).unwrap();
    // A shard that is cut, or that is another's copy.
    let shard = folder.join(&shards[0]);
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refused(&folder).contains("truncated"));
    fs::copy(folder.join(&shards[1]), &shard).unwrap();
    assert!(refused(&folder).contains("index"));
    fs::remove_file(&shard).unwrap();
    assert!(refused(&folder).contains(&shards[0]));
}

#[test]
fn indices_of_checkpoints_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        fs::write(dir.path().join("model_index.json"), text).unwrap();
        PipelineIndex::read(dir.path()).map_err(|error| error.to_string())
    };
    let index = read(r#"{"_class_name": "WanPipeline", "vae": ["a", "b"], "x": [null, null], "n": 3}"#).unwrap();
    assert_eq!((index.parts.len(), &index.parts["x"]), (2, &None));
    for (text, part) in [
        ("[]", "model_index.json"),
        ("", "model_index.json"),
        (r#"{"../x": ["a", "b"]}"#, "letters"),
        (r#"{"": ["a", "b"]}"#, "letters"),
        (r#"{"/etc": ["a", "b"]}"#, "letters"),
        (r#"{"vae": ["a"]}"#, "library"),
        (r#"{"vae": [1, 2]}"#, "library"),
        (r#"{"boundary_ratio": 7}"#, "boundary_ratio"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_networks_never_panic(
        at in any::<prop::sample::Index>(),
        text in prop::sample::select(b"0123456789,:[]{}\"\\ -.eFabt_".to_vec()),
        more in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        layout in prop::sample::select(vec![Layout::Diffusers, Layout::Original, Layout::Comfyui]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let weights = small(&config());
        let entries = weights.iter().map(|(_, name, value)| (layout.spell(name).unwrap(), value));
        safetensors::write(&path, entries, &metadata()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + at.index(header)] = text;
        for (index, value) in more {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        fs::write(&path, &bytes).unwrap();
        allocations::forget();
        match Checkpoint::load(&path, &Device::cpu()) {
            Ok(checkpoint) => prop_assert!(checkpoint.weights.iter().all(|(_, _, x)| x.to_vec().iter().all(|x| x.is_finite()))),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
        prop_assert!(allocations::largest() <= allocations::MOST);
    }
}
