//! The tensors of an autoencoder: names and shapes. Loading and binding read this list and nothing else.

use flg_engine::Shape;

use super::config::{Level, VaeConfig};

/// A tensor of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// diffusers' tensor name.
    pub name: String,
    /// Its shape; weights of convolutions are `[out, in, ..taps]`.
    pub shape: Shape,
}

/// What the network is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Video to latents.
    Encoder,
    /// Latents to video.
    Decoder,
}

impl Part {
    /// The part that a tensor of this name belongs to.
    pub fn of(name: &str) -> Self {
        let encoder = name.starts_with("encoder.") || name.starts_with("quant_conv.");
        if encoder { Part::Encoder } else { Part::Decoder }
    }
}

struct List(Vec<Parameter>);

impl List {
    fn add<const N: usize>(&mut self, name: String, shape: [usize; N]) {
        self.0.push(Parameter { name, shape: shape.into() });
    }

    fn conv<const N: usize>(&mut self, name: &str, shape: [usize; N]) {
        self.add(format!("{name}.weight"), shape);
        self.add(format!("{name}.bias"), [shape[0]]);
    }

    fn resnet(&mut self, name: &str, input: usize, output: usize) {
        self.add(format!("{name}.norm1.gamma"), [input, 1, 1, 1]);
        self.conv(&format!("{name}.conv1"), [output, input, 3, 3, 3]);
        self.add(format!("{name}.norm2.gamma"), [output, 1, 1, 1]);
        self.conv(&format!("{name}.conv2"), [output, output, 3, 3, 3]);
        if input != output {
            self.conv(&format!("{name}.conv_shortcut"), [output, input, 1, 1, 1]);
        }
    }

    fn middle(&mut self, name: &str, width: usize) {
        let attention = format!("{name}.attentions.0");
        self.add(format!("{attention}.norm.gamma"), [width, 1, 1]);
        self.conv(&format!("{attention}.to_qkv"), [3 * width, width, 1, 1]);
        self.conv(&format!("{attention}.proj"), [width, width, 1, 1]);
        for i in 0..2 {
            self.resnet(&format!("{name}.resnets.{i}"), width, width);
        }
    }

    fn level(&mut self, level: &Level, time_out: impl Fn(usize) -> usize) {
        for (j, name) in level.resnets.iter().enumerate() {
            self.resnet(name, if j == 0 { level.input } else { level.output }, level.output);
        }
        let Some(resample) = &level.resample else { return };
        self.conv(&format!("{}.resample.1", resample.name), [resample.output, level.output, 3, 3]);
        if resample.in_time {
            let out = time_out(level.output);
            self.conv(&format!("{}.time_conv", resample.name), [out, level.output, 3, 1, 1]);
        }
    }

    fn head(&mut self, name: &str, width: usize, output: usize) {
        self.add(format!("{name}.norm_out.gamma"), [width, 1, 1, 1]);
        self.conv(&format!("{name}.conv_out"), [output, width, 3, 3, 3]);
    }
}

impl VaeConfig {
    /// Every tensor of the network, in a fixed order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List(Vec::new());
        let z = self.z_dim;
        let last = |levels: &[Level]| levels.last().map_or(0, |level| level.output);
        let levels = self.encoder_levels();
        list.conv("encoder.conv_in", [self.base_dim, self.in_channels, 3, 3, 3]);
        levels.iter().for_each(|level| list.level(level, |width| width));
        list.middle("encoder.mid_block", last(&levels));
        list.head("encoder", last(&levels), 2 * z);
        list.conv("quant_conv", [2 * z, 2 * z, 1, 1, 1]);
        let levels = self.decoder_levels();
        list.conv("post_quant_conv", [z, z, 1, 1, 1]);
        list.conv("decoder.conv_in", [levels[0].input, z, 3, 3, 3]);
        list.middle("decoder.mid_block", levels[0].input);
        // Two frames side by side in the channels.
        levels.iter().for_each(|level| list.level(level, |width| 2 * width));
        list.head("decoder", last(&levels), self.out_channels);
        list.0
    }

    /// Scalars in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.elements()).sum()
    }
}
