//! NumPy arrays: what notebooks exchange.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use npyz::{AutoSerialize, NpyFile, Order, WriterBuilder};

use super::frame::Frames;
use super::{Cause, Clip, FrameRate, Geometry, Limits};

pub(super) fn read(mut file: BufReader<File>, limits: &Limits) -> Result<Frames, Cause> {
    check_header(file.fill_buf()?, limits)?;
    let array = NpyFile::new(file)?;
    if array.order() != Order::C {
        let feature = "a NumPy array in Fortran order".to_owned();
        return Err(Cause::Unsupported { feature, instead: "save np.ascontiguousarray(a)" });
    }
    let geometry = geometry(array.shape())?;
    limits.check_sides(geometry.height, geometry.width)?;
    let len = geometry.pixels().map_err(|e| Cause::Clip(Box::new(e)))?;
    limits.check_bytes(len as u64 * size_of::<f32>() as u64)?;
    let clip = Clip::from_pixels(geometry, pixels(array)?).map_err(|e| Cause::Clip(Box::new(e)))?;
    let frames: Vec<_> = clip.frames().map(Ok).collect();
    Ok(Box::new(frames.into_iter()))
}

/// No array of a clip has a longer header.
const HEADER: usize = 1024;

/// Checks the header before the library parses it: it recurses into brackets and multiplies extents, both unchecked.
fn check_header(start: &[u8], limits: &Limits) -> Result<(), Cause> {
    const MALFORMED: Cause = Cause::Malformed { what: "NPY: not an array of numbers in NumPy's format" };
    let length = match *start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, 0, a, b, ..] => u32::from(u16::from_le_bytes([a, b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, 0, a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
        _ => return Err(MALFORMED),
    };
    let text = if start[6] == 1 { &start[10..] } else { &start[12..] };
    let text = text.get(..length as usize).filter(|t| t.len() <= HEADER).ok_or(MALFORMED)?;
    if text.iter().filter(|b| b"([{".contains(b)).count() > 2 {
        return Err(MALFORMED);
    }
    // Every number in a simple header is an extent, or the few bytes of the type.
    let mut product = 1_u64;
    for digits in text.split(|b| !b.is_ascii_digit()).filter(|d| !d.is_empty()) {
        let number = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u64>().ok()).ok_or(MALFORMED)?;
        product = product.saturating_mul(number.max(1));
    }
    // Eight for the width of the widest type.
    super::limits::check("the number of values", limits.values.saturating_mul(8), product)
}

/// Writes 8-bit samples of a shape.
pub(crate) fn write_bytes(out: &mut dyn Write, shape: &[usize], samples: &[u8]) -> Result<(), Cause> {
    let shape: Vec<u64> = shape.iter().map(|&e| e as u64).collect();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
    writer.extend(samples.iter().copied())?;
    Ok(writer.finish()?)
}

/// Reads 8-bit samples that must have a shape.
pub(crate) fn read_bytes(file: &[u8], shape: &[usize]) -> Result<Vec<u8>, Cause> {
    check_header(file, &Limits { values: u64::MAX, ..Limits::default() })?;
    let array = NpyFile::new(file)?;
    let same = array.shape().iter().copied().eq(shape.iter().map(|&e| e as u64));
    if !same || array.order() != Order::C || array.dtype() != u8::default_dtype() {
        return Err(Cause::Malformed { what: "NPY: not bytes of the expected shape, in C order" });
    }
    let len = array.len();
    let samples = array.into_inner();
    if samples.len() as u64 != len {
        return Err(Cause::Malformed { what: "NPY: more or fewer samples than the shape asks for" });
    }
    Ok(samples.to_vec())
}

fn geometry(shape: &[u64]) -> Result<Geometry, Cause> {
    let extent = |e: u64| usize::try_from(e).unwrap_or(usize::MAX);
    match *shape {
        [frames, height, width] => {
            Ok(Geometry { channels: 1, frames: extent(frames), height: extent(height), width: extent(width) })
        }
        [channels, frames, height, width] => Ok(Geometry {
            channels: extent(channels),
            frames: extent(frames),
            height: extent(height),
            width: extent(width),
        }),
        _ => Err(Cause::Unsupported {
            feature: format!("a NumPy array of shape {shape:?}"),
            instead: "save [channels, frames, height, width] or [frames, height, width]",
        }),
    }
}

/// Floats are pixels already, bytes are 255ths.
fn pixels(array: NpyFile<BufReader<File>>) -> Result<Vec<f32>, Cause> {
    let array = match array.try_data::<f32>() {
        Ok(values) => return Ok(values.collect::<Result<_, _>>()?),
        Err(array) => array,
    };
    let array = match array.try_data::<f64>() {
        Ok(values) => return Ok(values.map(|v| v.map(|v| v as f32)).collect::<Result<_, _>>()?),
        Err(array) => array,
    };
    match array.try_data::<u8>() {
        Ok(values) => Ok(values.map(|v| v.map(super::from_byte)).collect::<Result<_, _>>()?),
        Err(array) => Err(Cause::Unsupported {
            feature: format!("a NumPy array of type {}", array.dtype().descr()),
            instead: "save f4 or f8 (0 to 1) or u1 (0 to 255)",
        }),
    }
}

pub(super) fn write(clip: &Clip, _: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    let Geometry { channels, frames, height, width } = clip.geometry();
    let shape = [channels, frames, height, width].map(|e| e as u64);
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
    writer.extend(clip.pixels().iter().copied())?;
    Ok(writer.finish()?)
}
