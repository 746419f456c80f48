//! Checkpoints in every layout, type and division into files: what goes in comes out, and what is wrong is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::{self, Info, SafeTensors, StoredType};
use flg_engine::{DType, Device, Key, ParamStore, Shape, Tensor, bf16};
use flg_model::checkpoint::{
    self, Conversion, Converted, Form, FreshPart, Keep, Layout, Parts, PipelineIndex, Provenance, Sizes, StoredNetwork,
    convert, load_network, write_fresh,
};
use flg_model::wan::reads_low_precision;
use flg_model::{ARCHITECTURES, Architecture, BlockMask, Checkpoint, FewStep, Rule, Wan, WanConfig};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn into(layout: Layout, dtype: Option<StoredType>) -> Conversion {
    Conversion { layout, form: Form { dtype, ..Form::default() } }
}

fn converted(source: &Path, target: &Path, conversion: Conversion) -> Converted {
    convert(source, target, conversion, &mut |_, _| {}).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.to_vec().into_iter().map(f32::to_bits).collect()
}

fn same(a: &ParamStore, b: &ParamStore) {
    assert_eq!(a.len(), b.len());
    for ((_, name, x), (_, other, y)) in a.iter().zip(b.iter()) {
        assert_eq!((name, x.dtype(), bits(x)), (other, y.dtype(), bits(y)));
    }
}

/// A network of two heads of 128, so that its shapes tell its sizes.
fn telling() -> WanConfig {
    WanConfig { num_attention_heads: 2, num_layers: 3, ffn_dim: 24, text_dim: 12, freq_dim: 8, ..WanConfig::default() }
}

fn fresh(config: &WanConfig) -> ParamStore {
    let mut weights = ParamStore::new(&Device::cpu());
    Wan::init(config.clone(), &mut weights, Key::new(3)).unwrap();
    weights
}

fn save(folder: &Path, config: &WanConfig, weights: &ParamStore) {
    let parts = Parts { config, weights, shift: Some(3.0), few_step: None, provenance: None, expert: None };
    checkpoint::save(folder, &parts).unwrap();
}

#[test]
fn diffusers_to_original_or_comfyui_and_back_gives_the_same_bytes() {
    for name in ["wan_t2v", "wan_ti2v"] {
        for layout in [Layout::Original, Layout::Comfyui, Layout::Diffusers] {
            let dir = tempfile::tempdir().unwrap();
            let (there, back) = (dir.path().join("there"), dir.path().join("back"));
            converted(&fixture(name), &there, into(layout, None));
            let report = converted(&there, &back, into(Layout::Diffusers, None));
            assert_eq!((report.from, report.sizes, report.networks), (layout, Sizes::Configured, 1));
            let weights = |folder: &Path| fs::read(folder.join(safetensors::WEIGHTS)).unwrap();
            let source = SafeTensors::open_folder(fixture(name)).unwrap();
            let result = SafeTensors::open_folder(back.join("transformer")).unwrap();
            assert_eq!(source.names().collect::<Vec<_>>(), result.names().collect::<Vec<_>>());
            // The library that wrote the source orders and pads as we do.
            assert!(weights(&fixture(name)) == weights(&back.join("transformer")), "{name} {layout}");
            let load = |path: &Path| Checkpoint::load(path, &Device::cpu()).unwrap().weights;
            same(&load(&there), &load(&back));
            same(&load(&there), &load_network(fixture(name), &Device::cpu()).unwrap().1);
        }
    }
}

#[test]
fn the_original_names_are_those_of_the_authors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    converted(&fixture("wan_t2v"), &path, into(Layout::Comfyui, None));
    let file = SafeTensors::open(&path).unwrap();
    for name in ["head.modulation", "blocks.0.modulation", "blocks.0.norm3.weight", "blocks.1.ffn.2.bias"] {
        assert!(file.info(&format!("model.diffusion_model.{name}")).is_some(), "{name}");
    }
    let bare = StoredNetwork::open(&path).unwrap();
    assert_eq!((bare.layout(), bare.config().num_layers), (Layout::Comfyui, bare.config().num_layers));
    assert_eq!(bare.spelling("proj_out.weight"), "model.diffusion_model.head.head.weight");
}

