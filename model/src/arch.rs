//! The published architectures, in one table.

use crate::{VaeConfig, WanConfig};

/// A published network, or the pair of experts that share its sizes.
#[derive(Debug)]
pub struct Architecture {
    /// As it is asked for: `wan2.1-t2v-1.3b`.
    pub name: &'static str,
    heads: usize,
    head: usize,
    layers: usize,
    ffn: usize,
    /// Channels in and out: 20 more in where an image is given, its latents and a mask of frames.
    channels: [usize; 2],
    text: usize,
    image: Image,
    /// diffusers' class of its pipeline.
    pub pipeline: &'static str,
    /// Noise level at which the second expert takes over; none for one network.
    pub boundary: Option<f64>,
    /// The shift of its schedule at the size that it was made for.
    pub shift: f32,
    /// Whether each token has its own time.
    pub time_per_token: bool,
}

/// How an image enters beside its latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    /// Not at all.
    None,
    /// The embedding of one image.
    One,
    /// Embeddings of the first and the last frame, with learned positions.
    FirstAndLast,
}

/// Width of an image embedding, and its rows for two images.
const IMAGE: (usize, usize) = (1280, 514);

/// A 14B text-to-video network; the others are told by how they differ.
const BASE: Architecture = Architecture {
    name: "wan2.1-t2v-14b",
    heads: 40,
    head: 128,
    layers: 40,
    ffn: 13824,
    channels: [16, 16],
    text: 4096,
    image: Image::None,
    pipeline: "WanPipeline",
    boundary: None,
    shift: 5.0,
    time_per_token: false,
};

const IMAGE_TO_VIDEO: &str = "WanImageToVideoPipeline";

/// All of them, and a tiny one for tests.
pub static ARCHITECTURES: [Architecture; 8] = [
    Architecture { name: "wan2.1-t2v-1.3b", heads: 12, layers: 30, ffn: 8960, shift: 3.0, ..BASE },
    BASE,
    Architecture { name: "wan2.1-i2v-14b", channels: [36, 16], image: Image::One, pipeline: IMAGE_TO_VIDEO, ..BASE },
    Architecture {
        name: "wan2.1-flf2v-14b",
        channels: [36, 16],
        image: Image::FirstAndLast,
        pipeline: IMAGE_TO_VIDEO,
        shift: 16.0,
        ..BASE
    },
    Architecture {
        name: "wan2.2-ti2v-5b",
        heads: 24,
        layers: 30,
        ffn: 14336,
        channels: [48, 48],
        time_per_token: true,
        ..BASE
    },
    Architecture { name: "wan2.2-t2v-a14b", boundary: Some(0.875), shift: 12.0, ..BASE },
    Architecture { name: "wan2.2-i2v-a14b", channels: [36, 16], pipeline: IMAGE_TO_VIDEO, boundary: Some(0.9), ..BASE },
    Architecture { name: "tiny", heads: 2, head: 16, layers: 2, ffn: 48, text: 32, ..BASE },
];

impl Architecture {
    /// The architecture of this name.
    pub fn named(name: &str) -> Option<&'static Architecture> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }

    /// The sizes of each of its networks.
    pub fn config(&self) -> WanConfig {
        let image = self.image != Image::None;
        WanConfig {
            num_attention_heads: self.heads,
            attention_head_dim: self.head,
            in_channels: self.channels[0],
            out_channels: self.channels[1],
            text_dim: self.text,
            ffn_dim: self.ffn,
            num_layers: self.layers,
            image_dim: image.then_some(IMAGE.0),
            added_kv_proj_dim: image.then_some(self.heads * self.head),
            pos_embed_seq_len: (self.image == Image::FirstAndLast).then_some(IMAGE.1),
            ..WanConfig::default()
        }
    }

    /// The sizes of its autoencoder. That of Wan2.2 5B has mean and deviation of its own, which belong to its weights: here
    /// they are 0 and 1.
    pub fn autoencoder(&self) -> VaeConfig {
        match (self.name, self.time_per_token) {
            ("tiny", _) => {
                VaeConfig { base_dim: 8, dim_mult: vec![1, 2, 2, 2], num_res_blocks: 1, ..VaeConfig::default() }
            }
            (_, false) => VaeConfig::default(),
            (_, true) => VaeConfig {
                base_dim: 160,
                decoder_base_dim: Some(256),
                z_dim: self.channels[1],
                latents_mean: vec![0.0; self.channels[1]],
                latents_std: vec![1.0; self.channels[1]],
                is_residual: true,
                in_channels: 12,
                out_channels: 12,
                patch_size: Some(2),
                ..VaeConfig::default()
            },
        }
    }

    /// The architecture of a checkpoint with so many networks of these sizes, whatever the number of their blocks. Where
    /// only the number of networks differs (one expert by itself), the first in the table is named.
    pub fn of(config: &WanConfig, experts: usize) -> Option<&'static Architecture> {
        let alike = |a: &&Architecture| a.config() == WanConfig { num_layers: a.layers, ..config.clone() };
        let exact = ARCHITECTURES.iter().filter(alike).find(|a| a.experts() == experts);
        exact.or_else(|| ARCHITECTURES.iter().find(alike))
    }

    /// Networks: two where a second expert takes over at low noise.
    pub fn experts(&self) -> usize {
        if self.boundary.is_some() { 2 } else { 1 }
    }

    /// Blocks of each network.
    pub fn layers(&self) -> usize {
        self.layers
    }
}

/// What a network of these sizes is given beside text.
pub fn variant(config: &WanConfig) -> &'static str {
    match (config.image_dim, config.pos_embed_seq_len) {
        (Some(_), Some(_)) => "text, first and last frame to video",
        (Some(_), None) => "text and image to video",
        (None, _) if config.in_channels > config.out_channels => "text and image to video, without image embedding",
        (None, _) => "text to video",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for architecture in &ARCHITECTURES {
            assert!(std::ptr::eq(Architecture::named(architecture.name).unwrap(), architecture));
            let found = Architecture::of(&architecture.config(), architecture.experts()).unwrap();
            assert_eq!(found.name, architecture.name);
        }
        assert!(Architecture::named("wan3").is_none());
        let pruned = WanConfig { num_layers: 21, ..ARCHITECTURES[0].config() };
        assert_eq!(Architecture::of(&pruned, 1).unwrap().name, "wan2.1-t2v-1.3b");
        let expert = Architecture::named("wan2.2-i2v-a14b").unwrap().config();
        assert_eq!(Architecture::of(&expert, 1).unwrap().name, "wan2.2-i2v-a14b");
        assert!(Architecture::of(&WanConfig { ffn_dim: 1, ..expert }, 2).is_none());
    }
}
