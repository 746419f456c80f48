//! Reading an encoded data set: checked as a whole when it is opened, then clip by clip as they are drawn.

use std::path::{Path, PathBuf};

use flg_engine::files::read_json;
use flg_engine::safetensors::SafeTensors;
use flg_engine::{Device, Shape};

use super::manifest::{Manifest, hash};
use super::writer::in_file;
use super::{CHANNELS, EMBEDDING, EncodedCause, Form, IMAGE, LATENTS, MANIFEST, PLAN, is_encoded};
use crate::data::{Draws, Error, SampleKey, Split};

/// A finished set. Files are mapped when they are needed, and let go.
#[derive(Debug)]
pub struct Encoded {
    folder: PathBuf,
    manifest: Manifest,
    sha256: String,
    /// Positions of training and held-out clips.
    parts: [Vec<usize>; 2],
}

/// A clip's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedClip {
    /// `[c, f, h, w]`
    pub latents: Vec<f32>,
    /// `[rows, width]`, in sets with image embeddings.
    pub image: Option<Vec<f32>>,
    /// `[channels, f, h, w]`, in sets with channels beside the latents.
    pub channels: Option<Vec<f32>>,
}

impl Encoded {
    /// Opens a set: its manifest, and the size of every file that it lists.
    ///
    /// # Errors
    /// [`Error::Encoded`], naming the file: one that is missing, changed or not what this program writes; a set that is
    /// not finished.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        if !path.is_file() && is_encoded(folder) {
            return Err(in_file(&folder.join(PLAN), EncodedCause::Unfinished));
        }
        let manifest: Manifest = read_json(&path).map_err(|error| in_file(&path, error.into()))?;
        manifest.check().map_err(|cause| in_file(&path, cause))?;
        let (_, sha256) = hash(&path).map_err(|cause| in_file(&path, cause))?;
        for file in manifest.files() {
            file.check_size(folder).map_err(|cause| in_file(&folder.join(&file.file), cause))?;
        }
        let part = |split| (0..manifest.clips.len()).filter(|&i| manifest.clips[i].split == split).collect();
        let parts = [part(Split::Training), part(Split::HeldOut)];
        Ok(Encoded { folder: folder.to_owned(), manifest, sha256, parts })
    }

    /// Reads every file and compares it with the manifest's hash.
    ///
    /// # Errors
    /// [`Error::Encoded`], naming the first file that differs.
    pub fn verify(&self) -> Result<(), Error> {
        self.manifest.files().try_for_each(|file| {
            file.check_contents(&self.folder).map_err(|cause| in_file(&self.folder.join(&file.file), cause))
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is the same for all clips.
    pub fn form(&self) -> &Form {
        &self.manifest.form
    }

    /// What identifies the set: the hash of its manifest, which has those of all files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Every caption.
    pub fn captions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.manifest.captions.iter().map(|caption| caption.text.as_str())
    }

    /// Clips in a part.
    pub fn len(&self, split: Split) -> usize {
        self.part(split).len()
    }

    /// Whether a part has no clips.
    pub fn is_empty(&self, split: Split) -> bool {
        self.part(split).is_empty()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.manifest.files().map(|file| file.bytes).sum()
    }

    fn part(&self, split: Split) -> &[usize] {
        match split {
            Split::Training => &self.parts[0],
            Split::HeldOut => &self.parts[1],
        }
    }

    /// The position of the clip of a key: a stream goes through a whole part in random order, then again in another.
    ///
    /// # Errors
    /// [`Error::EmptySplit`].
    pub fn draw(&self, split: Split, key: SampleKey) -> Result<usize, Error> {
        let part = self.part(split);
        if part.is_empty() {
            return Err(Error::EmptySplit { world: self.folder.display().to_string(), split });
        }
        let count = part.len() as u64;
        let domain = match split {
            Split::Training => "encoded/training",
            Split::HeldOut => "encoded/held-out",
        };
        let mut draws = Draws::new(domain, SampleKey { index: key.index / count, ..key });
        let mut order: Vec<usize> = part.to_vec();
        let place = (key.index % count) as usize;
        // A shuffle of which the first places only are needed.
        for i in 0..=place {
            let j = i + draws.position(order.len() - i);
            order.swap(i, j);
        }
        Ok(order[place])
    }

    /// Position of a clip's caption among [`Encoded::captions`].
    pub fn caption_of(&self, clip: usize) -> usize {
        self.manifest.clips[clip].caption
    }

    /// The numbers of the clip at a position.
    ///
    /// # Errors
    /// [`Error::Encoded`]: a file that is not what the manifest says.
    pub fn clip(&self, position: usize) -> Result<EncodedClip, Error> {
        let path = self.folder.join(&self.manifest.clips[position].file.file);
        let read = || {
            let file = SafeTensors::open(&path)?;
            if let Some(name) = file.names().find(|name| ![LATENTS, IMAGE, CHANNELS].contains(name)) {
                return Err(EncodedCause::Unknown { name: name.to_owned() });
            }
            let [latents, image, channels] = self.form().shapes();
            let one = |name, shape: Option<Shape>| shape.map(|shape| values(&file, name, shape)).transpose();
            let latents = one(LATENTS, latents)?.unwrap_or_default();
            Ok(EncodedClip { latents, image: one(IMAGE, image)?, channels: one(CHANNELS, channels)? })
        };
        read().map_err(|cause| in_file(&path, cause))
    }

    /// The embedding `[rows, width]` of a caption, filled up with zeros; `None` is the null caption.
    ///
    /// # Errors
    /// [`Error::Encoded`]: a file that is not what the manifest says.
    pub fn text(&self, caption: Option<usize>) -> Result<Vec<f32>, Error> {
        let entry = caption.map_or(&self.manifest.null, |i| &self.manifest.captions[i].file);
        let path = self.folder.join(&entry.file);
        let &Form { text_rows, text_dim, .. } = self.form();
        let read = || {
            let file = SafeTensors::open(&path)?;
            let info = file.info(EMBEDDING).ok_or(EncodedCause::Missing { name: EMBEDDING })?;
            let rows = match *info.shape.dims() {
                [rows, width] if (1..=text_rows).contains(&rows) && width == text_dim => rows,
                _ => {
                    let expected = Shape::from([text_rows, text_dim]);
                    return Err(EncodedCause::Shape { name: EMBEDDING, expected, got: info.shape });
                }
            };
            let mut embedding = values(&file, EMBEDDING, [rows, text_dim].into())?;
            embedding.resize(text_rows * text_dim, 0.0);
            Ok(embedding)
        };
        read().map_err(|cause| in_file(&path, cause))
    }
}

/// The values of a tensor that must have this shape.
fn values(file: &SafeTensors, name: &'static str, expected: Shape) -> Result<Vec<f32>, EncodedCause> {
    let info = file.info(name).ok_or(EncodedCause::Missing { name })?;
    if info.shape != expected {
        return Err(EncodedCause::Shape { name, expected, got: info.shape });
    }
    let values = file.tensor_f32(name, &Device::cpu())?.values()?;
    if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(EncodedCause::NotFinite { name }) }
}
