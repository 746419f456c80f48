//! Whether a network can be run on an encoded data set.

use flg_model::WanConfig;

use super::{Form, ImageForm, Misfit};

/// Errors unless a network of this configuration takes the set's clips and captions.
///
/// # Errors
/// The first [`Misfit`].
pub fn fits(config: &WanConfig, form: &Form) -> Result<(), Misfit> {
    let [set, frames, rows, columns] = form.latents;
    let network = config.out_channels;
    if network != set {
        return Err(Misfit::OutChannels { network, set });
    }
    let beside = config.in_channels.saturating_sub(network);
    if beside != form.channels {
        return Err(Misfit::Channels { network: beside, set: form.channels });
    }
    if config.text_dim != form.text_dim {
        return Err(Misfit::TextWidth { network: config.text_dim, set: form.text_dim });
    }
    match (config.image_dim, form.image) {
        (Some(_), None) => return Err(Misfit::NoImage),
        (Some(network), Some(ImageForm { dim: set, .. })) if network != set => {
            return Err(Misfit::ImageWidth { network, set });
        }
        (Some(_), Some(ImageForm { rows: set, .. })) => match config.pos_embed_seq_len {
            Some(network) if network != set => return Err(Misfit::ImageRows { network, set }),
            _ => {}
        },
        // A network that takes no image is not shown the set's.
        (None, _) => {}
    }
    let shape = [1, config.in_channels, frames, rows, columns];
    config.token_grid(shape.into()).map_err(|error| Misfit::Grid { reason: error.to_string() })?;
    Ok(())
}
