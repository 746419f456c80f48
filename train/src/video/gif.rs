//! GIF: at most 256 colours a frame, opened by everything.

use std::fs::File;
use std::io::{BufReader, Write};
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, Encoder, MemoryLimit, Repeat};

use super::canvas::{Blend, Canvas, Disposal, Patch};
use super::frame::Frames;
use super::{Cause, Clip, Frame, FrameRate, Limits};

pub(super) fn read(file: BufReader<File>, limits: &Limits) -> Result<Frames, Cause> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.check_frame_consistency(true);
    if let Some(bytes) = NonZeroU64::new(limits.bytes) {
        options.set_memory_limit(MemoryLimit::Bytes(bytes));
    }
    let decoder = options.read_info(file)?;
    let (height, width) = (usize::from(decoder.height()), usize::from(decoder.width()));
    limits.check_sides(height, width)?;
    if height == 0 || width == 0 {
        return Err(Cause::Malformed { what: "GIF: the canvas has no pixels" });
    }
    let mut animation = Animation { decoder, canvas: Canvas::new(height, width) };
    Ok(Box::new(std::iter::from_fn(move || animation.next_frame().transpose())))
}

struct Animation {
    decoder: Decoder<BufReader<File>>,
    canvas: Canvas,
}

impl Animation {
    fn next_frame(&mut self) -> Result<Option<Frame>, Cause> {
        let Some(frame) = self.decoder.read_next_frame()? else { return Ok(None) };
        let disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear,
            DisposalMethod::Previous => Disposal::Restore,
        };
        let patch = Patch {
            left: frame.left.into(),
            top: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
            samples: &frame.buffer,
        };
        Ok(Some(self.canvas.show(patch, Blend::Over, disposal, 3)))
    }
}

/// Hundredths of a second, the unit of a GIF frame's duration.
const TICKS: u32 = 100;
/// Players show frames of less than two hundredths at ten a second.
const FASTEST: f64 = 50.0;

pub(super) fn write(clip: &Clip, rate: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    if rate.per_second() > FASTEST {
        let feature = format!("GIF at {} frames a second", rate.per_second());
        return Err(Cause::Unsupported { feature, instead: "players show at most 50" });
    }
    let g = clip.geometry();
    let side = |extent: usize| u16::try_from(extent).map_err(|_| too_large());
    let (width, height) = (side(g.width)?, side(g.height)?);
    let greys: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
    let palette = if g.channels == 1 { &greys[..] } else { &[] };

    let mut encoder = Encoder::new(out, width, height, palette)?;
    encoder.set_repeat(Repeat::Infinite)?;
    for (i, frame) in clip.frames().enumerate() {
        let samples = frame.to_interleaved();
        let mut picture = match g.channels {
            // The samples are the indices: the palette is the identity.
            1 => gif::Frame { width, height, buffer: samples.into(), ..Default::default() },
            _ => gif::Frame::from_rgb_speed(width, height, &samples, PALETTE_SPEED),
        };
        picture.delay = (rate.tick(i + 1, TICKS) - rate.tick(i, TICKS)).min(u16::MAX.into()) as u16;
        encoder.write_frame(&picture)?;
    }
    encoder.into_inner()?;
    Ok(())
}

/// Of the library's 1 (best) to 30 (fastest): its own recommendation.
const PALETTE_SPEED: i32 = 10;

fn too_large() -> Cause {
    Cause::Unsupported { feature: "a GIF side above 65535".to_owned(), instead: "write .y4m or .npy" }
}
