//! Image embeddings, as the cross-attention attends to them.

use flg_engine::{Cx, DType, ParamId, Var};
use flg_kernels::gemm::Activation;

use super::Wan;
use super::linear::Linear;
use crate::{Error, Result};

/// Added to the variance in both layer norms, whatever the configuration says of the others.
const EPS: f32 = 1e-5;

/// The parameters that lead from an image embedding to the width of a token.
#[derive(Clone, Debug)]
pub(super) struct ImageEmbedder {
    /// `[1, rows, image_dim]`, of a network for several images a sample.
    pub(super) position: Option<ParamId>,
    pub(super) norms: [Linear; 2],
    pub(super) layers: [Linear; 2],
}

impl Wan {
    /// Embeds images `[b, rows, image_dim]`, as `[b, rows, d]`. Where positions are learned, the images of a sample may
    /// come one by one: `[b * images, rows / images, image_dim]`.
    ///
    /// # Errors
    /// [`Error::Image`] where the network takes an image and there is none, or the reverse, and for another shape.
    pub(super) fn embed_image(&self, cx: &Cx<'_>, image: Option<&Var>) -> Result<Option<Var>> {
        let refuse = |reason| Err(Error::Image { shape: image.map(|image| image.value().shape()), reason });
        let (embedder, image, width) = match (&self.embedder.image, image, self.config.image_dim) {
            (Some(embedder), Some(image), Some(width)) => (embedder, image, width),
            (Some(_), None, _) => return refuse("the network attends to an image"),
            (_, Some(_), _) => return refuse("the network takes no image"),
            (_, None, _) => return Ok(None),
        };
        let &[batch, rows, given] = image.value().dims() else { return refuse("must be [b, rows, image_dim]") };
        if given != width {
            return refuse("its width is not image_dim");
        }
        let image = match (embedder.position, self.config.pos_embed_seq_len) {
            (Some(position), Some(positions)) => {
                if positions == 0 || !(batch * rows).is_multiple_of(positions) || !positions.is_multiple_of(rows.max(1))
                {
                    return refuse("the images of a sample do not have pos_embed_seq_len rows together");
                }
                placed(cx, image, position, [batch * rows / positions, positions, width])?
            }
            _ => image.clone(),
        };
        let image = cx.cast(&image, cx.precision().dtype())?;
        let norm = |x: &Var, norm: &Linear| cx.layer_norm(x, &cx.param(norm.weight), &cx.param(norm.bias), EPS);
        let [first, second] = &embedder.layers;
        let x = norm(&image, &embedder.norms[0])?;
        let x = second.forward(cx, &first.activated(cx, &x, Activation::GeluErf)?)?;
        Ok(Some(norm(&x, &embedder.norms[1])?))
    }
}

/// The images with their positions added: `[b, rows, image_dim]`, f32.
fn placed(cx: &Cx<'_>, image: &Var, position: ParamId, shape: [usize; 3]) -> Result<Var> {
    let [batch, rows, width] = shape;
    // One row of a table, to which every sample adds its own.
    let table = cx.reshape(&cx.cast(&cx.param(position), DType::F32)?, [1, 1, rows * width])?;
    let image = cx.cast(&cx.reshape(image, [batch, rows * width])?, DType::F32)?;
    Ok(cx.reshape(&cx.modulation(&table, &image)?, shape)?)
}
