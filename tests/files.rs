//! Weights on disk: what is written comes back bit for bit, the same bytes each time, in the format that others read.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use ::safetensors::tensor::{Dtype, TensorView};
use flg_engine::files::{manifest, write_atomic};
use flg_engine::safetensors::{self, SafeTensors, StoredType};
use flg_engine::{DType, Device, Tensor, bf16};
use half::f16;
use proptest::prelude::*;

type Named = Vec<(String, Tensor)>;

/// A tensor of a type and shape whose bits come from `seed`: NaNs, infinities and subnormal numbers included.
fn tensor(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let device = Device::cpu();
    let shape = flg_engine::Shape::new(shape).unwrap();
    let mut state = seed;
    let words: Vec<u32> = (0..shape.elements())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        })
        .collect();
    match dtype {
        DType::F32 => Tensor::from_vec(&device, words.into_iter().map(f32::from_bits).collect(), shape),
        DType::Bf16 => {
            Tensor::from_bf16(&device, words.into_iter().map(|w| bf16::from_bits(w as u16)).collect(), shape)
        }
        DType::I32 => Tensor::from_indices(&device, words.into_iter().map(|w| w as i32).collect(), shape),
    }
    .unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    match tensor.input().unwrap() {
        flg_kernels::In::F32(x) => bytemuck::cast_slice(x).to_vec(),
        flg_kernels::In::Bf16(x) => bytemuck::cast_slice(x).to_vec(),
        flg_kernels::In::I32(x) => bytemuck::cast_slice(x).to_vec(),
        other => panic!("{other:?}"),
    }
}

fn write(path: &Path, entries: &Named, metadata: &[(&str, &str)]) {
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    safetensors::write(path, entries.iter().map(|(name, tensor)| (name.as_str(), tensor)), &metadata).unwrap();
}

