//! A folder of captioned videos as what the networks see of it: latents and embeddings, encoded once for all training.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use flg_engine::{Device, Tensor};

use super::{Enters, Error, Extents, FRAMES, Images, Latents, Parts, Prompts, TEXT_ROWS, View};
use crate::Result;
use crate::data::encoded::{ClipTensors, EncodedWriter, Encoders, Form, ImageForm, NewClip, StoredAs};
use crate::data::{ImportRequest, SkippedFile, Source, clips_of, sources};
use crate::rehearsal::{PROGRAM, THREAD};
use crate::video::{Clip, Frame, Geometry};

/// What to encode, and with which checkpoint's encoders.
#[derive(Debug)]
pub struct Encoding<'a> {
    /// Where the encoders are.
    pub parts: &'a Parts,
    /// The videos, how they are cut, and the folder that the set is written into.
    pub request: ImportRequest,
    /// How numbers are stored.
    pub stored: StoredAs,
    /// How much of a frame the autoencoder looks at.
    pub view: View,
}

/// What is going on.
#[derive(Clone, Copy, Debug)]
pub enum Doing<'a> {
    /// Captions go through the text encoder: blocks done, of how many.
    Texts(usize, usize),
    /// A file is being encoded: files done, of how many, and its name.
    Clips(usize, usize, &'a str),
}

/// What became of the files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Clips in the set.
    pub clips: usize,
    /// Files that could not be used.
    pub skipped: Vec<SkippedFile>,
    /// Files without a caption.
    pub without_caption: Vec<String>,
}

/// Captions that go through the text encoder together.
const TOGETHER: usize = 8;

