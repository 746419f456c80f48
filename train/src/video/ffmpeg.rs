//! Any other format, through an `ffmpeg` that the user has installed.
//!
//! Decoders of MP4 and its kin are large and old targets of hostile files, so they run in a process of their own, which
//! hands over raw RGB frames through a pipe. Each frame comes with a PPM header (`P6 width height 255`), so the extents
//! need no second program.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::frame::Frames;
use super::{Cause, Frame, Limits};

/// Seconds of processor time after which `ffmpeg` gives up on a file.
const TIME_LIMIT: &str = "600";

pub(super) fn read(path: &Path, limits: &Limits) -> Result<Frames, Cause> {
    let messages = tempfile::tempfile()?;
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-timelimit", TIME_LIMIT]);
    // A playlist must not make ffmpeg open the network, nor a name that looks like an option or a URL.
    command.args(["-protocol_whitelist", "file,pipe", "-i"]);
    let mut input = std::ffi::OsString::from("file:");
    input.push(path);
    command.arg(input);
    // One more than allowed, so that the limit is noticed.
    command.args(["-map", "0:v:0", "-frames:v", &limits.frames.saturating_add(1).to_string()]);
    command.args(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(messages.try_clone()?));
    let mut child = command.spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Cause::FfmpegMissing,
        _ => Cause::Io(e),
    })?;
    let Some(output) = child.stdout.take() else { return Err(Cause::Malformed { what: "ffmpeg: no pipe" }) };
    let mut decoder = Decoder { child, output: BufReader::new(output), messages, limits: *limits, frame: 0 };
    Ok(Box::new(std::iter::from_fn(move || decoder.next_frame().transpose())))
}

struct Decoder {
    child: Child,
    output: BufReader<ChildStdout>,
    messages: File,
    limits: Limits,
    frame: usize,
}

impl Decoder {
    fn next_frame(&mut self) -> Result<Option<Frame>, Cause> {
        if self.output.fill_buf()?.is_empty() {
            return self.finish().map(|()| None);
        }
        let fields = [self.field()?, self.field()?, self.field()?, self.field()?];
        let [height, width] = match fields.each_ref().map(|f| f.parse::<usize>().ok()) {
            [None, Some(width), Some(height), Some(255)] if fields[0] == "P6" => [height, width],
            _ => return Err(Cause::Malformed { what: "ffmpeg sent something else than PPM frames" }),
        };
        self.limits.check_sides(height, width)?;
        let mut samples = vec![0; 3 * height * width];
        self.output.read_exact(&mut samples).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => Cause::Truncated { frame: self.frame },
            _ => Cause::Io(e),
        })?;
        self.frame += 1;
        Ok(Some(Frame::from_interleaved([3, height, width], 3, &samples)))
    }

    /// A field of the PPM header, without the one byte of white space that ends it.
    fn field(&mut self) -> Result<String, Cause> {
        let mut field = String::new();
        for _ in 0..=FIELD {
            let mut byte = [0];
            self.output.read_exact(&mut byte)?;
            if byte[0].is_ascii_whitespace() {
                break;
            }
            field.push(byte[0].into());
        }
        Ok(field)
    }

    /// Waits for the end, and passes on what went wrong.
    fn finish(&mut self) -> Result<(), Cause> {
        if self.child.wait()?.success() {
            return Ok(());
        }
        let end = self.messages.seek(SeekFrom::End(0))?;
        self.messages.seek(SeekFrom::Start(end.saturating_sub(MESSAGE)))?;
        let mut bytes = Vec::new();
        self.messages.by_ref().take(MESSAGE).read_to_end(&mut bytes)?;
        let message = String::from_utf8_lossy(&bytes).trim().replace('\n', "; ");
        Err(Cause::Ffmpeg { message })
    }
}

/// The most digits in a field of the PPM header.
const FIELD: usize = 12;
/// How much of what `ffmpeg` printed is passed on, in bytes.
const MESSAGE: u64 = 500;

impl Drop for Decoder {
    fn drop(&mut self) {
        // Both fail harmlessly if it has ended; not waiting would leave a zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
