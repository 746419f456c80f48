//! MP4 with H.264, by Cisco's encoder.
//!
//! H.264 here means 4:2:0, limited range, BT.601: colours are averaged over 2x2 pixels, so small clips should be
//! [enlarged](Clip::enlarged) first. The encoder takes even sides of at least 16; others are filled up by repeating the
//! last column and row.

use std::io::Write;

use muxide::api::{MuxerBuilder, VideoCodec};
use openh264::OpenH264API;
use openh264::encoder::{Encoder, EncoderConfig, FrameRate as MaxRate, FrameType, RateControlMode, VuiConfig};
use openh264::formats::YUVSlices;

use super::yuv::{self, Range};
use super::{Cause, Channels, Clip, Frame, FrameRate};

/// The encoder's smallest side.
const SMALLEST: usize = 16;
/// Its largest, for either side.
const LARGEST: usize = 3840;

pub(super) fn write(clip: &Clip, rate: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    let g = clip.geometry();
    let [height, width] = [g.height, g.width].map(|side| side.max(SMALLEST).next_multiple_of(2));
    if height > LARGEST || width > LARGEST {
        let feature = format!("H.264 of {height} rows and {width} columns");
        return Err(Cause::Unsupported { feature, instead: "the encoder takes at most 3840 of each; write .y4m" });
    }
    // Without rate control every frame has the encoder's base quantiser, 26, and none is skipped.
    let config = EncoderConfig::new()
        .rate_control_mode(RateControlMode::Off)
        .adaptive_quantization(false)
        .max_frame_rate(MaxRate::from_hz(rate.per_second() as f32))
        .skip_frames(false)
        .background_detection(false)
        .vui(VuiConfig::bt601());
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
    let mut muxer =
        MuxerBuilder::new(out).video(VideoCodec::H264, width as u32, height as u32, rate.per_second()).build()?;
    for (i, frame) in clip.frames().enumerate() {
        let [y, u, v] = planes(frame, [height, width]);
        let source = YUVSlices::new((&y, &u, &v), (width, height), (width, width / 2, width / 2));
        let picture = encoder.encode(&source)?;
        let key = picture.frame_type() == FrameType::IDR;
        let (n, d) = rate.fraction();
        let seconds = i as f64 * f64::from(d) / f64::from(n);
        muxer.write_video(seconds, &picture.to_vec(), key)?;
    }
    Ok(muxer.finish()?)
}

/// 4:2:0 planes of a frame, filled up to a size.
fn planes(frame: Frame, [height, width]: [usize; 2]) -> [Vec<u8>; 3] {
    let [y, u, v] = yuv::from_rgb(&filled(&frame.with_channels(Channels::Rgb), [height, width]), Range::Limited);
    [y, halved(&u, width), halved(&v, width)]
}

fn filled(frame: &Frame, [height, width]: [usize; 2]) -> Frame {
    let [channels, rows, columns] = frame.extents();
    let planes = (0..channels).map(|c| frame.plane(c));
    let pixels = planes.flat_map(|plane| {
        let positions = (0..height).flat_map(move |row| (0..width).map(move |column| [row, column]));
        positions.map(move |[row, column]| plane[row.min(rows - 1) * columns + column.min(columns - 1)])
    });
    Frame::new([channels, height, width], pixels.collect())
}

/// Averages over 2x2 samples.
fn halved(plane: &[u8], width: usize) -> Vec<u8> {
    let rows = plane.chunks_exact(2 * width).map(|two| two.split_at(width));
    rows.flat_map(|(upper, lower)| {
        upper.chunks_exact(2).zip(lower.chunks_exact(2)).map(|(a, b)| {
            let sum: u16 = [a[0], a[1], b[0], b[1]].into_iter().map(u16::from).sum();
            ((sum + 2) / 4) as u8
        })
    })
    .collect()
}