impl Encoding<'_> {
    /// Encodes what is not there yet: interrupted, it goes on with the next clip.
    ///
    /// # Errors
    /// Encoders that cannot be read; a set of another form; [`Error::Interrupted`]; a folder without anything to encode.
    pub fn run(&self, device: &Device, on: &mut dyn FnMut(Doing<'_>) -> ControlFlow<()>) -> Result<Outcome> {
        self.parts.variant.check_extents(self.extents())?;
        let (sources, without_caption) = sources(&self.request.source, self.request.held_out)?;
        let mut writer = EncodedWriter::new(&self.request.target, self.form()?)?;
        self.texts(&sources, &mut writer, device, on)?;
        let autoencoder = Latents::open(self.parts, self.view, device)?;
        let mut outcome = Outcome { without_caption, ..Outcome::default() };
        for (i, source) in sources.iter().enumerate() {
            if on(Doing::Clips(i, sources.len(), &source.file)).is_break() {
                return Err(Error::Interrupted { phase: "encoding", done: i, of: sources.len() }.into());
            }
            match clips_of(&self.request, &source.file) {
                Ok(clips) => {
                    for (first, samples) in clips {
                        let name = format!("{}:{first}", source.file);
                        if !writer.has_clip(&name) {
                            self.clip(&autoencoder, device, &mut writer, (source, &name), &samples)?;
                        }
                    }
                }
                Err(reason) => outcome.skipped.push(SkippedFile { file: source.file.clone(), reason }),
            }
        }
        outcome.clips = writer.finish()?;
        Ok(outcome)
    }

    /// The most bytes that encoding holds; captions are taken for short ones.
    ///
    /// # Errors
    /// Encoders that are not there or not supported.
    pub fn bytes(&self) -> Result<usize> {
        let Extents { frames, height, width } = self.extents();
        let autoencoder = Latents::bytes(self.view, &self.parts.read_vae()?, [height, width])?;
        // A clip as it is read, and twice in f32.
        let clip = 3 * frames * height * width * (1 + 2 * size_of::<f32>());
        let text = Prompts::open(self.parts, &[], "")?.peak_bytes()?;
        let image = if self.parts.variant.attends() { self.parts.image_encoder_bytes()? } else { 0 };
        Ok((autoencoder + clip).max(text).max(image + clip) + PROGRAM + THREAD * rayon::current_num_threads())
    }

    fn extents(&self) -> Extents {
        let Geometry { frames, height, width, .. } = self.request.geometry;
        Extents { frames, height, width }
    }

    /// What is the same for all clips.
    fn form(&self) -> Result<Form> {
        let (config, [text, _]) = (&self.parts.variant.config, self.parts.text()?);
        let two = config.pos_embed_seq_len.is_some();
        let image = match config.image_dim {
            Some(dim) => {
                let rows = self.parts.image_rows()? * if two { 2 } else { 1 };
                Some(ImageForm { rows, dim })
            }
            None => None,
        };
        Ok(Form {
            latents: self.parts.variant.latents(self.extents()),
            text_rows: TEXT_ROWS,
            text_dim: config.text_dim,
            image,
            channels: config.in_channels.saturating_sub(config.out_channels),
            stored: self.stored,
            encoders: Encoders {
                vae: self.parts.vae().display().to_string(),
                text: text.display().to_string(),
                image: image.map(|_| "image_encoder".to_owned()),
                temporal_scale: FRAMES,
                spatial_scale: self.parts.variant.pixels,
                fps: None,
            },
        })
    }

    fn texts(
        &self,
        sources: &[Source],
        writer: &mut EncodedWriter,
        device: &Device,
        on: &mut dyn FnMut(Doing<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let captions: BTreeSet<&str> = sources.iter().map(|source| source.caption.as_str()).collect();
        let missing: Vec<String> =
            captions.into_iter().filter(|caption| !writer.has_text(caption)).map(str::to_owned).collect();
        if missing.is_empty() && writer.has_text("") {
            return Ok(());
        }
        // The null caption goes along with every batch, so that there is one even without others.
        let batches: Vec<&[String]> = if missing.is_empty() { vec![&[]] } else { missing.chunks(TOGETHER).collect() };
        for (i, batch) in batches.iter().enumerate() {
            let mut on_part = |done: usize, of: usize| on(Doing::Texts(i * of + done, batches.len() * of));
            let (texts, null) = Prompts::open(self.parts, batch, "")?.encode(device, &mut on_part)?;
            let rows = |x: &Tensor| x.reshape([x.dims()[1], x.dims()[2]]);
            for (caption, text) in batch.iter().zip(&texts) {
                writer.text(caption, &rows(text)?)?;
            }
            writer.text("", &rows(&null)?)?;
        }
        Ok(())
    }

    fn clip(
        &self,
        autoencoder: &Latents,
        device: &Device,
        writer: &mut EncodedWriter,
        (source, name): (&Source, &str),
        samples: &[u8],
    ) -> Result<()> {
        let variant = &self.parts.variant;
        let mut unwatched = |_: usize, _: usize| ControlFlow::Continue(());
        let frames: Vec<Frame> = Clip::from_bytes(self.request.geometry, samples)?.frames().collect();
        let given: Vec<Option<Frame>> = frames.iter().cloned().map(Some).collect();
        let latents = autoencoder.encode(&given, self.extents(), &mut unwatched)?;
        let (mut image, mut channels) = (None, None);
        if variant.image() == Some(Enters::Beside) {
            let last = variant.config.pos_embed_seq_len.and(frames.last().cloned());
            let images = Images { first: frames[0].clone(), last };
            if variant.attends() {
                let x = images.embed(self.parts, device, &mut unwatched)?;
                image = Some(x.reshape([x.dims()[0] * x.dims()[1], x.dims()[2]])?);
            }
            let made = images.latents(self.parts, self.extents(), autoencoder, device, &mut unwatched)?;
            channels = made.beside.map(|x| without_batch(&x)).transpose()?;
        }
        let tensors =
            ClipTensors { latents: &without_batch(&latents)?, image: image.as_ref(), channels: channels.as_ref() };
        Ok(writer.push(NewClip { name, caption: &source.caption, split: source.split, tensors })?)
    }
}

/// `[1, c, f, h, w]` as `[c, f, h, w]`.
fn without_batch(x: &Tensor) -> Result<Tensor> {
    let [_, c, f, h, w] = x.shape().expect_rank("clip")?;
    Ok(x.reshape([c, f, h, w])?)
}
