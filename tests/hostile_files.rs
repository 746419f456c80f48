//! Weights from strangers: files that are wrong are refused with a line that says why, and never a panic.

use std::fs;
use std::path::Path;

use flg_engine::files::FileError;
use flg_engine::safetensors::{ENCODER_WEIGHTS, Fault, INDEX_SUFFIX, SafeTensors, WEIGHTS};
use flg_engine::{Device, Error};
use proptest::prelude::*;

/// A file of this header (padded to eight bytes) and so many bytes of elements.
fn file(header: &str, elements: usize) -> Vec<u8> {
    let mut json = header.as_bytes().to_vec();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.extend((0..elements).map(|i| i as u8));
    bytes
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]}}"#)
}

fn one(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!("{{{}}}", entry(name, dtype, shape, begin, end))
}

fn open(bytes: &[u8]) -> flg_engine::Result<SafeTensors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stranger.safetensors");
    fs::write(&path, bytes).unwrap();
    SafeTensors::open(&path)
}

/// The fault for which a file is refused, after a look at the message.
fn fault(bytes: &[u8]) -> Fault {
    let error = open(bytes).expect_err("a hostile file was accepted");
    let message = error.to_string();
    assert!(message.contains("stranger.safetensors: "), "{message}");
    assert!(!message.contains(char::is_control) && message.len() < 1500, "{message:?}");
    match error {
        Error::File(FileError::SafeTensors { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

macro_rules! refused {
    ($($name:ident: $bytes:expr => $fault:pat,)*) => {
        $(#[test] fn $name() {
            let got = fault(&$bytes);
            assert!(matches!(got, $fault), "{got:?}");
        })*
    };
}

refused! {
    no_bytes: [] => Fault::Truncated { needed: 8, got: 0 },
    half_a_length: [8, 0, 0] => Fault::Truncated { needed: 8, got: 3 },
    header_longer_than_the_file: 64u64.to_le_bytes() => Fault::Truncated { needed: 72, got: 8 },
    header_of_all_ones: u64::MAX.to_le_bytes() => Fault::HeaderTooLarge { len: u64::MAX },
    header_beyond_the_limit: ((16u64 << 20) + 8).to_le_bytes() => Fault::HeaderTooLarge { .. },
    header_of_no_bytes: 0u64.to_le_bytes() => Fault::HeaderStart,
    header_not_a_multiple_of_eight: {
        let mut bytes = 2u64.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        bytes
    } => Fault::HeaderUnaligned { len: 2 },
    header_not_json: file("{\"a\":", 0) => Fault::Json(_),
    header_not_an_object: file("[1,2]", 0) => Fault::HeaderStart,
    header_not_unicode: {
        let mut bytes = file("{\"aaa\":1}", 0);
        bytes[10] = 0xff;
        bytes
    } => Fault::Json(_),
    header_nested_deep: file(&format!("{{\"a\":{}", "[".repeat(100_000)), 0) => Fault::Json(_),
    unknown_member_of_megabytes: file(&format!("{{\"a\":{{\"{}\":1}}}}", "\\n".repeat(1 << 20)), 0) => Fault::Json(_),
    truncated_elements: file(&one("a", "F32", "2", 0, 8), 7) => Fault::Truncated { .. },
    trailing_bytes: file(&one("a", "F32", "2", 0, 8), 9) => Fault::TrailingBytes { .. },
    trailing_bytes_without_tensors: file("{}", 1) => Fault::TrailingBytes { .. },
    same_name_same_entry: file(&format!("{{{0},{0}}}", entry("a", "F32", "1", 0, 4)), 4) => Fault::Duplicate { .. },
    same_name_other_entry: file(&format!("{{{},{}}}", entry("a", "F32", "1", 0, 4), entry("a", "F32", "1", 4, 8)), 8)
        => Fault::Duplicate { .. },
    same_name_spelt_with_an_escape:
        file(&format!("{{{},{}}}", entry("a", "F32", "1", 0, 4), entry("\\u0061", "F32", "1", 4, 8)), 8)
        => Fault::Duplicate { .. },
    metadata_twice: file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0) => Fault::Duplicate { .. },
    metadata_key_twice: file(r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0) => Fault::Duplicate { .. },
    metadata_not_text: file(r#"{"__metadata__":{"a":1}}"#, 0) => Fault::Json(_),
    member_twice: file(r#"{"a":{"dtype":"F32","shape":[],"shape":[],"data_offsets":[0,4]}}"#, 4) => Fault::Json(_),
    member_missing: file(r#"{"a":{"dtype":"F32","shape":[]}}"#, 4) => Fault::Json(_),
    member_unknown: file(r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":0}}"#, 4) => Fault::Json(_),
    overlap: file(&format!("{{{},{}}}", entry("a", "F32", "2", 0, 8), entry("b", "F32", "2", 4, 12)), 12)
        => Fault::Position { begin: 4, expected: 8, .. },
    shared_elements: file(&format!("{{{},{}}}", entry("a", "F32", "1", 0, 4), entry("b", "F32", "1", 0, 4)), 4)
        => Fault::Position { begin: 0, expected: 4, .. },
    hole: file(&format!("{{{},{}}}", entry("a", "F32", "1", 0, 4), entry("b", "F32", "1", 8, 12)), 12)
        => Fault::Position { begin: 8, expected: 4, .. },
    hole_at_the_start: file(&one("a", "F32", "1", 4, 8), 8) => Fault::Position { begin: 4, expected: 0, .. },
    nothing_inside_another_tensor:
        file(&format!("{{{},{}}}", entry("a", "F32", "2", 0, 8), entry("b", "F32", "0", 4, 4)), 8)
        => Fault::Position { .. },
    range_backwards: file(&one("a", "F32", "1", 4, 0), 4) => Fault::Length { .. },
    range_too_short: file(&one("a", "F32", "2", 0, 4), 4) => Fault::Length { expected: 8, .. },
    range_too_long: file(&one("a", "F32", "1", 0, 8), 8) => Fault::Length { expected: 4, .. },
    range_of_everything: file(&one("a", "F32", "1", 0, u64::MAX), 4) => Fault::Length { .. },
    range_at_the_end_of_numbers: file(&one("a", "F32", "1", u64::MAX - 3, u64::MAX), 4) => Fault::Length { .. },
    announced_exabytes: file(&one("a", "F32", "1152921504606846976", 0, 1 << 62), 4) => Fault::Truncated { .. },
    shape_overflows: file(&one("a", "F32", "4294967296,4294967296", 0, 0), 0) => Fault::Overflow { .. },
    shape_overflows_in_bytes_only: file(&one("a", "I64", "2305843009213693952", 0, 0), 0) => Fault::Overflow { .. },
    shape_of_nothing_overflows: file(&one("a", "F32", "0,18446744073709551615", 0, 0), 0) => Fault::Overflow { .. },
    shape_negative: file(&one("a", "F32", "-1", 0, 4), 4) => Fault::Json(_),
    shape_fractional: file(&one("a", "F32", "1.0", 0, 4), 4) => Fault::Json(_),
    shape_beyond_64_bits: file(&one("a", "F32", "18446744073709551616", 0, 4), 4) => Fault::Json(_),
    seven_dimensions: file(&one("a", "F32", "1,1,1,1,1,1,1", 0, 4), 4) => Fault::Rank { rank: 7, .. },
    unknown_type: file(&one("a", "F33", "1", 0, 4), 4) => Fault::ElementType { .. },
    unsupported_type: file(&one("a", "F64", "1", 0, 8), 8) => Fault::ElementType { .. },
    elements_not_aligned:
        file(&format!("{{{},{}}}", entry("a", "BF16", "1", 0, 2), entry("b", "F32", "1", 2, 6)), 6)
        => Fault::Unaligned { begin: 2, .. },
    name_empty: file(&one("", "F32", "1", 0, 4), 4) => Fault::Name { .. },
    name_with_nul: file(&one("a\\u0000", "F32", "1", 0, 4), 4) => Fault::Name { .. },
    name_with_line_break: file(&one("a\\nERROR", "F32", "1", 0, 4), 4) => Fault::Name { .. },
    name_climbing_out: file(&one("../../etc/passwd", "F32", "1", 0, 4), 4) => Fault::Name { .. },
    name_too_long: file(&one(&"a".repeat(513), "F32", "1", 0, 4), 4) => Fault::Name { .. },
    more_tensors_than_allowed: {
        let all: Vec<_> = (0..240_000).map(|i| entry(&format!("{i:x}"), "F32", "0", 0, 0)).collect();
        file(&format!("{{{}}}", all.join(",")), 0)
    } => Fault::TooManyTensors { got: 240_000 },
}

#[test]
fn a_folder_and_a_missing_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = SafeTensors::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    let error = SafeTensors::open(folder.path().join("absent")).unwrap_err().to_string();
    assert!(error.contains("absent: ") && !error.contains('\n'), "{error}");
}

#[test]
fn integers_beyond_32_bits_are_refused_when_loaded() {
    let mut bytes = file(&one("a", "I64", "1", 0, 8), 0);
    bytes.extend((1i64 << 31).to_le_bytes());
    let error = open(&bytes).unwrap().tensor("a", &Device::cpu()).unwrap_err().to_string();
    assert!(error.contains("2147483648 does not fit"), "{error}");
}

/// Writes a folder of two shards, `a` in the first and `b` in the second, and an index with this weight map.
fn sharded(folder: &Path, weight_map: &str) -> Result<SafeTensors, String> {
    fs::write(folder.join("m-1.safetensors"), file(&one("a", "F32", "1", 0, 4), 4)).unwrap();
    fs::write(folder.join("m-2.safetensors"), file(&one("b", "BF16", "2", 0, 4), 4)).unwrap();
    let index = format!(r#"{{"metadata":{{"total_size":8}},"weight_map":{{{weight_map}}}}}"#);
    fs::write(folder.join(format!("m{INDEX_SUFFIX}")), index).unwrap();
    SafeTensors::open_folder(folder).map_err(|error| error.to_string())
}

#[test]
fn shards_are_one_set_of_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let opened = sharded(folder.path(), r#""a":"m-1.safetensors","b":"m-2.safetensors""#).unwrap();
    assert_eq!(opened.names().collect::<Vec<_>>(), ["a", "b"]);
    let a = opened.tensor("a", &Device::cpu()).unwrap().to_vec();
    assert_eq!(a, [f32::from_le_bytes([0, 1, 2, 3])]);
    assert_eq!(opened.tensor_f32("b", &Device::cpu()).unwrap().dims(), [2]);
    assert!(opened.tensor("c", &Device::cpu()).unwrap_err().to_string().contains("\"c\""));
}

#[test]
fn indices_that_lie_are_refused() {
    let (one, two) = (r#""a":"m-1.safetensors""#, r#""b":"m-2.safetensors""#);
    let cases = [
        (format!("{one},{two},{}", r#""c":"m-2.safetensors""#), "which does not have it"),
        (format!("{one},{}", r#""x":"m-2.safetensors""#), "which the index does not put there"),
        (format!("{two},{}", r#""a":"m-2.safetensors""#), "which does not have it"),
        (format!("{one},{two},{}", r#""a":"m-2.safetensors""#), "\"a\" twice"),
        (format!("{one},{}", r#""b":"m-3.safetensors""#), "m-3.safetensors"),
        (format!("{one},{}", r#""b":"../m-2.safetensors""#), "not a bare"),
        (format!("{one},{}", r#""b":"/m-2.safetensors""#), "not a bare"),
        (format!("{one},{}", r#""b":".hidden.safetensors""#), "not a bare"),
        (format!("{one},{}", r#""b":"m-2.bin""#), "not a bare"),
        (format!("{one},{}", r#""b":"m\n2.safetensors""#), "not a bare"),
        (format!("{one},{}", r#""b":7"#), "invalid type"),
        (String::new(), "neither"),
    ];
    for (weight_map, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        let error = sharded(folder.path(), &weight_map).unwrap_err();
        assert!(error.contains(reason) && !error.contains('\n'), "{weight_map}: {error}");
    }
}

#[test]
fn a_folder_with_no_weights_or_two_sets_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = SafeTensors::open_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains(WEIGHTS), "{error}");
    fs::write(folder.path().join(WEIGHTS), file(&one("a", "F32", "1", 0, 4), 4)).unwrap();
    assert_eq!(SafeTensors::open_folder(folder.path()).unwrap().names().count(), 1);
    let error = sharded(folder.path(), r#""a":"m-1.safetensors","b":"m-2.safetensors""#).unwrap_err();
    assert!(error.contains("keep one") && error.contains("m.safetensors.index.json"), "{error}");
}

/// Loads everything of a file that was accepted, and checks that the format's own library accepts it too and sees the
/// same tensors: ours is the stricter reader.
fn load_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(opened) = open(bytes) else { return Ok(()) };
    let theirs = safetensors::SafeTensors::deserialize(bytes);
    let theirs = theirs.map_err(|error| TestCaseError::fail(format!("the library refuses: {error}")))?;
    prop_assert_eq!(opened.names().len(), theirs.len());
    for name in opened.names() {
        let info = opened.info(name).unwrap();
        let view = theirs.tensor(name).unwrap();
        prop_assert_eq!(info.shape.dims(), view.shape());
        prop_assert_eq!(info.dtype.name(), view.dtype().to_string());
        prop_assert_eq!(info.shape.elements() * info.dtype.size(), view.data().len());
        if let Ok(tensor) = opened.tensor(name, &Device::cpu()) {
            prop_assert_eq!(tensor.dtype(), info.dtype.loaded());
        }
    }
    Ok(())
}

/// A file with a tensor of each type, a scalar, an empty tensor and text.
fn honest() -> Vec<u8> {
    let tensors = [
        entry("i64", "I64", "2", 0, 16),
        entry("f32", "F32", "2,3", 16, 40),
        entry("scalar", "F32", "", 40, 44),
        entry("i32", "I32", "1", 44, 48),
        entry("nothing", "F32", "0,7", 48, 48),
        entry("bf16", "BF16", "3", 48, 54),
        entry("f16", "F16", "1,1,1", 54, 56),
    ];
    file(&format!("{{\"__metadata__\":{{\"format\":\"pt\"}},{}}}", tensors.join(",")), 56)
}

/// Headers of plausible and of impossible parts, so that the later checks are reached.
fn forged() -> impl Strategy<Value = Vec<u8>> {
    let extent = prop_oneof![0u64..4, Just(1 << 32), Just(u64::MAX)];
    let dtype = prop_oneof![Just("F32"), Just("F16"), Just("BF16"), Just("I32"), Just("I64"), Just("F64")];
    let name = prop_oneof![Just("a"), Just("b"), Just("c.d"), Just("../e"), Just("__metadata__")];
    let shift = prop_oneof![8 => Just(0i64), 1 => Just(1), 1 => Just(-2), 1 => Just(i64::MIN)];
    let tensor = (name, dtype, prop::collection::vec(extent, 0..4), shift);
    (prop::collection::vec(tensor, 0..4), 0usize..4).prop_map(|(tensors, more)| {
        let mut begin = 0u64;
        let mut entries = Vec::new();
        for (name, dtype, shape, shift) in tensors {
            let size = match dtype {
                "I64" | "F64" => 8u64,
                "F16" | "BF16" => 2,
                _ => 4,
            };
            let length = shape.iter().fold(size, |n, &extent| n.wrapping_mul(extent));
            let end = begin.wrapping_add(length).wrapping_add_signed(shift);
            let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
            entries.push(entry(name, dtype, &shape.join(","), begin, end));
            begin = end;
        }
        // Sometimes more bytes than announced: three of four files fit.
        file(&format!("{{{}}}", entries.join(",")), begin.min(4096) as usize + more / 3)
    })
}

#[test]
fn an_honest_file_is_accepted_and_each_truncation_of_it_refused() {
    let bytes = honest();
    assert_eq!(open(&bytes).unwrap().names().len(), 7);
    load_all(&bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(matches!(fault(&bytes[..len]), Fault::Truncated { .. }), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        text in prop::sample::select(b"0123456789,:[]{}\"\\ -.eF".to_vec()),
        at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = honest();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        // A character that JSON gives a meaning inside the header, and anything anywhere.
        bytes[8 + at.index(header)] = text;
        load_all(&bytes)?;
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        load_all(&bytes)?;
    }

    #[test]
    fn forged_headers_never_panic(bytes in forged()) {
        load_all(&bytes)?;
    }
}

#[test]
fn folders_of_diffusers_and_of_transformers_are_read() {
    for name in [WEIGHTS, ENCODER_WEIGHTS] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), file(&one("a", "F32", "1", 0, 4), 4)).unwrap();
        assert_eq!(SafeTensors::open_folder(folder.path()).unwrap().names().collect::<Vec<_>>(), ["a"]);
    }
}
