//! Writing an encoded data set, clip by clip; interrupted, it goes on with the clips that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::files::{read_json, write_json};
use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{DType, Device, Shape, Tensor};

use super::manifest::{CaptionEntry, ClipEntry, FileEntry, Manifest, VERSION, check_text};
use super::{
    CAPTION, CHANNELS, CLIPS, EMBEDDING, EncodedCause, Form, IMAGE, LATENTS, MANIFEST, MAX_CLIPS, NAME, NULL, PLAN,
    SPLIT, StoredAs, TEXTS,
};
use crate::data::{Error, Split};

/// A set that is being written. Every method leaves the folder in a state that [`EncodedWriter::new`] goes on with.
#[derive(Debug)]
pub struct EncodedWriter {
    folder: PathBuf,
    form: Form,
    null: bool,
    /// Captions by the number of their file.
    texts: BTreeMap<String, usize>,
    /// Names of clips with their entries, in the order in which they came.
    names: BTreeSet<String>,
    clips: Vec<Kept>,
}

/// A clip that is on the disk.
#[derive(Debug)]
struct Kept {
    number: usize,
    name: String,
    caption: String,
    split: Split,
}

/// A clip to add.
#[derive(Clone, Copy, Debug)]
pub struct NewClip<'a> {
    /// What tells it from the others, and is the same when it is encoded again: its source and place in it.
    pub name: &'a str,
    /// What it shows; its embedding is given apart.
    pub caption: &'a str,
    /// The part.
    pub split: Split,
    /// Its numbers.
    pub tensors: ClipTensors<'a>,
}

/// The numbers of a clip.
#[derive(Clone, Copy, Debug)]
pub struct ClipTensors<'a> {
    /// `[c, f, h, w]`, normalised.
    pub latents: &'a Tensor,
    /// `[rows, width]`, where the set has image embeddings.
    pub image: Option<&'a Tensor>,
    /// `[channels, f, h, w]`, where the set has such.
    pub channels: Option<&'a Tensor>,
}