#[test]
fn a_single_file_without_configuration_tells_its_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let (config, weights) = (telling(), fresh(&telling()));
    for layout in [Layout::Diffusers, Layout::Original, Layout::Comfyui] {
        let path = dir.path().join(format!("{layout}.safetensors"));
        let entries = weights.iter().map(|(_, name, value)| (layout.spell(name).unwrap(), value));
        safetensors::write(&path, entries, &BTreeMap::new()).unwrap();
        let network = StoredNetwork::open(&path).unwrap();
        assert_eq!((network.layout(), network.sizes(), network.config()), (layout, Sizes::Inferred, &config));
        same(&Checkpoint::load(&path, &Device::cpu()).unwrap().weights, &weights);
    }
    // The authors' own folders: their names, their configuration.
    let folder = dir.path().join("authors");
    fs::create_dir(&folder).unwrap();
    let path = folder.join(safetensors::WEIGHTS);
    fs::copy(dir.path().join("original.safetensors"), &path).unwrap();
    fs::write(folder.join("config.json"), r#"{"_class_name": "WanModel", "num_heads": 4, "eps": 1e-5}"#).unwrap();
    let network = StoredNetwork::open(&folder).unwrap();
    assert_eq!((network.config().num_attention_heads, network.config().attention_head_dim), (4, 64));
    assert_eq!(network.config().eps, 1e-5);
}

#[test]
fn a_distilled_network_keeps_its_schedule_and_provenance_in_a_single_file() {
    let dir = tempfile::tempdir().unwrap();
    let (config, weights) = (telling(), fresh(&telling()));
    let few_step = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    let provenance = Provenance::of(&BlockMask::without(5, &[1, 3]).unwrap());
    assert_eq!(provenance.removed(), [1, 3]);
    let parts = Parts {
        config: &config,
        weights: &weights,
        shift: Some(5.0),
        few_step: Some(&few_step),
        provenance: Some(&provenance),
        expert: None,
    };
    let [folder, file, back] = ["folder", "file", "back"].map(|name| dir.path().join(name));
    checkpoint::save(&folder, &parts).unwrap();
    converted(&folder, &file, into(Layout::Original, Some(StoredType::Bf16)));
    converted(&file, &back, into(Layout::Diffusers, None));
    for path in [&file, &back] {
        let loaded = Checkpoint::load(path, &Device::cpu()).unwrap();
        assert_eq!(loaded.shift, Some(5.0));
        assert_eq!(loaded.few_step.as_ref(), Some(&few_step));
        assert_eq!(loaded.provenance.as_ref(), Some(&provenance));
    }
    assert_eq!(PipelineIndex::read(&back).unwrap().parts.len(), 2);
}

#[test]
fn a_checkpoint_with_experts_and_other_parts_is_converted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    let (config, weights) = (telling(), fresh(&telling()));
    save(&from, &config, &weights);
    let second = fresh(&WanConfig { num_layers: 2, ..config.clone() });
    let small = WanConfig { num_layers: 2, ..config.clone() };
    checkpoint::save_network(from.join("transformer_2"), &small, &second).unwrap();
    fs::create_dir(from.join("tokenizer")).unwrap();
    fs::write(from.join("tokenizer/tokenizer.json"), "{}").unwrap();
    fs::create_dir(from.join("secret")).unwrap();
    fs::write(from.join("flg_data.json"), "{\"world\": \"digits\"}").unwrap();
    let mut index = PipelineIndex::read(&from).unwrap().with_part("tokenizer", "transformers", "T5TokenizerFast");
    index = index.with_part("transformer_2", "diffusers", "WanTransformer3DModel");
    index.boundary_ratio = Some(0.875);
    index.write(&from).unwrap();

    let form = Form { dtype: None, shard: 300_000 };
    let report = converted(&from, &to, Conversion { layout: Layout::Diffusers, form });
    assert_eq!((report.networks, report.tensors), (2, weights.len() + second.len()));
    assert_eq!(PipelineIndex::read(&to).unwrap(), index);
    assert_eq!(fs::read_to_string(to.join("tokenizer/tokenizer.json")).unwrap(), "{}");
    assert!(to.join("flg_data.json").is_file() && !to.join("secret").exists());
    assert!(to.join("transformer/diffusion_pytorch_model.safetensors.index.json").is_file());
    let loaded = Checkpoint::load(&to, &Device::cpu()).unwrap();
    same(&loaded.weights, &weights);
    assert_eq!(loaded.shift, Some(3.0));
    same(&load_network(to.join("transformer_2"), &Device::cpu()).unwrap().1, &second);

    let refused = |to: &str, layout| {
        let to = dir.path().join(to);
        convert(&from, to, into(layout, None), &mut |_, _| {}).unwrap_err().to_string()
    };
    assert!(refused("one", Layout::Original).contains("two experts"));
    assert!(refused("from", Layout::Diffusers).contains("must not lie in"));
    assert!(refused("from/inside", Layout::Diffusers).contains("must not lie in"));
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/note"), "").unwrap();
    assert!(refused("full", Layout::Diffusers).contains("not empty"));
    converted(&from.join("transformer_2"), &dir.path().join("one"), into(Layout::Original, None));
    let onto = convert(fixture("wan_t2v"), &to, into(Layout::Original, None), &mut |_, _| {}).unwrap_err();
    assert!(onto.to_string().contains("a folder of that name"), "{onto}");
}

