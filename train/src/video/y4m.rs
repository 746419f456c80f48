//! YUV4MPEG2: raw frames behind a line of text. What other video tools exchange through pipes.
//!
//! The format has no field for the matrix; as everywhere for such files it is taken to be BT.601.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::rc::Rc;

use y4m::{Colorspace, Decoder, Error, Ratio, VendorExtensionString};

use super::frame::Frames;
use super::yuv::{self, Range};
use super::{Cause, Clip, Frame, FrameRate, Limits};

/// The library reads no longer header.
const HEADER: usize = 1024;

pub(super) fn read(mut file: BufReader<File>, limits: &Limits) -> Result<Frames, Cause> {
    check_header(file.fill_buf()?, limits)?;
    let consumed = Rc::new(Cell::new(0));
    let counted = Counted { inner: file, consumed: consumed.clone() };
    let bytes = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
    let decoder = Decoder::new_with_limits(counted, y4m::Limits { bytes })?;
    let layout = Layout::of(&decoder)?;
    let mut stream = Stream { decoder, consumed, layout, frame: 0 };
    Ok(Box::new(std::iter::from_fn(move || stream.next_frame().transpose())))
}

/// Checks the extents in the header before the library multiplies them, which it does without a check for overflow.
fn check_header(start: &[u8], limits: &Limits) -> Result<(), Cause> {
    let line = start.iter().take(HEADER).position(|&b| b == b'\n').map(|end| &start[..end]);
    let line = line.ok_or(Cause::Malformed { what: "Y4M: there is no header line" })?;
    for field in line.split(|&b| b == b' ') {
        let Some((&name @ (b'W' | b'H'), digits)) = field.split_first() else { continue };
        let extent = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u32>().ok());
        let extent = extent.ok_or(Cause::Malformed { what: "Y4M: an extent is not a number" })?;
        let [height, width] = if name == b'H' { [extent, 0] } else { [0, extent] };
        limits.check_sides(height as usize, width as usize)?;
    }
    Ok(())
}

struct Counted<R> {
    inner: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.consumed.set(self.consumed.get() + n as u64);
        Ok(n)
    }
}

/// How a file's samples are arranged.
struct Layout {
    size: [usize; 2],
    /// Rows and columns of luma for one sample of chroma; `None` without chroma.
    subsampling: Option<[usize; 2]>,
    range: Range,
}

impl Layout {
    fn of<R: Read>(decoder: &Decoder<R>) -> Result<Self, Cause> {
        let subsampling = match decoder.get_colorspace() {
            Colorspace::Cmono => None,
            Colorspace::C420 | Colorspace::C420jpeg | Colorspace::C420paldv | Colorspace::C420mpeg2 => Some([2, 2]),
            Colorspace::C422 => Some([1, 2]),
            Colorspace::C444 => Some([1, 1]),
            other => {
                let feature = format!("Y4M colour space {other:?}");
                return Err(Cause::Unsupported { feature, instead: "convert it to 8 bits, e.g. yuv444p" });
            }
        };
        let says = |what: &[u8]| decoder.get_raw_params().split(|&b| b == b' ').any(|field| field == what);
        // Without a word about it grey is full and colour limited, as ffmpeg takes them.
        let range = match subsampling {
            _ if says(b"XCOLORRANGE=FULL") => Range::Full,
            _ if says(b"XCOLORRANGE=LIMITED") => Range::Limited,
            None => Range::Full,
            Some(_) => Range::Limited,
        };
        Ok(Self { size: [decoder.get_height(), decoder.get_width()], subsampling, range })
    }
}

struct Stream {
    decoder: Decoder<Counted<BufReader<File>>>,
    consumed: Rc<Cell<u64>>,
    layout: Layout,
    frame: usize,
}

impl Stream {
    fn next_frame(&mut self) -> Result<Option<Frame>, Cause> {
        let before = self.consumed.get();
        let picture = match self.decoder.read_frame() {
            Ok(picture) => picture,
            // The library tells the end of the file from the end of the data by no more than where it happens.
            Err(Error::EOF) if self.consumed.get() == before => return Ok(None),
            Err(Error::EOF) => return Err(Cause::Truncated { frame: self.frame }),
            Err(other) => return Err(other.into()),
        };
        self.frame += 1;
        let Layout { size, subsampling, range } = self.layout;
        Ok(Some(match subsampling {
            None => yuv::grey(picture.get_y_plane(), size, range),
            Some(subsampling) => {
                let planes = [picture.get_y_plane(), picture.get_u_plane(), picture.get_v_plane()];
                yuv::to_rgb(planes, size, subsampling, range)
            }
        }))
    }
}

pub(super) fn write(clip: &Clip, rate: FrameRate, out: &mut dyn Write) -> Result<(), Cause> {
    let g = clip.geometry();
    let (frames, seconds) = rate.fraction();
    let colour = if g.channels == 1 { Colorspace::Cmono } else { Colorspace::C444 };
    let mut encoder = y4m::encode(g.width, g.height, Ratio::new(frames as usize, seconds as usize))
        .with_colorspace(colour)
        .append_vendor_extension(VendorExtensionString::new(b"COLORRANGE=FULL".to_vec())?)
        .write_header(out)?;
    for frame in clip.frames() {
        let planes = match g.channels {
            1 => [frame.to_interleaved(), Vec::new(), Vec::new()],
            _ => yuv::from_rgb(&frame, Range::Full),
        };
        encoder.write_frame(&y4m::Frame::new([&planes[0], &planes[1], &planes[2]], None))?;
    }
    Ok(())
}
