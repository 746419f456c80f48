//! Tokens that the crate `tokenizers` makes of prompts, for each vocabulary `NAME.json` with its `NAME.ids.json`.

use std::path::Path;

use flg_model::umt5::tokenizer::Tokenizer;
use serde_json::Value;

use super::report::Report;

pub fn check(folder: &Path, report: &mut Report) {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".ids.json")?.to_owned()))
        .collect();
    names.sort();
    for name in names {
        let tokenizer = Tokenizer::read(&folder.join(format!("{name}.json"))).unwrap();
        let ids = std::fs::read_to_string(folder.join(format!("{name}.ids.json"))).unwrap();
        let ids: Value = serde_json::from_str(&ids).unwrap();
        let limit = ids["limit"].as_u64().unwrap() as usize;
        let cases: Vec<(String, Vec<usize>)> = serde_json::from_value(ids["cases"].clone()).unwrap();
        let differs = |(text, want): &&(String, Vec<usize>)| tokenizer.encode(text, limit).unwrap() != *want;
        let different: Vec<_> = cases.iter().filter(differs).collect();
        let first = different.first().map(|(text, want)| (text, want, tokenizer.encode(text, limit).unwrap()));
        let detail =
            format!("{} of {} prompts differ, first (text, expected, got) {first:?}", different.len(), cases.len());
        report.check(&name, &detail, different.is_empty() && !cases.is_empty());
    }
}
