//! From defaults, presets, files and overrides to one [`Config`].

use std::path::Path;

use toml::{Table, Value};

use super::{Config, Error, Result};

/// The presets in `configs/`: name and contents.
pub const PRESETS: &[(&str, &str)] = &[
    ("digits", include_str!("../../../configs/digits.toml")),
    ("counter", include_str!("../../../configs/counter.toml")),
    ("demo", include_str!("../../../configs/demo.toml")),
    ("quick", include_str!("../../../configs/quick.toml")),
    ("wan", include_str!("../../../configs/wan.toml")),
];

/// A configuration in the making. Each layer changes what the ones before it said, and is checked as it is added, so
/// that a message names the layer at fault.
#[derive(Clone, Debug)]
pub struct Layers {
    table: Table,
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// The defaults.
    pub fn new() -> Self {
        Self { table: defaults() }
    }

    /// Adds a preset of [`PRESETS`].
    ///
    /// # Errors
    /// [`Error::UnknownPreset`].
    pub fn preset(self, name: &str) -> Result<Self> {
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => self.text(&format!("preset `{name}`"), text),
            None => Err(Error::UnknownPreset {
                name: name.to_owned(),
                known: PRESETS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// A file that cannot be read, is not TOML, or does not fit.
    pub fn file(self, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        self.text(&format!("`{}`", path.display()), &text)
    }

    /// Adds TOML text; `layer` names it in messages.
    ///
    /// # Errors
    /// Text that is not TOML or does not fit.
    pub fn text(mut self, layer: &str, text: &str) -> Result<Self> {
        let over = text.parse().map_err(|e| Error::Syntax { layer: layer.to_owned(), source: Box::new(e) })?;
        Merge { layer, known: &defaults() }.merge(&mut self.table, over, "")?;
        Ok(self)
    }

    /// Adds an override `a.b=c`. The value is TOML; a bare word is a string.
    ///
    /// # Errors
    /// A key that does not exist or a value that does not fit.
    pub fn set(mut self, text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').ok_or_else(|| Error::NoEquals { text: text.to_owned() })?;
        let (key, value) = (key.trim(), value.trim());
        let parsed = format!("value = {value}").parse().ok().filter(|table: &Table| table.len() == 1);
        let mut over = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.into());
        let mut parts = key.rsplit('.');
        let last = parts.next().unwrap_or_default();
        let mut table = Table::from_iter([(last.to_owned(), over)]);
        for part in parts {
            over = Value::Table(table);
            table = Table::from_iter([(part.to_owned(), over)]);
        }
        let layer = format!("--set {text}");
        Merge { layer: &layer, known: &defaults() }.merge(&mut self.table, table, "")?;
        Ok(self)
    }

    /// The finished configuration.
    ///
    /// # Errors
    /// A number outside its range.
    pub fn finish(self) -> Result<Config> {
        let config = read(&self.table).expect("every value was tried when it was added");
        config.check()?;
        Ok(config)
    }
}

fn defaults() -> Table {
    Table::try_from(Config::default()).expect("a tree of numbers, names and lists can always be written as TOML")
}

fn read(table: &Table) -> Result<Config, toml::de::Error> {
    Value::Table(table.clone()).try_into()
}

/// Adds one layer to a table that has every known key.
struct Merge<'a> {
    layer: &'a str,
    known: &'a Table,
}

impl Merge<'_> {
    fn merge(&self, base: &mut Table, over: Table, path: &str) -> Result<()> {
        for (name, value) in over {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (base.get_mut(&name), value) {
                (None, _) => return Err(self.unknown(key)),
                (Some(Value::Table(inner)), Value::Table(over)) => self.merge(inner, over, &key)?,
                (Some(Value::Table(_)), value) => return Err(self.kind(key, "table", value.type_str())),
                (Some(known), Value::Table(_)) => return Err(self.kind(key, known.type_str(), "table")),
                (Some(slot), value) => {
                    self.try_alone(&key, &value)?;
                    *slot = value;
                }
            }
        }
        Ok(())
    }