fn entries() -> impl Strategy<Value = Named> {
    let dtype = prop_oneof![Just(DType::F32), Just(DType::Bf16), Just(DType::I32)];
    let shape = prop::collection::vec(prop_oneof![Just(0usize), Just(1), Just(2), Just(3), Just(5)], 0..=6);
    let named = prop::collection::btree_map("[a-z]{1,4}(\\.[a-z0-9_]{1,5}){0,2}", (dtype, shape, any::<u64>()), 0..8);
    named.prop_map(|map| {
        map.into_iter().map(|(name, (dtype, shape, seed))| (name, tensor(dtype, &shape, seed))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_comes_back_and_is_what_the_library_writes(entries in entries()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write(&path, &entries, &[("format", "pt")]);

        let read = SafeTensors::open(&path).unwrap();
        prop_assert_eq!(read.names().len(), entries.len());
        prop_assert_eq!(read.metadata(), &BTreeMap::from([("format".to_owned(), "pt".to_owned())]));
        for (name, original) in &entries {
            let back = read.tensor(name, &Device::cpu()).unwrap();
            prop_assert_eq!((back.dtype(), back.shape()), (original.dtype(), original.shape()));
            prop_assert_eq!(bytes(&back), bytes(original));
        }

        let contents: Vec<_> = entries.iter().map(|(name, t)| (name, t, bytes(t))).collect();
        let views = contents.iter().map(|(name, t, bytes)| {
            let dtype = match t.dtype() {
                DType::F32 => Dtype::F32,
                DType::Bf16 => Dtype::BF16,
                DType::I32 => Dtype::I32,
            };
            (name.as_str(), TensorView::new(dtype, t.dims().to_vec(), bytes).unwrap())
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let theirs = ::safetensors::serialize(views, Some(metadata)).unwrap();
        prop_assert!(fs::read(&path).unwrap() == theirs, "other bytes than the safetensors crate writes");
    }

    #[test]
    fn the_order_of_entries_does_not_change_the_bytes(entries in entries()) {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write(&a, &entries, &[("one", "1"), ("two", "\"2\"\n")]);
        write(&b, &entries.into_iter().rev().collect(), &[("two", "\"2\"\n"), ("one", "1")]);
        prop_assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
    }
}

/// Written by Python's safetensors 0.8 with torch: one tensor of each supported type, a scalar, and nothing.
#[test]
fn a_file_of_the_python_library_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python_types.safetensors");
    let file = SafeTensors::open(path).unwrap();
    let device = Device::cpu();
    let values = |name: &str| file.tensor(name, &device).unwrap().to_vec();
    assert_eq!(file.names().collect::<Vec<_>>(), ["bf16", "f16", "f32", "i32", "i64", "nothing", "scalar"]);
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(values("f32"), [1.5, -2.0, 3.25, 0.0, -0.0, 1e-40]);
    assert_eq!(values("f16"), [0.5, -65504.0, f16::from_f32(6e-8).to_f32()]);
    assert_eq!(values("bf16"), [1.0, -3.140625, f32::INFINITY]);
    assert_eq!(values("i32"), [i32::MIN as f32, 7.0]);
    assert_eq!(file.tensor("i64", &device).unwrap().dtype(), DType::I32);
    assert_eq!(values("i64"), [-5.0, i32::MAX as f32]);
    assert_eq!((values("scalar"), file.info("scalar").unwrap().shape.rank()), (vec![42.0], 0));
    assert_eq!((values("nothing"), file.info("nothing").unwrap().shape.dims()), (vec![], [0, 3].as_slice()));
    assert_eq!(file.info("f16").unwrap().dtype, StoredType::F16);
    assert_eq!(file.info("absent"), None);
    assert_eq!(file.tensor_f32("bf16", &device).unwrap().dtype(), DType::F32);
    let error = file.tensor_f32("i32", &device).unwrap_err().to_string();
    assert!(error.contains("python_types.safetensors") && error.contains("\"i32\""), "{error}");
}

#[test]
fn a_strided_view_is_written_in_its_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let x = Tensor::from_vec(&Device::cpu(), vec![1., 2., 3., 4., 5., 6.], [2, 3]).unwrap();
    write(&path, &vec![("x".to_owned(), x.transpose(0, 1).unwrap())], &[]);
    let back = SafeTensors::open(&path).unwrap().tensor("x", &Device::cpu()).unwrap();
    assert_eq!((back.dims(), back.to_vec()), ([3, 2].as_slice(), vec![1., 4., 2., 5., 3., 6.]));
}

#[test]
fn an_open_file_keeps_its_contents_while_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    write(&path, &vec![("x".to_owned(), tensor(DType::F32, &[1000], 1))], &[]);
    let old = SafeTensors::open(&path).unwrap();
    write(&path, &vec![("x".to_owned(), tensor(DType::F32, &[1], 2))], &[]);
    assert_eq!(bytes(&old.tensor("x", &Device::cpu()).unwrap()), bytes(&tensor(DType::F32, &[1000], 1)));
}

#[test]
fn entries_that_could_not_be_read_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let x = tensor(DType::F32, &[2], 1);
    let long = "x".repeat(513);
    let cases: [&[&str]; 6] = [&["a", "a"], &["__metadata__"], &[""], &["a b"], &["../a"], &[&long]];
    for names in cases {
        let error = safetensors::write(&path, names.iter().map(|&name| (name, &x)), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("w.safetensors"), "{error}");
    }
    let huge = BTreeMap::from([("notes".to_owned(), "x".repeat(16 << 20))]);
    let error = safetensors::write(&path, [("x", &x)], &huge).unwrap_err().to_string();
    assert!(error.contains("at most 16777216"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A folder of three files in two levels, with its manifest.
fn described_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("transformer")).unwrap();
    write(&root.join("transformer/weights.safetensors"), &vec![("x".to_owned(), tensor(DType::Bf16, &[3], 1))], &[]);
    write_atomic(root.join("state.json"), |w| w.write_all(b"{\"step\": 12}")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    manifest::write(root).unwrap();
    folder
}

#[test]
fn a_manifest_is_the_same_each_time_and_verifies() {
    let folder = described_folder();
    let path = folder.path().join(manifest::NAME);
    let first = fs::read_to_string(&path).unwrap();
    manifest::verify(folder.path()).unwrap();
    manifest::write(folder.path()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    // sha256 of no bytes at all, from FIPS 180-4's test vectors.
    assert!(first.contains("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
}

#[test]
fn a_manifest_detects_every_single_flipped_bit() {
    let folder = described_folder();
    for name in ["state.json", "transformer/weights.safetensors", manifest::NAME] {
        let path = folder.path().join(name);
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let error = manifest::verify(folder.path()).expect_err("a flipped bit must be seen").to_string();
            assert!(!error.contains('\n'), "{error:?}");
            assert!(name == manifest::NAME || error.contains(name), "bit {bit} of {name}: {error}");
        }
        fs::write(&path, &good).unwrap();
    }
    manifest::verify(folder.path()).unwrap();
}

#[test]
fn a_manifest_names_the_first_file_that_is_wrong() {
    let folder = described_folder();
    let root = folder.path();
    let verdict = || manifest::verify(root).unwrap_err().to_string();
    // Files that nobody listed are none of its business.
    fs::write(root.join("note.txt"), b"hello").unwrap();
    fs::write(root.join(".tmp-state.json"), b"{").unwrap();
    manifest::verify(root).unwrap();

    fs::remove_file(root.join("transformer/weights.safetensors")).unwrap();
    assert!(verdict().contains("weights.safetensors: listed in the manifest, but not there"), "{}", verdict());
    fs::write(root.join("state.json"), b"{").unwrap();
    assert!(verdict().contains("state.json: 1 bytes, the manifest says 12"), "{}", verdict());
    fs::remove_file(root.join(manifest::NAME)).unwrap();
    assert!(verdict().contains("MANIFEST.json"), "{}", verdict());
}

#[test]
fn a_manifest_that_points_outside_its_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["../x", "/etc/hostname", "a/../../x", "a\\\\b", "", "c:x"] {
        let json = format!(r#"{{"version": 1, "files": {{"{name}": {{"size": 1, "sha256": ""}}}}}}"#);
        fs::write(folder.path().join(manifest::NAME), json).unwrap();
        let error = manifest::verify(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a relative path"), "{error}");
    }
    let twice = r#"{"version": 1, "files": {"a": {"size": 1, "sha256": ""}, "a": {"size": 2, "sha256": ""}}}"#;
    fs::write(folder.path().join(manifest::NAME), twice).unwrap();
    assert!(manifest::verify(folder.path()).unwrap_err().to_string().contains("\"a\" twice"));
}