#[test]
fn narrow_files_round_what_mixed_precision_reads_narrow_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (config, weights) = (telling(), fresh(&telling()));
    let source = dir.path().join("f32");
    save(&source, &config, &weights);
    for dtype in [StoredType::Bf16, StoredType::F16] {
        let target = dir.path().join(dtype.name());
        converted(&source, &target, into(Layout::Diffusers, Some(dtype)));
        let mut network = StoredNetwork::open(target.join("transformer")).unwrap();
        let (_, loaded) = network.load(Keep::F32, &Device::cpu()).unwrap();
        for ((_, name, x), (_, _, y)) in weights.iter().zip(loaded.iter()) {
            let low = reads_low_precision(name);
            assert_eq!(network.info(name).unwrap().dtype, if low { dtype } else { StoredType::F32 }, "{name}");
            let round = |x: f32| match (low, dtype) {
                (false, _) => x,
                (true, StoredType::Bf16) => bf16::from_f32(x).to_f32(),
                (true, _) => half::f16::from_f32(x).to_f32(),
            };
            assert_eq!(x.to_vec().into_iter().map(round).collect::<Vec<_>>(), y.to_vec(), "{name}");
        }
    }
    // Back to f32: nothing was lost twice.
    converted(&dir.path().join("BF16"), &dir.path().join("wide"), into(Layout::Diffusers, Some(StoredType::F32)));
    let mut wide = StoredNetwork::open(dir.path().join("wide/transformer")).unwrap();
    let mut narrow = StoredNetwork::open(dir.path().join("BF16/transformer")).unwrap();
    let load = |network: &mut StoredNetwork| network.load(Keep::F32, &Device::cpu()).unwrap().1;
    same(&load(&mut wide), &load(&mut narrow));
    assert!(config.parameters().iter().all(|p| wide.info(&p.name).unwrap().dtype == StoredType::F32));
}

#[test]
fn what_is_kept_is_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (config, weights) = (telling(), fresh(&telling()));
    // One file with all three types, and norms in bf16.
    let types = [StoredType::F32, StoredType::Bf16, StoredType::F16];
    let list: Vec<_> = config.parameters().into_iter().enumerate().collect();
    let info = |i: usize, shape: Shape| Info { dtype: types[i % 3], shape };
    let entries = list.iter().map(|(i, p)| (p.name.clone(), info(*i, p.shape))).collect();
    let path = dir.path().join("mixed.safetensors");
    safetensors::write_streamed(&path, entries, &BTreeMap::new(), &mut |name, elements| {
        elements.push_tensor(weights.get(weights.id(name)?))
    })
    .unwrap();
    let mut network = StoredNetwork::open(&path).unwrap();
    let (_, exact) = network.load(Keep::F32, &Device::cpu()).unwrap();
    let mut seen = [0; 3];
    for keep in [Keep::F32, Keep::Stored, Keep::Bf16] {
        let (wan, loaded) = network.load(keep, &Device::cpu()).unwrap();
        let (_, dry) = network.load(keep, &Device::dry()).unwrap();
        assert_eq!(wan.config(), &config);
        for (((i, p), (_, _, value)), (_, _, rehearsed)) in list.iter().zip(loaded.iter()).zip(dry.iter()) {
            let narrow = match keep {
                Keep::F32 => false,
                Keep::Stored => types[i % 3] == StoredType::Bf16,
                Keep::Bf16 => true,
            };
            let expected = if narrow && reads_low_precision(&p.name) { DType::Bf16 } else { DType::F32 };
            seen[i % 3] += usize::from(expected == DType::Bf16);
            assert_eq!((value.dtype(), rehearsed.dtype()), (expected, expected), "{keep:?} {}", p.name);
            let wide = exact.get(exact.id(&p.name).unwrap());
            assert_eq!(bits(value), bits(&wide.cast(expected).unwrap()), "{keep:?} {}", p.name);
        }
    }
    assert!(seen.iter().all(|&n| n > 0));
    // Half of the memory, and the same bits of output as after widening everything that is stored narrow.
    let narrow = Checkpoint::load_as(&path, Keep::Bf16, &Device::cpu()).unwrap();
    assert!(narrow.weights.bytes() * 10 < exact.bytes() * 6);
}

