//! How files spell the names of a Wan transformer's tensors: as diffusers does, as the authors' own code does, or as
//! ComfyUI does. One table, read in both directions.

use std::fmt;
use std::str::FromStr;

/// A spelling of the tensor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `blocks.0.attn1.to_q.weight`
    Diffusers,
    /// `blocks.0.self_attn.q.weight`, of the authors' own code.
    Original,
    /// The original names behind `model.diffusion_model.`.
    Comfyui,
}

/// What ComfyUI puts before a diffusion model's names.
const PREFIX: &str = "model.diffusion_model.";

/// Modules outside the blocks: the original name, and diffusers'. Parameters that belong to no module (`modulation`,
/// `emb_pos`) stand here themselves.
const NETWORK: [(&str, &str); 13] = [
    ("patch_embedding", "patch_embedding"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
    ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
    ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
    ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
    // diffusers' own conversion of single files forgets this one.
    ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
    ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
];

/// Modules of a block, behind `blocks.N.`.
const BLOCK: [(&str, &str); 19] = [
    ("modulation", "scale_shift_table"),
    ("self_attn.q", "attn1.to_q"),
    ("self_attn.k", "attn1.to_k"),
    ("self_attn.v", "attn1.to_v"),
    ("self_attn.o", "attn1.to_out.0"),
    ("self_attn.norm_q", "attn1.norm_q"),
    ("self_attn.norm_k", "attn1.norm_k"),
    ("cross_attn.q", "attn2.to_q"),
    ("cross_attn.k", "attn2.to_k"),
    ("cross_attn.v", "attn2.to_v"),
    ("cross_attn.o", "attn2.to_out.0"),
    ("cross_attn.norm_q", "attn2.norm_q"),
    ("cross_attn.norm_k", "attn2.norm_k"),
    ("cross_attn.k_img", "attn2.add_k_proj"),
    ("cross_attn.v_img", "attn2.add_v_proj"),
    ("cross_attn.norm_k_img", "attn2.norm_added_k"),
    // The norm before the cross-attention, the only one of a block with weights, is third there and second here.
    ("norm3", "norm2"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
];

impl Layout {
    const NAMED: [(&str, Layout); 3] =
        [("diffusers", Layout::Diffusers), ("original", Layout::Original), ("comfyui", Layout::Comfyui)];

    /// The spelling that names are in, by what only one of the three has.
    pub fn detect<'n>(mut names: impl Iterator<Item = &'n str>) -> Layout {
        let original = |name: &str| name == "head.modulation" || name.contains(".self_attn.");
        // The first telling name decides; names of another spelling beside it are then extra tensors.
        let told = names.find_map(|name| match name.strip_prefix(PREFIX) {
            Some(_) => Some(Layout::Comfyui),
            None => original(name).then_some(Layout::Original),
        });
        told.unwrap_or(Layout::Diffusers)
    }

    /// diffusers' name of the tensor that this layout calls `name`; none where it has no such tensor.
    pub fn read(self, name: &str) -> Option<String> {
        match self {
            Layout::Diffusers => Some(name.to_owned()),
            Layout::Original => translate(name, |(original, diffusers)| (original, diffusers)),
            Layout::Comfyui => Layout::Original.read(name.strip_prefix(PREFIX)?),
        }
    }

    /// What this layout calls the tensor of diffusers' name `name`; none where it has no such tensor.
    pub fn spell(self, name: &str) -> Option<String> {
        match self {
            Layout::Diffusers => Some(name.to_owned()),
            Layout::Original => translate(name, |(original, diffusers)| (diffusers, original)),
            Layout::Comfyui => Layout::Original.spell(name).map(|name| format!("{PREFIX}{name}")),
        }
    }
}

/// Looks up the longest module that a name begins with, whole parts only, and puts the other spelling in its place.
fn translate(
    name: &str,
    turn: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Option<String> {
    let (block, rest) = match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((index, rest)) if is_index(index) => (format!("blocks.{index}."), rest),
        _ => (String::new(), name),
    };
    let table: &[(&str, &str)] = if block.is_empty() { &NETWORK } else { &BLOCK };
    table.iter().find_map(|&row| {
        let (from, to) = turn(row);
        let parameter = rest.strip_prefix(from)?;
        matches!(parameter, "" | ".weight" | ".bias").then(|| format!("{block}{to}{parameter}"))
    })
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Layout::NAMED.iter().find(|(_, layout)| layout == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Layout {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Layout::NAMED.iter().find(|(name, _)| *name == text);
        named.map(|&(_, layout)| layout).ok_or("it is diffusers, original or comfyui")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::WanConfig;

    #[test]
    fn every_tensor_has_one_name_in_each_layout() {
        let config = WanConfig { num_layers: 12, ..WanConfig::default() };
        for layout in [Layout::Diffusers, Layout::Original, Layout::Comfyui] {
            let mut spelled = BTreeSet::new();
            for parameter in config.parameters() {
                let name = layout.spell(&parameter.name).expect(&parameter.name);
                assert_eq!(layout.read(&name).as_deref(), Some(parameter.name.as_str()));
                assert!(spelled.insert(name), "{}", parameter.name);
            }
            assert_eq!(Layout::detect(spelled.iter().map(String::as_str)), layout);
            assert_eq!(layout.to_string().parse(), Ok(layout));
        }
    }

    /// Names from the authors' code and from diffusers' conversion script.
    #[test]
    fn names_that_are_easily_mixed_up() {
        for (original, diffusers) in [
            ("head.modulation", "scale_shift_table"),
            ("blocks.7.modulation", "blocks.7.scale_shift_table"),
            ("blocks.7.norm3.bias", "blocks.7.norm2.bias"),
            ("blocks.7.self_attn.o.weight", "blocks.7.attn1.to_out.0.weight"),
            ("blocks.7.cross_attn.norm_k.weight", "blocks.7.attn2.norm_k.weight"),
            ("blocks.7.cross_attn.norm_k_img.weight", "blocks.7.attn2.norm_added_k.weight"),
            ("blocks.7.cross_attn.k_img.bias", "blocks.7.attn2.add_k_proj.bias"),
            ("img_emb.proj.4.weight", "condition_embedder.image_embedder.norm2.weight"),
            ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
            ("time_projection.1.weight", "condition_embedder.time_proj.weight"),
        ] {
            assert_eq!(Layout::Original.read(original).as_deref(), Some(diffusers));
            assert_eq!(Layout::Original.spell(diffusers).as_deref(), Some(original));
        }
        for stranger in [
            "blocks.7.norm2.weight",
            "blocks.x.modulation",
            "blocks.7.attn1.to_q.weight",
            "head.head.scale",
            "blocks.7.",
        ] {
            assert_eq!(Layout::Original.read(stranger), None);
            assert_eq!(Layout::Comfyui.read(stranger), None);
        }
    }
}