    /// Tries one value among the defaults: whatever fails then is this value's fault.
    fn try_alone(&self, key: &str, value: &Value) -> Result<()> {
        let mut trial = self.known.clone();
        if let Some(slot) = slot(&mut trial, key) {
            *slot = value.clone();
        }
        read(&trial).map(drop).map_err(|source| Error::Value {
            layer: self.layer.to_owned(),
            key: key.to_owned(),
            source: Box::new(source),
        })
    }

    fn kind(&self, key: String, expected: &'static str, got: &'static str) -> Error {
        Error::Kind { layer: self.layer.to_owned(), key, expected, got }
    }

    fn unknown(&self, key: String) -> Error {
        let mut keys = Vec::new();
        dotted(self.known, "", &mut keys);
        let nearest = keys
            .into_iter()
            .map(|known| (strsim::normalized_damerau_levenshtein(&known, &key), known))
            .filter(|(likeness, _)| *likeness >= 0.6)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known);
        Error::UnknownKey { layer: self.layer.to_owned(), key, nearest }
    }
}

/// The value of a dotted key.
fn slot<'t>(table: &'t mut Table, key: &str) -> Option<&'t mut Value> {
    match key.split_once('.') {
        None => table.get_mut(key),
        Some((first, rest)) => slot(table.get_mut(first)?.as_table_mut()?, rest),
    }
}

/// All dotted keys of values and tables.
fn dotted(table: &Table, path: &str, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Value::Table(inner) = value {
            dotted(inner, &key, keys);
        }
        keys.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OptimizerKind;

    fn message(layers: Result<Layers>) -> String {
        layers.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_layer_changes_only_what_it_names() {
        let config = Layers::new()
            .text("test", "[train]\nsteps = 7\n[train.optimizer]\nlr = 1\n")
            .and_then(|l| l.set("train.optimizer.kind=adamw"))
            .and_then(|l| l.set("model.patch_size=[2, 4, 4]"))
            .and_then(|l| l.set("data.world = some/folder"))
            .and_then(Layers::finish)
            .unwrap();
        let mut expected = Config::default();
        expected.train.steps = 7;
        expected.train.optimizer.lr = 1.0;
        expected.train.optimizer.kind = OptimizerKind::Adamw;
        expected.model.patch_size = [2, 4, 4];
        expected.data.world = "some/folder".to_owned();
        assert_eq!(config, expected);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (name, _) in PRESETS {
            let config = Layers::new().preset(name).and_then(Layers::finish).unwrap();
            let again = Layers::new().text("again", &config.to_toml()).and_then(Layers::finish).unwrap();
            assert_eq!(config, again, "{name}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        assert_eq!(
            message(Layers::new().set("train.stpes=3")),
            "--set train.stpes=3: there is no `train.stpes`; did you mean `train.steps`?"
        );
        assert_eq!(message(Layers::new().text("`a.toml`", "zzz = 1")), "`a.toml`: there is no `zzz`");
        assert!(message(Layers::new().set("=1")).contains("there is no ``"));
    }

    #[test]
    fn values_that_do_not_fit_name_their_key_and_layer() {
        for (text, key) in [
            ("train.steps=-1", "train.steps"),
            ("train.steps=many", "train.steps"),
            ("train.density=uniformly", "train.density"),
            ("model.patch_size=[1,2]", "model.patch_size"),
        ] {
            let text = message(Layers::new().set(text));
            assert!(text.contains(&format!("bad value for `{key}`")), "{text}");
        }
        assert!(message(Layers::new().set("train=3")).contains("`train` takes a value of type table, not integer"));
        assert!(message(Layers::new().set("train.steps.x=3")).contains("`train.steps` takes"));
        assert!(message(Layers::new().set("train.steps")).contains("key=value"));
        assert!(message(Layers::new().preset("cuonter")).contains("digits, counter, demo, quick"));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for text in ["train.text_drop=1.5", "train.micro_batches=5", "run.keep=0", "prune.optimizer.lr=nan"] {
            let error = Layers::new().set(text).and_then(Layers::finish).unwrap_err();
            assert!(error.to_string().contains(text.split('=').next().unwrap()), "{error}");
        }
    }
}
