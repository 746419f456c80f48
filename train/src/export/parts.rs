//! The rest of a pipeline: what stands beside the transformer in the checkpoint that a network was made from.

use std::fs;
use std::path::{Path, PathBuf};

use flg_model::checkpoint::{INDEX, PipelineIndex, TRANSFORMER, TRANSFORMER_2};

use crate::Result;
use crate::levels::Levels;
use crate::run::Error as RunError;

/// The folder of the schedule to sample with; a network that was made here has one of its own.
const SCHEDULER: &str = "scheduler";
/// What copies are made in before they get their name.
const UNFINISHED: &str = ".flg-part";

/// What becomes of the other parts of a pipeline: autoencoder, text encoder, tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WithParts {
    /// Symbolic links to where they are: whole at once, and no room taken.
    #[default]
    Link,
    /// Copies: the folder can be moved to another machine.
    Copy,
    /// Left out: the folder has a transformer and a scheduler.
    None,
}

/// A checkpoint that lends its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    root: PathBuf,
    index: PipelineIndex,
    expert: Option<&'static str>,
}

impl Pipeline {
    /// The pipeline of a checkpoint's folder, or the one around the folder of one of its two experts; none around a
    /// transformer alone.
    ///
    /// # Errors
    /// An index that is none.
    pub fn of(folder: &Path) -> Result<Option<Self>> {
        if folder.join(INDEX).is_file() {
            return Ok(Some(Pipeline { root: folder.to_owned(), index: PipelineIndex::read(folder)?, expert: None }));
        }
        let named =
            [TRANSFORMER, TRANSFORMER_2].into_iter().find(|name| folder.file_name().is_some_and(|n| n == *name));
        let Some(root) = folder.parent().filter(|root| named.is_some() && root.join(INDEX).is_file()) else {
            return Ok(None);
        };
        let pipeline = Pipeline { root: root.to_owned(), index: PipelineIndex::read(root)?, expert: named };
        Ok(Some(pipeline).filter(Pipeline::has_experts))
    }

    /// Whether two networks share the noise levels.
    pub fn has_experts(&self) -> bool {
        self.index.boundary_ratio.is_some() && matches!(self.index.parts.get(TRANSFORMER_2), Some(Some(_)))
    }

    /// The name of the expert that was asked for, if it is one of two.
    pub fn expert(&self) -> Option<&'static str> {
        self.expert
    }

    /// The noise levels at which the network is asked.
    pub fn levels(&self) -> Levels {
        match (self.expert, self.index.boundary_ratio) {
            (Some(expert), Some(boundary)) => Levels::of_expert(boundary, expert == TRANSFORMER),
            _ => Levels::ALL,
        }
    }

    /// What its index says.
    pub fn index(&self) -> &PipelineIndex {
        &self.index
    }

    /// Brings the other parts into `folder`, where a transformer and a scheduler are saved.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn bring(&self, folder: &Path, how: WithParts) -> Result<()> {
        for name in self.others().filter(|_| how != WithParts::None) {
            let from = self.root.join(name);
            if from.is_dir() {
                bring_part(&from, &folder.join(name), how)?;
            }
        }
        self.list(folder)
    }

    /// Parts that are neither the network nor the scheduler.
    fn others(&self) -> impl Iterator<Item = &str> {
        let (network, there) =
            (self.expert.unwrap_or(TRANSFORMER), self.index.parts.iter().filter(|(_, part)| part.is_some()));
        there.map(|(name, _)| name.as_str()).filter(move |name| ![network, SCHEDULER].contains(name))
    }

    /// Lists in the index of `folder` what is there: of the pipeline's class, with what its pipeline needs to know.
    fn list(&self, folder: &Path) -> Result<()> {
        let made = PipelineIndex::read(folder)?;
        let mut index = PipelineIndex { parts: made.parts, ..self.index.clone() };
        for (name, part) in &self.index.parts {
            let there = folder.join(name).is_dir();
            if !index.parts.contains_key(name) {
                index.parts.insert(name.clone(), part.clone().filter(|_| there));
            }
        }
        Ok(index.write(folder)?)
    }
}

