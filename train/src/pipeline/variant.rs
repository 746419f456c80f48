//! What kind of Wan network a checkpoint is: which images it takes, and which extents.

use flg_model::WanConfig;

use super::Error;

/// Latent frames stand for 1 video frame and then for this many each.
pub const FRAMES: usize = 4;

/// A kind of network, told by its sizes and by its pipeline's index.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Sizes of the network, or of both experts.
    pub config: WanConfig,
    /// The noise level where the second expert takes over.
    pub boundary: Option<f64>,
    /// Whether every token has its own time, so that a first frame can be given.
    pub time_per_token: bool,
    /// Pixels of a latent, along each axis of a frame.
    pub pixels: usize,
}

/// Extents of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// Frames.
    pub frames: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Where an image enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enters {
    /// Its latents are the first latent frame.
    AsFirstFrame,
    /// Its latents stand beside those of the video, with a mask of the frames that are given.
    Beside,
}

impl Variant {
    /// How images enter, if any do.
    pub fn image(&self) -> Option<Enters> {
        match self.time_per_token {
            true => Some(Enters::AsFirstFrame),
            false => (self.config.in_channels > self.config.out_channels).then_some(Enters::Beside),
        }
    }

    /// Whether the network attends to the embedding of the image.
    pub fn attends(&self) -> bool {
        self.config.image_dim.is_some()
    }

    /// Whether these images are what the network takes.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn check_images(&self, first: bool, last: bool) -> Result<(), Error> {
        let refuse = |which, reason| Err(Error::Image { which, reason });
        let two = self.attends() && self.config.pos_embed_seq_len.is_some();
        match (self.image(), first, last) {
            (None, true, _) | (None, _, true) => refuse("image", "this network makes videos from text only"),
            (Some(Enters::Beside), false, _) => refuse("image", "this network needs one"),
            (Some(Enters::AsFirstFrame), _, true) => refuse("last image", "this network takes a first frame only"),
            (_, _, false) if two => refuse("last image", "this network needs a first and a last one"),
            (_, _, true) if self.attends() && !two => refuse("last image", "this network takes a first one only"),
            _ => Ok(()),
        }
    }

    /// Whether a video can have these extents.
    ///
    /// # Errors
    /// [`Error::Extent`] with the nearest that it can have.
    pub fn check_extents(&self, Extents { frames, height, width }: Extents) -> Result<(), Error> {
        /// Larger than any video, and small enough that products cannot overflow.
        const MOST: usize = 1 << 14;
        let patch = self.config.patch_size;
        let period = FRAMES * patch[0];
        if frames == 0 || !(frames - 1).is_multiple_of(period) || frames > MOST {
            let nearest = (frames.clamp(1, MOST) - 1 + period / 2) / period * period + 1;
            let rule = format!("a multiple of {period} and 1, at most {MOST}");
            return Err(Error::Extent { extent: "frames", got: frames, rule, nearest });
        }
        for (extent, got, patch) in [("height", height, patch[1]), ("width", width, patch[2])] {
            let step = self.pixels * patch;
            if got == 0 || !got.is_multiple_of(step) || got > MOST {
                let nearest = ((got.min(MOST) + step / 2) / step).max(1) * step;
                let rule = format!("a multiple of {step}, at most {MOST}");
                return Err(Error::Extent { extent, got, rule, nearest });
            }
        }
        Ok(())
    }

    /// Channels, frames, rows and columns of the latents of a video.
    pub fn latents(&self, Extents { frames, height, width }: Extents) -> [usize; 4] {
        [self.config.out_channels, (frames - 1) / FRAMES + 1, height / self.pixels, width / self.pixels]
    }

    /// Extents that are sampled where none are asked for: what diffusers' pipelines do.
    pub fn usual(&self) -> Extents {
        match self.time_per_token {
            true => Extents { frames: 121, height: 704, width: 1280 },
            false => Extents { frames: 81, height: 480, width: 832 },
        }
    }

    /// Frames a second that the network was trained on.
    pub fn frame_rate(&self) -> u32 {
        if self.time_per_token { 24 } else { 16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(config: WanConfig) -> Variant {
        Variant { config, boundary: None, time_per_token: false, pixels: 8 }
    }

    #[test]
    fn the_nearest_extents_are_named() {
        let of = |frames, height, width| {
            variant(WanConfig::default()).check_extents(Extents { frames, height, width }).map_err(|e| e.to_string())
        };
        assert_eq!(of(81, 480, 832), Ok(()));
        assert_eq!(of(1, 16, 16), Ok(()));
        let frames = "frames 80: it must be a multiple of 4 and 1, at most 16384; the nearest is 81";
        assert_eq!(of(80, 480, 832), Err(frames.to_owned()));
        assert!(of(0, 480, 832).unwrap_err().ends_with("the nearest is 1"));
        assert!(of(83, 480, 832).unwrap_err().ends_with("the nearest is 85"));
        let height = "height 470: it must be a multiple of 16, at most 16384; the nearest is 464";
        assert_eq!(of(81, 470, 832), Err(height.to_owned()));
        assert!(of(81, 480, 0).unwrap_err().ends_with("the nearest is 16"));
        assert!(of(81, 480, usize::MAX).unwrap_err().ends_with("the nearest is 16384"));
    }

    #[test]
    fn images_are_taken_where_they_belong() {
        let says = |variant: &Variant, first, last| variant.check_images(first, last).map_err(|e| e.to_string());
        let text = variant(WanConfig::default());
        assert_eq!(says(&text, false, false), Ok(()));
        assert_eq!(says(&text, true, false), Err("image: this network makes videos from text only".to_owned()));
        let beside = WanConfig { in_channels: 36, ..WanConfig::default() };
        let [a14b, i2v, flf2v] = [
            variant(beside.clone()),
            variant(WanConfig { image_dim: Some(1280), ..beside.clone() }),
            variant(WanConfig { image_dim: Some(1280), pos_embed_seq_len: Some(514), ..beside }),
        ];
        let given = [(false, false), (true, false), (true, true)];
        let taken = |variant: &Variant| given.map(|(first, last)| says(variant, first, last).is_ok());
        assert_eq!(
            [taken(&a14b), taken(&i2v), taken(&flf2v)],
            [[false, true, true], [false, true, false], [false, false, true]]
        );
        let per_token = Variant { time_per_token: true, ..variant(WanConfig::default()) };
        assert_eq!(taken(&per_token), [true, true, false]);
    }
}