#[test]
fn every_difference_is_told_with_its_file_and_shape() {
    let dir = tempfile::tempdir().unwrap();
    let (config, weights) = (telling(), fresh(&telling()));
    let folder = dir.path().join("transformer");
    checkpoint::save_network_as(&folder, &config, &weights, Form { dtype: None, shard: 2_000_000 }).unwrap();
    let sharded = StoredNetwork::open(&folder).unwrap();
    let place = |name: &str| sharded.file().path_of(name).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let (table, last) = (place("blocks.2.scale_shift_table"), place("blocks.2.ffn.net.2.bias"));
    assert_ne!(place("blocks.0.scale_shift_table"), last);
    let other = WanConfig { num_layers: 2, text_dim: 13, ..config.clone() };
    fs::write(folder.join("config.json"), other.to_json()).unwrap();
    let error = StoredNetwork::open(&folder).unwrap_err().to_string();
    for part in [
        format!("extra blocks.2.attn1.norm_k.weight (in {})", place("blocks.2.attn1.norm_k.weight")),
        format!("blocks.2.scale_shift_table (in {table})"),
        format!("blocks.2.ffn.net.2.bias (in {last})"),
        "text_embedder.linear_1.weight is [256, 12], expected [256, 13] (in diffusion_pytorch_model-".to_owned(),
    ] {
        assert!(error.contains(&part), "`{part}` is not in: {error}");
    }
    assert_eq!(error.matches("blocks.2.").count(), 27, "{error}");
    fs::write(folder.join("config.json"), WanConfig { num_layers: 4, ..config.clone() }.to_json()).unwrap();
    let error = StoredNetwork::open(&folder).unwrap_err().to_string();
    assert!(error.contains("blocks.3.ffn.net.0.proj.weight [24, 256]"), "{error}");
    assert_eq!(error.matches("blocks.3.").count(), 27, "{error}");

    // In the file's own spelling.
    let path = dir.path().join("w.safetensors");
    let kept = weights.iter().filter(|(_, name, _)| *name != "blocks.1.norm2.bias");
    let named = kept.map(|(_, name, value)| (Layout::Comfyui.spell(name).unwrap(), value.clone()));
    let extra = Tensor::zeros(&Device::cpu(), [2]).unwrap();
    let mut entries: Vec<_> = named.collect();
    entries.push(("model.diffusion_model.blocks.1.norm2.bias".to_owned(), extra.clone()));
    entries.push(("vace_blocks.0.after_proj.bias".to_owned(), extra));
    safetensors::write(&path, entries.iter().map(|(name, value)| (name.as_str(), value)), &BTreeMap::new()).unwrap();
    let error = StoredNetwork::open(&path).unwrap_err().to_string();
    let expected = "missing model.diffusion_model.blocks.1.norm3.bias [256]; \
        extra model.diffusion_model.blocks.1.norm2.bias, vace_blocks.0.after_proj.bias";
    assert!(error.contains(expected) && error.contains("w.safetensors"), "{error}");
}

