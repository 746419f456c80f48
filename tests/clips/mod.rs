//! Encoded data sets of random numbers, and untrained networks of every kind of Wan for them.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::StoredType;
use flg_engine::{Device, Key, ParamStore, Tensor};
use flg_model::checkpoint::{Form as Written, PipelineIndex, TRANSFORMER, save_network_as};
use flg_model::{Wan, WanConfig};
use flg_train::data::Split;
use flg_train::data::encoded::{ClipTensors, EncodedWriter, Encoders, Form, ImageForm, NewClip, StoredAs};

/// A kind of network: that of a fixture, and what clips for it have.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The fixture.
    pub name: &'static str,
    /// Latents of a clip.
    pub latents: [usize; 4],
    /// Rows of a text embedding, and their width.
    pub text: [usize; 2],
    /// Rows and width of an image embedding.
    pub image: Option<[usize; 2]>,
    /// Channels beside the latents.
    pub channels: usize,
}

pub const T2V: Kind = Kind { name: "wan_t2v", latents: [4, 3, 4, 6], text: [7, 20], image: None, channels: 0 };
pub const TI2V: Kind = Kind { name: "wan_ti2v", latents: [6, 3, 4, 6], text: [9, 20], image: None, channels: 0 };
pub const I2V: Kind =
    Kind { name: "wan_i2v", latents: [4, 3, 4, 4], text: [8, 10], image: Some([17, 24]), channels: 8 };
pub const FLF2V: Kind =
    Kind { name: "wan_flf2v", latents: [4, 2, 4, 4], text: [8, 10], image: Some([34, 24]), channels: 8 };

impl Kind {
    /// The fixture's folder.
    pub fn fixture(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(self.name)
    }

    /// The fixture's sizes with another number of blocks.
    pub fn config(&self, layers: usize) -> WanConfig {
        let text = fs::read_to_string(self.fixture().join("config.json")).unwrap();
        WanConfig { num_layers: layers, ..WanConfig::from_json(&text).unwrap() }
    }

    /// The form of a set for this network.
    pub fn form(&self) -> Form {
        let encoders = Encoders {
            vae: "none".into(),
            text: "none".into(),
            temporal_scale: 4,
            spatial_scale: 8,
            ..Encoders::default()
        };
        let image = self.image.map(|[rows, dim]| ImageForm { rows, dim });
        let [text_rows, text_dim] = self.text;
        let (latents, channels, stored) = (self.latents, self.channels, StoredAs::Bf16);
        Form { latents, text_rows, text_dim, image, channels, stored, encoders }
    }
}

/// A set of six training and four held-out clips under three captions, in `dir/name`.
pub fn encoded(form: &Form, dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join(name);
    let draw = |name: &str, shape: &[usize]| {
        Key::new(3).name(name).normal(&Device::cpu(), flg_engine::Shape::new(shape).unwrap()).unwrap()
    };
    let mut writer = EncodedWriter::new(&folder, form.clone()).unwrap();
    let captions = ["", "one", "two", "three"];
    for (i, caption) in captions.iter().enumerate() {
        writer.text(caption, &draw(caption, &[(i + 2).min(form.text_rows), form.text_dim])).unwrap();
    }
    let [_, f, h, w] = form.latents;
    for clip in 0..10 {
        let name = format!("clip {clip}");
        let part = |what: &str, shape: &[usize]| draw(&format!("{name} {what}"), shape);
        let latents = part("latents", &form.latents);
        let image: Option<Tensor> = form.image.map(|image| part("image", &[image.rows, image.dim]));
        let channels = (form.channels > 0).then(|| part("channels", &[form.channels, f, h, w]));
        let tensors = ClipTensors { latents: &latents, image: image.as_ref(), channels: channels.as_ref() };
        let split = if clip < 6 { Split::Training } else { Split::HeldOut };
        writer.push(NewClip { name: &name, caption: captions[1 + clip % 3], split, tensors }).unwrap();
    }
    writer.finish().unwrap();
    folder
}

/// A whole pipeline in `dir/name`, as it is published: a transformer in bf16 with weights that say something, and other
/// parts, of which this program needs none.
pub fn pipeline(config: &WanConfig, dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join(name);
    let device = Device::cpu();
    let mut weights = ParamStore::new(&device);
    Wan::init(config.clone(), &mut weights, Key::new(1)).unwrap();
    // Fresh networks have heads of zeros.
    let head = weights.id("proj_out.weight").unwrap();
    let shape = weights.get(head).shape();
    *weights.get_mut(head) = Key::new(2).normal(&device, shape).unwrap().scale(0.1).unwrap();
    let form = Written { dtype: Some(StoredType::Bf16), ..Written::default() };
    save_network_as(folder.join(TRANSFORMER), config, &weights, form).unwrap();
    for (part, file) in [("vae", "config.json"), ("tokenizer", "spiece.model"), ("scheduler", "scheduler_config.json")]
    {
        fs::create_dir_all(folder.join(part)).unwrap();
        fs::write(folder.join(part).join(file), "{\"flow_shift\": 3.0}").unwrap();
    }
    let mut index = PipelineIndex::new("WanPipeline")
        .with_part(TRANSFORMER, "diffusers", "WanTransformer3DModel")
        .with_part("vae", "diffusers", "AutoencoderKLWan")
        .with_part("tokenizer", "transformers", "T5TokenizerFast")
        .with_part("scheduler", "diffusers", "UniPCMultistepScheduler");
    index.expand_timesteps = config.in_channels == 6;
    index.write(&folder).unwrap();
    folder
}
