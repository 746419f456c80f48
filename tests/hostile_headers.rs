//! A corpus of mutated safetensors headers: each is judged as it was when the corpus was written, without panic and without
//! memory that the file does not justify.

mod allocations;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use flg_engine::safetensors::{Fault, SafeTensors};
use flg_engine::{Device, Key};

/// Headers that once were interesting, a line each: what they are refused for, or that they are accepted. Bytes of
/// elements follow, as many as the line says. `write_the_corpus` made it.
#[test]
fn headers_of_the_corpus_are_judged_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    let lines = fs::read_to_string(folder.join("headers.txt")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let mut cases = 0;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(3, ' ');
        let [verdict, data, header] = std::array::from_fn(|_| fields.next().unwrap());
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
        file.extend(bytes);
        file.resize(file.len() + data.parse::<usize>().unwrap(), 0);
        fs::write(&path, &file).unwrap();
        allocations::forget();
        let got = match SafeTensors::open(&path) {
            Ok(opened) => {
                opened.names().for_each(|name| drop(opened.tensor(name, &Device::cpu())));
                "accepted".to_owned()
            }
            Err(flg_engine::Error::File(flg_engine::FileError::SafeTensors { fault, .. })) => kind(&fault),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(got, verdict, "{header}");
        assert!(allocations::largest() <= allocations::MOST, "{header}");
        cases += 1;
    }
    assert!(cases >= 100, "{cases}");
}

/// A header's words and signs.
fn parts(header: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for sign in header.chars() {
        let last = parts.last_mut();
        match last.filter(|part| sign.is_alphanumeric() && part.ends_with(|c: char| c.is_alphanumeric())) {
            Some(part) => part.push(sign),
            None => parts.push(sign.to_string()),
        }
    }
    parts
}

/// Rewrites the corpus: headers of an honest file with parts lost, doubled, exchanged and made absurd, some of each
/// verdict. To be run, and its changes to be read, when a verdict is meant to change.
#[test]
#[ignore = "rewrites tests/fixtures/corpus/headers.txt"]
fn write_the_corpus() {
    const ABSURD: [&str; 14] = [
        "18446744073709551615",
        "9223372036854775808",
        "4294967296",
        "-1",
        "1e3",
        "0.5",
        "[]",
        "{}",
        "null",
        "\"F32\"",
        "\"F8_E4M3\"",
        "\"..\"",
        "\"a\\u0000\"",
        "0",
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    let tensor = |name: &str, dtype: &str, shape: &str, range: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{range}]}}"#)
    };
    let base = [
        r#""__metadata__":{"format":"pt"}"#.to_owned(),
        tensor("b", "F32", "2,1", "0,8"),
        tensor("n", "I64", "0,7", "8,8"),
        tensor("a.b", "BF16", "2", "8,12"),
    ];
    // Honest, and wrong in one way each, so that what is near those is seen too.
    let wrong = [
        tensor("b", "F32", "2", "0,8"),
        tensor("c", "F32", "1", "4,8"),
        tensor("c", "I32", "1", "16,20"),
        tensor("c", "BF16", "1,1,1,1,1,1,1", "12,14"),
        tensor("c", "F32", "1", "12,16"),
        r#""__metadata__":{}"#.to_owned(),
    ];
    let more = wrong.iter().map(|tensor| format!("{{{},{tensor}}}", base.join(",")));
    let bases: Vec<_> = [format!("{{{}}}", base.join(",")), format!("{{{}}}", base[..3].join(","))]
        .into_iter()
        .chain(more)
        .map(|header| parts(&header))
        .collect();
    let mut stream = Key::new(1).name("corpus").stream();
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..4000 {
        let mut header = bases[round % bases.len()].clone();
        for _ in 0..round / bases.len() % 4 {
            let (at, other) = (stream.below(header.len()), stream.below(header.len()));
            match stream.below(4) {
                0 => drop(header.remove(at)),
                1 => header.insert(at, header[other].clone()),
                2 => header.swap(at, other),
                _ => header[at] = ABSURD[stream.below(ABSURD.len())].to_owned(),
            }
        }
        let header = header.concat();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
        file.extend(bytes);
        file.resize(file.len() + 12, 0);
        fs::write(&path, &file).unwrap();
        let verdict = match SafeTensors::open(&path) {
            Ok(_) => "accepted".to_owned(),
            Err(flg_engine::Error::File(flg_engine::FileError::SafeTensors { fault, .. })) => kind(&fault),
            Err(other) => panic!("{other}"),
        };
        let list = kept.entry(verdict).or_default();
        if list.len() < 16 && !list.contains(&header) {
            list.push(header);
        }
    }
    let mut text = "# verdict, bytes of elements, header\n".to_owned();
    for (verdict, headers) in kept {
        headers.iter().for_each(|header| text += &format!("{verdict} 12 {header}\n"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("headers.txt"), text).unwrap();
}

/// The name of a fault's variant.
fn kind(fault: &Fault) -> String {
    let text = format!("{fault:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
