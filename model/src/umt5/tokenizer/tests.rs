//! What is refused, and by which words. What is accepted is compared with another implementation in `tests/parity.rs`.

use serde_json::json;

use super::*;

fn file() -> Value {
    json!({
        "added_tokens": [{ "id": 1, "content": "</s>" }],
        "normalizer": null,
        "pre_tokenizer": { "type": "Metaspace", "replacement": "▁" },
        "model": { "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["▁a", -1.0], ["b", -2.0]] },
    })
}

fn read(value: &Value) -> Result<Tokenizer, Fault> {
    Tokenizer::from_json(value.to_string().as_bytes())
}

#[test]
fn what_is_too_long_loses_its_end() {
    let tokenizer = read(&file()).unwrap();
    assert_eq!(tokenizer.encode("abb a", 9), [2, 3, 3, 2, 1]);
    assert_eq!(tokenizer.encode("abb a", 4), [2, 3, 3, 1]);
    assert_eq!((tokenizer.encode("abb a", 1), tokenizer.encode("abb a", 0)), (vec![1], vec![1]));
}

#[test]
fn what_is_not_supported_is_named() {
    let regex = json!({ "type": "Replace", "pattern": { "Regex": "a+" }, "content": "" });
    let changes = [
        ("/model/type", json!("WordLevel"), "WordLevel"),
        ("/model/unk_id", json!(4), "no unknown token"),
        ("/model/vocab/1/0", json!("</t>"), "no </s>"),
        ("/model/vocab", json!({}), "expected a sequence"),
        ("/normalizer", json!({ "type": "NFKC" }), "NFKC"),
        ("/normalizer", json!({ "type": "Sequence", "normalizers": [regex] }), "a+"),
        ("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "?" }), "base64"),
        ("/pre_tokenizer", json!({ "type": "ByteLevel" }), "ByteLevel"),
        ("/pre_tokenizer", json!({}), "without a type"),
        ("/added_tokens/0/single_word", json!(true), "single_word"),
    ];
    for (path, value, says) in changes {
        let mut file = file();
        if says.starts_with("no </s>") {
            file["added_tokens"] = json!([]);
        }
        let (parent, key) = path.rsplit_once('/').unwrap();
        match file.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
        let refused = read(&file).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(says), "{path}: {refused}");
    }
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    assert!(Tokenizer::read(&path).unwrap_err().to_string().contains(FILE));
    assert!(Tokenizer::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    std::fs::write(&path, "{}").unwrap();
    let refused = Tokenizer::read(&path).unwrap_err().to_string();
    assert!(refused.contains(FILE) && refused.contains("model"), "{refused}");
}
