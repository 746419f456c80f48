//! Which caption belongs to which file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::Error;
use crate::data::dataset::read_limited;

/// Tables of captions, by the name that a folder may hold.
const TABLES: [(&str, ParseFn); 2] = [("captions.jsonl", parse_json_line), ("captions.csv", parse_csv_line)];
type ParseFn = fn(&str) -> Result<(String, String), &'static str>;

/// The largest table, and the largest sidecar, in bytes.
const LARGEST: u64 = 64 << 20;

/// The captions of a folder: from its table, or else from a text file beside each clip.
#[derive(Debug)]
pub(super) struct Captions {
    folder: PathBuf,
    table: BTreeMap<String, String>,
}

impl Captions {
    /// Reads the folder's table, if it has one.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let mut tables = TABLES.iter().filter(|(name, _)| folder.join(name).is_file());
        let table = match (tables.next(), tables.next()) {
            (Some((name, parse)), None) => read_table(&folder.join(name), *parse)?,
            (None, _) => BTreeMap::new(),
            (Some(_), Some(_)) => return Err(Error::TwoCaptionTables { folder: folder.to_owned() }),
        };
        Ok(Self { folder: folder.to_owned(), table })
    }

    /// The caption of a file or folder of this name, if there is one: single spaces, lower case.
    pub(super) fn of(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.as_written(name)?.map(|caption| caption.to_lowercase()))
    }

    /// The same in the case in which it was written.
    pub(super) fn as_written(&self, name: &str) -> Result<Option<String>, Error> {
        if let Some(caption) = self.table.get(name) {
            return Ok(Some(spaced(caption)).filter(|c| !c.is_empty()));
        }
        let sidecar = self.folder.join(name).with_extension("txt");
        if !sidecar.is_file() {
            return Ok(None);
        }
        let bytes = read_limited(&sidecar, LARGEST)?;
        Ok(Some(spaced(&String::from_utf8_lossy(&bytes))).filter(|c| !c.is_empty()))
    }

    /// Names in the table that are not in `files`, which is sorted.
    pub(super) fn without_file(&self, files: &[String]) -> Vec<String> {
        self.table.keys().filter(|name| !files.contains(name)).cloned().collect()
    }
}

/// Whether a file of this name is about clips rather than a clip.
pub(super) fn is_text(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    name.starts_with('.') || ["txt", "jsonl", "csv", "json", "md"].iter().any(|e| extension.eq_ignore_ascii_case(e))
}

fn spaced(caption: &str) -> String {
    caption.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read_table(path: &Path, parse: ParseFn) -> Result<BTreeMap<String, String>, Error> {
    let wrong = |line: usize, why| Error::CaptionLine { path: path.to_owned(), line: line + 1, why };
    let bytes = read_limited(path, LARGEST)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(0, "the file is not UTF-8"))?;
    let mut table = BTreeMap::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (name, caption) = parse(line).map_err(|why| wrong(number, why))?;
        if number == 0 && (name.as_str(), caption.as_str()) == ("file", "caption") {
            continue;
        }
        if table.insert(name, caption).is_some() {
            return Err(wrong(number, "the file has a caption already"));
        }
    }
    Ok(table)
}

/// `{"file": "a.gif", "caption": "a red ball"}`; `file_name` and `text` are understood too.
fn parse_json_line(line: &str) -> Result<(String, String), &'static str> {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(alias = "file_name")]
        file: String,
        #[serde(alias = "text")]
        caption: String,
    }
    let line: Line = serde_json::from_str(line).map_err(|_| "expected {\"file\": \"...\", \"caption\": \"...\"}")?;
    Ok((line.file, line.caption))
}

/// `a.gif,a red ball`, either field in quotation marks if it contains a comma; a quotation mark inside is doubled.
fn parse_csv_line(line: &str) -> Result<(String, String), &'static str> {
    const WRONG: &str = "expected two fields: file,caption";
    let (name, rest) = csv_field(line.trim_end_matches('\r')).ok_or(WRONG)?;
    let (caption, end) = csv_field(rest.ok_or(WRONG)?).ok_or(WRONG)?;
    if end.is_some() { Err(WRONG) } else { Ok((name, caption)) }
}

/// A field, and what follows its comma. `None` if a quotation does not end at a comma or the end of the line.
fn csv_field(line: &str) -> Option<(String, Option<&str>)> {
    let Some(mut rest) = line.strip_prefix('"') else {
        return Some(match line.split_once(',') {
            Some((field, rest)) => (field.to_owned(), Some(rest)),
            None => (line.to_owned(), None),
        });
    };
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None if after.is_empty() => return Some((field, None)),
            None => return Some((field, Some(after.strip_prefix(',')?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_lines_are_parsed() {
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(parse_csv_line("a.gif,red ball"), pair("a.gif", "red ball"));
        assert_eq!(
            parse_csv_line("\"a,b.gif\",\"a \"\"red\"\" ball, rolling\"\r"),
            pair("a,b.gif", "a \"red\" ball, rolling")
        );
        for wrong in ["a.gif", "a,b,c", "\"a,b", "\"a\"b,c", "a,\"b\"c"] {
            assert!(parse_csv_line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("captions.jsonl");
        let error = |text: &str| {
            std::fs::write(&table, text).unwrap();
            Captions::open(folder.path()).unwrap_err().to_string()
        };
        assert!(error("{\"file\": \"a\", \"caption\": \"b\"}\n\n{\"file\": 3}\n").contains("captions.jsonl, line 3"));
        let twice = "{\"file_name\": \"a\", \"text\": \"b\"}\n".repeat(2);
        assert!(error(&twice).contains("line 2: the file has a caption already"));
        std::fs::write(folder.path().join("captions.csv"), "").unwrap();
        assert!(matches!(Captions::open(folder.path()), Err(Error::TwoCaptionTables { .. })));
    }
}
