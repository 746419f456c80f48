//! The networks that are timed, and the operations that a step of them takes.

use flg_model::WanConfig;

/// A network of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 13 million parameters, 512 tokens.
    S,
    /// 70 million parameters, 1024 tokens.
    M,
    /// 1.4 billion parameters (Wan2.1's smallest), 256 tokens.
    L,
}

/// A network and the extents of its inputs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The network.
    pub config: WanConfig,
    /// Channels, frames, rows and columns of the latents.
    pub latent: [usize; 4],
    /// Rows of a text embedding.
    pub text_rows: usize,
    /// Samples of a step.
    pub batch: usize,
}

impl Size {
    /// All of them.
    pub const ALL: [Size; 3] = [Size::S, Size::M, Size::L];

    /// `S`, `M` or `L`.
    pub fn name(self) -> &'static str {
        match self {
            Size::S => "S",
            Size::M => "M",
            Size::L => "L",
        }
    }

    /// The network with its usual inputs.
    pub fn setting(self) -> Setting {
        let small = |num_attention_heads, num_layers, ffn_dim| WanConfig {
            num_attention_heads,
            attention_head_dim: 64,
            num_layers,
            ffn_dim,
            text_dim: 256,
            ..WanConfig::default()
        };
        match self {
            Size::S => Setting { config: small(4, 12, 1024), latent: [16, 8, 16, 16], text_rows: 16, batch: 8 },
            Size::M => Setting { config: small(8, 16, 2048), latent: [16, 16, 16, 16], text_rows: 16, batch: 2 },
            Size::L => {
                let config =
                    WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
                Setting { config, latent: [16, 4, 16, 16], text_rows: 512, batch: 1 }
            }
        }
    }
}

impl Setting {
    /// Tokens of a sample.
    pub fn tokens(&self) -> usize {
        self.latent[1..].iter().product::<usize>() / self.config.patch_elements()
    }

    /// Operations of one forward pass: products with weights, and attention. What is linear in the activations does not
    /// count.
    pub fn forward_flops(&self) -> u64 {
        self.linear_flops() + self.attention_flops()
    }

    /// Operations of a training step: the backward pass takes two products for each one with a weight, and five for the
    /// two of attention, whose scores it computes again.
    pub fn training_flops(&self) -> u64 {
        3 * self.linear_flops() + self.attention_flops() * 7 / 2
    }

    fn linear_flops(&self) -> u64 {
        let rows = |name: &str| {
            let of_text = name.contains("text_embedder") || name.contains("attn2.to_k") || name.contains("attn2.to_v");
            match name {
                _ if name.contains("time_") => self.batch,
                _ if of_text => self.batch * self.text_rows,
                _ => self.batch * self.tokens(),
            }
        };
        let weights = self.config.parameters();
        let weights = weights.iter().filter(|p| p.name.ends_with("weight") && p.shape.rank() > 1);
        weights.map(|p| 2 * rows(&p.name) as u64 * p.shape.elements() as u64).sum()
    }

    fn attention_flops(&self) -> u64 {
        let (tokens, width) = (self.tokens() as u64, self.config.inner_dim() as u64);
        let keys = tokens + self.text_rows as u64;
        4 * (self.batch * self.config.num_layers) as u64 * tokens * keys * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_peers() {
        // Counted by PyTorch for diffusers' class.
        let count = |size: Size| size.setting().config.parameter_count();
        assert_eq!([count(Size::S), count(Size::L)], [13_351_232, 1_418_996_800]);
        assert_eq!(Size::ALL.map(|size| size.setting().tokens()), [512, 1024, 256]);
    }

    #[test]
    fn operations_are_counted_by_hand() {
        let Setting { config, latent, .. } = Size::S.setting();
        let setting = Setting { config: WanConfig { num_layers: 1, ..config }, latent, text_rows: 16, batch: 1 };
        let (d, tokens, text) = (256, 512, 16);
        let block = 2 * tokens * d * (6 * d + 2 * 1024) + 2 * text * d * 2 * d;
        let embedders = 2 * tokens * d * 2 * 64 + 2 * text * (256 * d + d * d) + 2 * (256 * d + d * d + d * 6 * d);
        let attention = 4 * tokens * (tokens + text) * d;
        assert_eq!(setting.forward_flops(), block + embedders + attention);
        assert_eq!(setting.training_flops(), 3 * (block + embedders) + attention * 7 / 2);
    }
}