impl EncodedWriter {
    /// Begins a set in `folder`, or goes on with one that was begun there with the same form.
    ///
    /// # Errors
    /// A form that cannot be; a finished set; one that was begun with another form; files that are damaged; the system's
    /// refusals.
    pub fn new(folder: &Path, form: Form) -> Result<Self, Error> {
        let at = |name: &str| folder.join(name);
        form.check().map_err(|cause| in_file(&at(PLAN), cause))?;
        if at(MANIFEST).exists() {
            return Err(in_file(folder, EncodedCause::Finished));
        }
        for path in [at(TEXTS), at(CLIPS)] {
            fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
        if at(PLAN).exists() {
            let begun: Form = read_json(at(PLAN)).map_err(|error| in_file(&at(PLAN), error.into()))?;
            if begun != form {
                return Err(in_file(folder, EncodedCause::OtherForm));
            }
        } else {
            write_json(at(PLAN), &form).map_err(|error| in_file(&at(PLAN), error.into()))?;
        }
        let mut writer = EncodedWriter {
            folder: folder.to_owned(),
            form,
            null: at(NULL).is_file(),
            texts: BTreeMap::new(),
            names: BTreeSet::new(),
            clips: Vec::new(),
        };
        writer.take_up()?;
        Ok(writer)
    }

    /// Finds what an earlier writer left.
    fn take_up(&mut self) -> Result<(), Error> {
        for (number, path) in numbered(&self.folder.join(TEXTS))? {
            let caption = metadata(&path, CAPTION)?;
            self.texts.insert(caption, number);
        }
        for (number, path) in numbered(&self.folder.join(CLIPS))? {
            let (name, caption) = (metadata(&path, NAME)?, metadata(&path, CAPTION)?);
            let split = split_of(&metadata(&path, SPLIT)?)
                .ok_or_else(|| in_file(&path, EncodedCause::Metadata { key: SPLIT }))?;
            self.names.insert(name.clone());
            self.clips.push(Kept { number, name, caption, split });
        }
        Ok(())
    }

    /// What is the same for all clips.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Clips that are there.
    pub fn clips(&self) -> usize {
        self.clips.len()
    }

    /// Whether a clip of this name is there: it need not be encoded again.
    pub fn has_clip(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether the embedding of a caption is there; that of the null caption for an empty one.
    pub fn has_text(&self, caption: &str) -> bool {
        if caption.is_empty() { self.null } else { self.texts.contains_key(caption) }
    }

    /// Adds the embedding `[rows, width]` of a caption, or of the null caption if it is empty; one that is there stays.
    /// It may have fewer rows than the form; rows of zeros at its end are not stored.
    ///
    /// # Errors
    /// Another width or more rows; values that are not finite; the system's refusals.
    pub fn text(&mut self, caption: &str, embedding: &Tensor) -> Result<(), Error> {
        if self.has_text(caption) {
            return Ok(());
        }
        let number = self.texts.len();
        let file = if caption.is_empty() { NULL.to_owned() } else { numbered_file(TEXTS, number) };
        let path = self.folder.join(file);
        let write = || {
            check_text(caption)?;
            let embedding = self.trimmed(embedding)?;
            let metadata = BTreeMap::from([(CAPTION.to_owned(), caption.to_owned())]);
            Ok(safetensors::write(&path, [(EMBEDDING, &embedding)], &metadata)?)
        };
        write().map_err(|cause| in_file(&path, cause))?;
        if caption.is_empty() {
            self.null = true;
        } else {
            self.texts.insert(caption.to_owned(), number);
        }
        Ok(())
    }

    /// An embedding without the zeros at its end, at least one row.
    fn trimmed(&self, embedding: &Tensor) -> Result<Tensor, EncodedCause> {
        let Form { text_rows, text_dim, .. } = self.form;
        let got = embedding.shape();
        let rows = match *embedding.dims() {
            [rows, width] if (1..=text_rows).contains(&rows) && width == text_dim => rows,
            _ => {
                let expected = Shape::from([text_rows, text_dim]);
                return Err(EncodedCause::Shape { name: EMBEDDING, expected, got });
            }
        };
        let values = self.finite(EMBEDDING, embedding)?;
        let said = |row: &usize| values[row * text_dim..][..text_dim].iter().any(|&value| value != 0.0);
        let kept = (0..rows).rev().find(said).map_or(1, |row| row + 1);
        self.stored(embedding.narrow(0, 0, kept)?.contiguous()?)
    }

    /// Adds a clip; one of this name that is there stays.
    ///
    /// # Errors
    /// Tensors of another shape, missing ones and ones too many; values that are not finite; too many clips; the system's
    /// refusals.
    pub fn push(&mut self, clip: NewClip<'_>) -> Result<(), Error> {
        if self.has_clip(clip.name) {
            return Ok(());
        }
        let number = self.clips.last().map_or(0, |clip| clip.number + 1);
        let path = self.folder.join(numbered_file(CLIPS, number));
        self.write_clip(&path, &clip).map_err(|cause| in_file(&path, cause))?;
        let NewClip { name, caption, split, .. } = clip;
        self.names.insert(name.to_owned());
        self.clips.push(Kept { number, name: name.to_owned(), caption: caption.to_owned(), split });
        Ok(())
    }

    fn write_clip(&self, path: &Path, clip: &NewClip<'_>) -> Result<(), EncodedCause> {
        if self.clips.len() == MAX_CLIPS {
            return Err(EncodedCause::TooMany);
        }
        let NewClip { name, caption, split, tensors } = clip;
        check_text(name)?;
        check_text(caption)?;
        if caption.is_empty() {
            return Err(EncodedCause::Entry { key: CAPTION, got: "empty".to_owned(), allowed: "a clip needs one" });
        }
        let given = [(LATENTS, Some(tensors.latents)), (IMAGE, tensors.image), (CHANNELS, tensors.channels)];
        let mut stored = Vec::new();
        for ((name, tensor), expected) in given.into_iter().zip(self.form.shapes()) {
            match (tensor, expected) {
                (None, None) => {}
                (None, Some(_)) => return Err(EncodedCause::Missing { name }),
                (Some(_), None) => return Err(EncodedCause::Unknown { name: name.to_owned() }),
                (Some(tensor), Some(expected)) => {
                    let got = tensor.shape();
                    if got != expected {
                        return Err(EncodedCause::Shape { name, expected, got });
                    }
                    self.finite(name, tensor)?;
                    stored.push((name, self.stored(tensor.contiguous()?)?));
                }
            }
        }
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let metadata = BTreeMap::from([text(NAME, name), text(CAPTION, caption), text(SPLIT, &split.to_string())]);
        Ok(safetensors::write(path, stored.iter().map(|(name, tensor)| (*name, tensor)), &metadata)?)
    }

    fn finite(&self, name: &'static str, tensor: &Tensor) -> Result<Vec<f32>, EncodedCause> {
        let values = tensor.to(&Device::cpu())?.cast(DType::F32)?.values()?;
        if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(EncodedCause::NotFinite { name }) }
    }

    fn stored(&self, tensor: Tensor) -> Result<Tensor, EncodedCause> {
        let dtype = match self.form.stored {
            StoredAs::Bf16 => DType::Bf16,
            StoredAs::F32 => DType::F32,
        };
        Ok(tensor.cast(dtype)?)
    }

    /// Hashes every file and writes the manifest; returns the number of clips.
    ///
    /// # Errors
    /// A caption without an embedding, the null caption among them; the system's refusals.
    pub fn finish(self) -> Result<usize, Error> {
        let manifest = self.manifest().map_err(|cause| in_file(&self.folder, cause))?;
        let path = self.folder.join(MANIFEST);
        let written = manifest.check().and_then(|()| Ok(write_json(&path, &manifest)?));
        written.map_err(|cause| in_file(&path, cause))?;
        let plan = self.folder.join(PLAN);
        fs::remove_file(&plan).map_err(|source| Error::Io { path: plan, source })?;
        Ok(self.clips.len())
    }

    fn manifest(&self) -> Result<Manifest, EncodedCause> {
        if !self.null {
            return Err(EncodedCause::NoText { caption: String::new() });
        }
        let no_text = |caption: &str| EncodedCause::NoText { caption: caption.to_owned() };
        // In the order of their texts, whatever order they were encoded in.
        let captions: BTreeSet<&str> = self.clips.iter().map(|clip| clip.caption.as_str()).collect();
        let mut entries = Vec::new();
        for &text in &captions {
            let &number = self.texts.get(text).ok_or_else(|| no_text(text))?;
            let file = FileEntry::of(&self.folder, numbered_file(TEXTS, number))?;
            entries.push(CaptionEntry { text: text.to_owned(), file });
        }
        let listed: Vec<&str> = captions.into_iter().collect();
        let mut clips = Vec::new();
        for Kept { number, name, caption, split } in &self.clips {
            let caption = listed.binary_search(&caption.as_str()).map_err(|_| no_text(caption))?;
            let file = FileEntry::of(&self.folder, numbered_file(CLIPS, *number))?;
            clips.push(ClipEntry { name: name.clone(), caption, split: *split, file });
        }
        let null = FileEntry::of(&self.folder, NULL.to_owned())?;
        Ok(Manifest { version: VERSION, form: self.form.clone(), null, captions: entries, clips })
    }
}

impl Form {
    /// Shapes of latents, image and channels of a clip, where it has such.
    pub(super) fn shapes(&self) -> [Option<Shape>; 3] {
        let [_, frames, rows, columns] = self.latents;
        let image = self.image.map(|image| Shape::from([image.rows, image.dim]));
        let channels = (self.channels > 0).then(|| Shape::from([self.channels, frames, rows, columns]));
        [Some(self.latents.into()), image, channels]
    }
}

fn numbered_file(folder: &str, number: usize) -> String {
    format!("{folder}/{number:06}.safetensors")
}

/// Numbered files of a folder, in order; others (a crash's temporary ones) are none of the set's.
fn numbered(folder: &Path) -> Result<Vec<(usize, PathBuf)>, Error> {
    let entries = fs::read_dir(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    let number = |path: PathBuf| {
        let stem = path.file_name()?.to_str()?.strip_suffix(".safetensors")?;
        let digits = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
        let number = stem.parse().ok().filter(|_| digits)?;
        Some((number, path))
    };
    let mut files: Vec<(usize, PathBuf)> = entries.filter_map(|entry| number(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

fn metadata(path: &Path, key: &'static str) -> Result<String, Error> {
    let file = SafeTensors::open(path).map_err(|error| in_file(path, error.into()))?;
    file.metadata().get(key).cloned().ok_or_else(|| in_file(path, EncodedCause::Metadata { key }))
}

fn split_of(text: &str) -> Option<Split> {
    [Split::Training, Split::HeldOut].into_iter().find(|split| split.to_string() == text)
}

/// A refusal with the file that it is about.
pub(super) fn in_file(path: &Path, cause: EncodedCause) -> Error {
    Error::Encoded { path: path.to_owned(), cause }
}
