//! What stages on encoded data sets write beside a network: the audit that it goes back to, the other parts of its
//! pipeline, and a model card.

use std::path::Path;

use flg_model::FewStep;
use flg_model::checkpoint::{Provenance, StoredNetwork, TRANSFORMER};
use flg_model::wan::Parameter;

use crate::audit::Audit;
use crate::data::DataCard;
use crate::export::{About, Pipeline, WithParts, notes, write_audit};
use crate::run::RunFolder;

/// How a network came to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The stage.
    pub stage: &'static str,
    /// The checkpoint that it began with.
    pub source: &'a Path,
    /// Its data.
    pub card: &'a DataCard,
    /// Clips that training saw.
    pub clips: usize,
    /// Updates.
    pub steps: u64,
}

/// What is written beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// How it came to be.
    pub origin: Origin<'a>,
    /// The run that made it.
    pub run: &'a RunFolder,
    /// What the blocks of the first network were worth.
    pub audit: Option<&'a Audit>,
    /// What lends its other parts.
    pub pipeline: Option<&'a Pipeline>,
    /// How they are lent.
    pub with_parts: WithParts,
}

impl Rest<'_> {
    /// Writes it into the folder of a saved network; nothing beside the audit where the data set is a world.
    ///
    /// # Errors
    /// The system's refusals.
    pub(super) fn save(
        &self,
        folder: &Path,
        provenance: &Provenance,
        few_step: Option<&FewStep>,
    ) -> anyhow::Result<()> {
        let DataCard::Encoded(card) = self.origin.card else { return Ok(()) };
        let expert = self.pipeline.and_then(Pipeline::expert);
        if let Some(audit) = self.audit {
            write_audit(&notes(folder, expert), audit)?;
        }
        let network = StoredNetwork::open(folder.join(expert.unwrap_or(TRANSFORMER)))?;
        let elements = |parameter: &Parameter| parameter.shape.elements();
        let Origin { stage, source, clips, steps, .. } = self.origin;
        let about = About {
            stage,
            source,
            config: network.config(),
            parameters: network.config().parameters().iter().map(elements).sum(),
            data: (&card.folder, clips),
            steps,
            seconds_per_step: self.run.seconds_per_step()?,
            provenance: Some(provenance),
            audit: self.audit,
            few_step,
        };
        about.write(folder)?;
        Ok(self.pipeline.map_or(Ok(()), |pipeline| pipeline.bring(folder, self.with_parts))?)
    }
}