/// Links or copies a part; one that is there stays, unless it is a link.
fn bring_part(from: &Path, to: &Path, how: WithParts) -> Result<()> {
    let linked = fs::symlink_metadata(to).map(|metadata| metadata.is_symlink()).unwrap_or(false);
    if linked {
        fs::remove_file(to).map_err(RunError::io("remove", to))?;
    } else if to.exists() {
        return Ok(());
    }
    // Where the source is a link itself, what it points to is meant.
    let from = from.canonicalize().map_err(RunError::io("find", from))?;
    match how {
        WithParts::Link => link(&from, to),
        _ => {
            let unfinished = to.with_file_name(UNFINISHED);
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).map_err(RunError::io("remove", &unfinished))?;
            }
            copy(&from, &unfinished)?;
            Ok(fs::rename(&unfinished, to).map_err(RunError::io("rename", &unfinished))?)
        }
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(from, to).map_err(RunError::io("link", to))?)
}

/// Where the system has no links for everyone, a copy does.
#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> Result<()> {
    copy(from, to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(RunError::io("make", to))?;
    for entry in fs::read_dir(from).map_err(RunError::io("list", from))? {
        let entry = entry.map_err(RunError::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        // Downloads are folders of links into a cache: their files are copied, not the links.
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(RunError::io("copy", &source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipeline with two other parts, one that is listed and missing, and one that it does without.
    fn source(root: &Path) -> Pipeline {
        for (folder, file) in [("vae", "config.json"), ("tokenizer/deep", "a.txt"), ("transformer", "config.json")] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join(file), folder).unwrap();
        }
        let mut index = PipelineIndex::new("WanImageToVideoPipeline");
        for part in ["transformer", "scheduler", "vae", "tokenizer", "text_encoder"] {
            index = index.with_part(part, "diffusers", part);
        }
        index.parts.insert("image_encoder".to_owned(), None);
        index.expand_timesteps = true;
        index.write(root).unwrap();
        Pipeline::of(root).unwrap().unwrap()
    }

    fn target(root: &Path) {
        fs::create_dir_all(root).unwrap();
        let made = PipelineIndex::new("WanPipeline").with_part("transformer", "diffusers", "T");
        made.with_part("scheduler", "diffusers", "Euler").write(root).unwrap();
    }

    #[test]
    fn parts_are_linked_copied_or_left_out_and_the_index_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = source(&dir.path().join("source"));
        for how in [WithParts::Link, WithParts::Copy, WithParts::None] {
            let to = dir.path().join(format!("{how:?}"));
            target(&to);
            // A second time changes nothing.
            for _ in 0..2 {
                pipeline.bring(&to, how).unwrap();
                let index = PipelineIndex::read(&to).unwrap();
                assert_eq!((index.class.as_str(), index.expand_timesteps), ("WanImageToVideoPipeline", true));
                let there = |name: &str| index.parts[name].is_some();
                assert!(
                    there("transformer") && there("scheduler") && !there("text_encoder") && !there("image_encoder")
                );
                assert_eq!(index.parts["scheduler"].as_ref().unwrap()[1], "Euler");
                assert_eq!([there("vae"), there("tokenizer")], [how != WithParts::None; 2]);
                let read = |file: &str| fs::read_to_string(to.join(file)).ok();
                assert_eq!(read("tokenizer/deep/a.txt").is_some(), how != WithParts::None);
                let linked = fs::symlink_metadata(to.join("vae")).is_ok_and(|metadata| metadata.is_symlink());
                assert_eq!(linked, how == WithParts::Link && cfg!(unix));
                assert!(!to.join(UNFINISHED).exists());
            }
        }
        assert_eq!(Pipeline::of(&dir.path().join("source/transformer")).unwrap(), None);
    }

    #[test]
    #[cfg(unix)]
    fn links_lead_to_the_first_source_through_any_number_of_stages() {
        let dir = tempfile::tempdir().unwrap();
        let pipeline = source(&dir.path().join("source"));
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        target(&a);
        pipeline.bring(&a, WithParts::Link).unwrap();
        target(&b);
        Pipeline::of(&a).unwrap().unwrap().bring(&b, WithParts::Link).unwrap();
        let expected = dir.path().join("source/vae").canonicalize().unwrap();
        assert_eq!(fs::read_link(b.join("vae")).unwrap(), expected);
    }
}
