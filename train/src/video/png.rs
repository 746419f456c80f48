//! PNG: single pictures, animations (APNG), and sheets of frames.

use std::fs::File;
use std::io::{BufReader, Write};

use png::{BitDepth, BlendOp, ColorType, Decoder, DisposeOp, Encoder, Reader, Transformations};

use super::canvas::{Blend, Canvas, Disposal, Patch};
use super::frame::Frames;
use super::{Cause, Clip, Frame, FrameRate, Geometry, Limits};

pub(super) fn read(file: BufReader<File>, limits: &Limits) -> Result<Frames, Cause> {
    let bytes = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(file, png::Limits { bytes });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    let (height, width) = (height as usize, width as usize);
    limits.check_sides(height, width)?;
    let size = reader.output_buffer_size().ok_or(Cause::Malformed { what: "PNG: the size overflows" })?;
    limits.check_bytes(size as u64)?;

    let frames = reader.info().animation_control().map_or(1, |a| u64::from(a.num_frames));
    let mut picture = Picture { reader, buffer: vec![0; size], canvas: Canvas::new(height, width) };
    if picture.reader.info().is_animated() && picture.reader.info().frame_control().is_none() {
        // The image for viewers that know no animation is not a frame of it.
        picture.reader.next_frame(&mut picture.buffer)?;
    }
    Ok(Box::new((1..=frames).map(move |number| {
        let frame = picture.next_frame()?;
        if number == frames {
            // To the end mark, without which the file was cut off.
            picture.reader.finish()?;
        }
        Ok(frame)
    })))
}

struct Picture {
    reader: Reader<BufReader<File>>,
    buffer: Vec<u8>,
    canvas: Canvas,
}

impl Picture {
    fn next_frame(&mut self) -> Result<Frame, Cause> {
        let output = self.reader.next_frame(&mut self.buffer)?;
        let info = self.reader.info();
        let control = info.frame_control();
        let (blend, disposal) = match control {
            Some(c) => (
                if c.blend_op == BlendOp::Over { Blend::Over } else { Blend::Replace },
                match c.dispose_op {
                    DisposeOp::None => Disposal::Keep,
                    DisposeOp::Background => Disposal::Clear,
                    DisposeOp::Previous => Disposal::Restore,
                },
            ),
            None => (Blend::Replace, Disposal::Keep),
        };
        let samples = output.color_type.samples();
        // An interlaced patch is laid out in rows of the whole picture, any other in rows of its own.
        let stride = if info.interlaced { info.width as usize * samples } else { output.line_size };
        let (width, height) = (output.width as usize, output.height as usize);
        let rows = self.buffer.chunks(stride.max(1)).take(height);
        let rgba: Vec<u8> = rows.flat_map(|row| to_rgba(output.color_type, &row[..width * samples])).collect();
        let patch = Patch {
            left: control.map_or(0, |c| c.x_offset as usize),
            top: control.map_or(0, |c| c.y_offset as usize),
            width,
            height,
            samples: &rgba,
        };
        let channels = if samples < 3 { 1 } else { 3 };
        Ok(self.canvas.show(patch, blend, disposal, channels))
    }
}

fn to_rgba(colour: ColorType, row: &[u8]) -> impl Iterator<Item = u8> + '_ {
    row.chunks_exact(colour.samples()).flat_map(|p| match *p {
        [grey] => [grey, grey, grey, 255],
        [grey, alpha] => [grey, grey, grey, alpha],
        [r, g, b] => [r, g, b, 255],
        [r, g, b, a] => [r, g, b, a],
        // PNG pixels have one to four samples.
        _ => [0; 4],
    })
}

pub(super) fn write_animation(clip: &Clip, rate: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    let Geometry { channels, frames, height, width } = clip.geometry();
    let mut encoder = encoder(out, channels, [height, width])?;
    encoder.set_animated(u32::try_from(frames).map_err(|_| too_large())?, LOOP_FOREVER)?;
    let (n, d) = rate.fraction();
    let mut writer = encoder.write_header()?;
    for (i, frame) in clip.frames().enumerate() {
        match (u16::try_from(d), u16::try_from(n)) {
            (Ok(d), Ok(n)) => writer.set_frame_delay(d, n)?,
            // The fraction does not fit: milliseconds, in step with the clock.
            _ => writer.set_frame_delay((rate.tick(i + 1, 1000) - rate.tick(i, 1000)).min(65_535) as u16, 1000)?,
        }
        writer.write_image_data(&frame.to_interleaved())?;
    }
    Ok(writer.finish()?)
}

const LOOP_FOREVER: u32 = 0;

pub(super) fn write_sheet(clip: &Clip, _: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    let Geometry { channels, frames, height, width } = clip.geometry();
    let sheet_width = frames.checked_mul(width).ok_or_else(too_large)?;
    let row_size = channels * width;
    let mut sheet = vec![0; channels * height * sheet_width];
    for (i, frame) in clip.frames().enumerate() {
        for (row, samples) in frame.to_interleaved().chunks_exact(row_size).enumerate() {
            sheet[(row * frames + i) * row_size..][..row_size].copy_from_slice(samples);
        }
    }
    let mut writer = encoder(out, channels, [height, sheet_width])?.write_header()?;
    writer.write_image_data(&sheet)?;
    Ok(writer.finish()?)
}

fn encoder(
    out: &mut dyn Write,
    channels: usize,
    [height, width]: [usize; 2],
) -> Result<Encoder<'_, &mut dyn Write>, Cause> {
    let side = |extent: usize| u32::try_from(extent).map_err(|_| too_large());
    let mut encoder = Encoder::new(out, side(width)?, side(height)?);
    encoder.set_color(if channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
    encoder.set_depth(BitDepth::Eight);
    Ok(encoder)
}

fn too_large() -> Cause {
    Cause::Unsupported { feature: "a PNG of that many pixels".to_owned(), instead: "write .y4m or .npy" }
}
