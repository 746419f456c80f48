//! The model card: what a folder holds, how it was made, and how to sample from it.

use std::fmt::Write as _;
use std::path::Path;

use flg_engine::files::write_atomic;
use flg_model::checkpoint::Provenance;
use flg_model::schedule::Rule;
use flg_model::schedule::flow::unshift;
use flg_model::{FewStep, WanConfig};

use crate::Result;
use crate::audit::Audit;

/// The card's file.
pub const README: &str = "README.md";

/// What a card says.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The stage that made the network.
    pub stage: &'static str,
    /// What it was made from.
    pub source: &'a Path,
    /// Sizes.
    pub config: &'a WanConfig,
    /// Its parameters.
    pub parameters: usize,
    /// The data set, and how many clips it was trained on.
    pub data: (&'a Path, usize),
    /// Updates.
    pub steps: u64,
    /// Seconds that an update took, if the run was timed from its start to its end.
    pub seconds_per_step: Option<f64>,
    /// The blocks that it has, of how many.
    pub provenance: Option<&'a Provenance>,
    /// What each block of the first network was worth.
    pub audit: Option<&'a Audit>,
    /// The schedule that it was distilled for.
    pub few_step: Option<&'a FewStep>,
}

impl About<'_> {
    /// Writes the card into a checkpoint's folder.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = self.text();
        Ok(write_atomic(folder.join(README), |out| out.write_all(text.as_bytes()))?)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.compose(&mut text);
        text
    }

    fn compose(&self, out: &mut String) -> std::fmt::Result {
        let name = self.source.file_name().unwrap_or(self.source.as_os_str()).to_string_lossy();
        let made = if self.few_step.is_some() { "few-step student" } else { "pruned network" };
        writeln!(out, "---\nlibrary_name: diffusers\ntags:\n- wan\n- video\n---\n\n# {made} of {name}\n")?;
        let (blocks, parameters) = (self.config.num_layers, self.parameters);
        writeln!(
            out,
            "A `WanTransformer3DModel` with {blocks} blocks and {parameters} parameters, made by FastLightGen's"
        )?;
        let (data, clips) = self.data;
        writeln!(
            out,
            "`flg {}` from `{}` on {clips} clips of `{}`",
            self.stage,
            self.source.display(),
            data.display()
        )?;
        write!(out, "in {} updates", self.steps)?;
        match self.seconds_per_step {
            Some(seconds) => writeln!(out, ", each of which took {seconds:.3} seconds.\n")?,
            None => writeln!(out, ".\n")?,
        }
        if let Some(Provenance { parent_layers, kept_indices, .. }) = self.provenance {
            writeln!(
                out,
                "## Blocks\n\nOf the {parent_layers} blocks of the network that was pruned it has, counted from 0:"
            )?;
            let list: Vec<String> = kept_indices.iter().map(usize::to_string).collect();
            writeln!(out, "{}.\n", list.join(", "))?;
        }
        if let Some(few_step) = self.few_step {
            sampling(out, few_step)?;
        }
        self.audit.map_or(Ok(()), |audit| table(out, audit))
    }
}

fn sampling(out: &mut String, few_step: &FewStep) -> std::fmt::Result {
    let times: Vec<String> = few_step.sigmas.iter().map(|sigma| format!("{:.4}", 1000.0 * sigma)).collect();
    writeln!(out, "## Sampling\n\nWithout guidance, at these times and no others: {}.", times.join(", "))?;
    let rule = match few_step.rule {
        Rule::Renoise => {
            "After each step but the last the predicted clip `x - sigma v` is noised anew to the level of the next: \
             `(1 - next) clip + next noise`."
        }
        Rule::Ode => "From step to step goes an Euler step, `x + (next - sigma) v`.",
    };
    writeln!(
        out,
        "{rule}\n`flg sample` reads this from its own file, `flg_few_step.json`; diffusers must be told the levels:\n"
    )?;
    let levels = few_step.sigmas.iter().map(|&sigma| unshift(f64::from(sigma), f64::from(few_step.shift)));
    let levels: Vec<String> = levels.map(|level| format!("{:?}", (level * 1e6).round() / 1e6)).collect();
    writeln!(
        out,
        "```python\n\
         import diffusers\n\n\
         pipe = diffusers.DiffusionPipeline.from_pretrained(\".\")\n\
         levels = [{}]  # before the shift\n\
         set_timesteps = pipe.scheduler.set_timesteps\n\
         pipe.scheduler.set_timesteps = lambda steps, device=None: set_timesteps(steps, device=device, sigmas=levels)\n\
         frames = pipe(\"a caption\", num_inference_steps={}, guidance_scale=1.0).frames[0]\n\
         ```\n",
        levels.join(", "),
        few_step.steps()
    )
}

fn table(out: &mut String, audit: &Audit) -> std::fmt::Result {
    let [weight, estimator, criterion, selection] = &audit.method;
    writeln!(out, "## What each block was worth\n")?;
    writeln!(out, "Measured on {} held-out clips at {} noise levels each", audit.clips, audit.strata)?;
    writeln!(out, "(weight {weight}, estimator {estimator}, criterion {criterion}, selection {selection}).")?;
    writeln!(
        out,
        "Without all removed blocks the loss rises from {:.4} by {:.4}, before any training.\n",
        audit.loss, audit.joint
    )?;
    writeln!(out, "| block | importance | interval | removed |\n|---|---|---|---|")?;
    for (block, score) in audit.importance.iter().enumerate() {
        let removed = if audit.removed.contains(&block) { "yes" } else { "" };
        writeln!(out, "| {block} | {:.3e} | {:.3e} to {:.3e} | {removed} |", score.value, score.low, score.high)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Score;

    #[test]
    fn a_card_says_what_was_kept_and_how_to_sample() {
        let score = Score { value: 0.5, low: 0.25, high: 1.0 };
        let audit = Audit {
            blocks: 3,
            clips: 8,
            strata: 4,
            method: ["fm", "surrogate", "importance", "greedy"].map(str::to_owned),
            loss: 0.1,
            importance: vec![score; 3],
            flow_matching: Vec::new(),
            elbo: Vec::new(),
            by_stratum: Vec::new(),
            u_shape: score,
            ranked: vec![1, 0, 2],
            removed: vec![1],
            joint: 0.02,
        };
        let few_step = FewStep::new(2, 5.0, Rule::Renoise).unwrap();
        let provenance = Provenance { parent_layers: 3, kept_indices: vec![0, 2], notes: serde_json::Map::new() };
        let config = WanConfig { num_layers: 2, ..WanConfig::default() };
        let about = About {
            stage: "distill",
            source: Path::new("models/Wan"),
            config: &config,
            parameters: 1234,
            data: (Path::new("clips"), 16),
            steps: 7,
            seconds_per_step: Some(1.5),
            provenance: Some(&provenance),
            audit: Some(&audit),
            few_step: Some(&few_step),
        };
        let text = about.text();
        for part in [
            "# few-step student of Wan",
            "2 blocks and 1234 parameters",
            "7 updates, each of which took 1.500 seconds",
            "counted from 0:\n0, 2.",
            "at these times and no others: 1000.0000, 833.3333.",
            "levels = [1.0, 0.5]  # before the shift\n",
            "| 1 | 5.000e-1 | 2.500e-1 to 1.000e0 | yes |",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        let pruned = About { few_step: None, audit: None, seconds_per_step: None, ..about }.text();
        assert!(
            pruned.contains("pruned network of Wan") && !pruned.contains("Sampling") && !pruned.contains("seconds")
        );
    }
}