#[test]
fn fresh_files_hold_the_numbers_of_a_fresh_network() {
    let dir = tempfile::tempdir().unwrap();
    let config = telling();
    let write = |name: &str, dtype, shard| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), config.to_json()).unwrap();
        let part = FreshPart {
            folder: "transformer",
            class: ["diffusers", "WanTransformer3DModel"],
            stem: safetensors::STEM,
            config: config.to_json(),
            parameters: config.parameters(),
            dtype: None,
        };
        let mut written = 0;
        write_fresh(&folder, &part, (Form { dtype, shard }, Key::new(3)), &mut |bytes| written += bytes).unwrap();
        assert_eq!(written, part.bytes(Form { dtype, shard }));
        StoredNetwork::open(&folder).unwrap()
    };
    let load = |mut network: StoredNetwork| network.load(Keep::F32, &Device::cpu()).unwrap().1;
    // Pieces of a tensor join without a seam: the largest here is drawn in several.
    same(&load(write("whole", None, 1 << 30)), &fresh(&config));
    same(&load(write("shards", Some(StoredType::F32), 1 << 20)), &fresh(&config));
    let dtype = |name: &str| if reads_low_precision(name) { DType::Bf16 } else { DType::F32 };
    let mut narrow = ParamStore::new(&Device::cpu());
    Wan::init_stored(config.clone(), &mut narrow, Key::new(3), dtype).unwrap();
    let mut stored = write("narrow", Some(StoredType::Bf16), 1 << 30);
    same(&stored.load(Keep::Stored, &Device::cpu()).unwrap().1, &narrow);
}

/// The tensors of every published transformer, as diffusers makes them.
#[test]
fn published_networks_have_exactly_these_tensors() {
    const TRANSFORMERS: [&str; 6] = ["T2V-1.3B", "T2V-14B", "I2V-14B", "FLF2V-14B", "TI2V-5B", "Wan2.2-I2V-A14B"];
    let mut architectures = 0;
    for name in TRANSFORMERS {
        let text = fs::read_to_string(fixture(&format!("manifests/{name}.json"))).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let shape = |value: &serde_json::Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let mut expected = BTreeMap::new();
        for (name, value) in manifest["network"].as_object().unwrap() {
            expected.insert(name.clone(), shape(value));
        }
        for (name, value) in manifest["block"].as_object().unwrap() {
            for block in 0..manifest["blocks"].as_u64().unwrap() {
                expected.insert(format!("blocks.{block}.{name}"), shape(value));
            }
        }
        for name in manifest["architectures"].as_array().unwrap() {
            let architecture = Architecture::named(name.as_str().unwrap()).unwrap();
            let list = architecture.config().parameters();
            let ours: BTreeMap<_, _> = list.iter().map(|p| (p.name.clone(), p.shape.dims().to_vec())).collect();
            assert_eq!(ours.len(), list.len());
            let differ = |a: &BTreeMap<String, Vec<usize>>, b: &BTreeMap<String, Vec<usize>>| {
                a.iter().filter(|&(name, shape)| b.get(name) != Some(shape)).map(|(name, _)| name.clone()).next()
            };
            assert_eq!([differ(&ours, &expected), differ(&expected, &ours)], [None, None], "{name}");
            architecture.config().validate().unwrap();
            architectures += 1;
        }
    }
    // All but the tiny one.
    assert_eq!(architectures, ARCHITECTURES.len() - 1);
}

#[test]
fn a_fresh_checkpoint_is_complete_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let architecture = Architecture::named("tiny").unwrap();
    let write = |name: &str, seed| {
        let folder = dir.path().join(name);
        let parts = FreshPart::transformers(architecture);
        let form = Form { dtype: Some(StoredType::Bf16), ..Form::default() };
        let mut done = 0;
        checkpoint::init(&folder, architecture, &parts, (form, Key::new(seed)), &mut |bytes| done = bytes).unwrap();
        assert_eq!(done, parts[0].bytes(form));
        let loaded = Checkpoint::load_as(&folder, Keep::Stored, &Device::cpu()).unwrap();
        assert_eq!((loaded.wan.config(), loaded.shift), (&architecture.config(), Some(5.0)));
        fs::read(folder.join("transformer").join(safetensors::WEIGHTS)).unwrap()
    };
    let first = write("a", 1);
    assert!(first == write("b", 1) && first != write("c", 2));
}
