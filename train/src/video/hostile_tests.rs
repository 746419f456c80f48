//! Damaged and hostile files give errors: no panic, no endless loop, no memory beyond the limits.

use super::*;

const EXTENSIONS: [&str; 5] = ["gif", "apng", "png", "y4m", "npy"];

fn file(extension: &str) -> Vec<u8> {
    let geometry = Geometry { channels: 3, frames: 3, height: 5, width: 9 };
    let pixels = (0..geometry.pixels().unwrap()).map(|i| from_byte((i * 37 % 251) as u8)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").with_extension(extension);
    write(&path, &Clip::from_pixels(geometry, pixels).unwrap(), FrameRate::default()).unwrap();
    std::fs::read(path).unwrap()
}

/// Small limits, so that a file that slips past them shows as a slow test.
const TIGHT: Limits = Limits { side: 64, frames: 50, values: 1 << 20, bytes: 1 << 20 };

fn read_bytes(extension: &str, bytes: &[u8]) -> Result<Clip, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").with_extension(extension);
    std::fs::write(&path, bytes).unwrap();
    read(&path, &TIGHT)
}

#[test]
fn every_truncation_is_an_error() {
    for extension in EXTENSIONS {
        let whole = file(extension);
        let clip = read_bytes(extension, &whole).unwrap();
        for end in (0..whole.len()).step_by(1 + whole.len() / 150) {
            match read_bytes(extension, &whole[..end]) {
                Err(Error::Read { path, .. }) => assert!(path.ends_with(format!("a.{extension}"))),
                Err(other) => panic!("{extension} {end}: {other}"),
                // Y4M has no end mark: cut between two frames it is a shorter file.
                Ok(short) => {
                    assert_eq!(extension, "y4m", "{end} of {}", whole.len());
                    assert!(short.geometry().frames < clip.geometry().frames);
                }
            }
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut state = 1_u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for extension in EXTENSIONS {
        let whole = file(extension);
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(3) {
                // Headers are the interesting part.
                let at = if random(2) == 0 { random(whole.len()) } else { random(whole.len().min(120)) };
                bytes[at] = if random(2) == 0 { random(256) as u8 } else { bytes[at] ^ (1 << random(8)) };
            }
            if let Ok(clip) = read_bytes(extension, &bytes) {
                assert!(clip.pixels().iter().all(|p| (0.0..=1.0).contains(p)));
            }
        }
    }
}

#[test]
fn claimed_sizes_are_checked_first() {
    let y4m = |header: &str| read_bytes("y4m", header.as_bytes()).unwrap_err().to_string();
    assert!(y4m("YUV4MPEG2 W99999 H2\n").contains("the width is 99999, more than the limit of 64"));
    assert!(y4m("YUV4MPEG2 W18446744073709551615 H18446744073709551615\n").contains("not a number"));
    assert!(y4m("YUV4MPEG2 W4 H4 C420p10\nFRAME\n").contains("not supported"));
    let npy = |shape: &str| {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let bytes = [b"\x93NUMPY\x01\x00".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        read_bytes("npy", &bytes).unwrap_err().to_string()
    };
    assert!(npy("(1, 99999, 99999, 99999)").contains("the limit"));
    assert!(npy("(18446744073709551615, 18446744073709551615, 2)").contains("the limit"));
    assert!(npy("(99999999999999999999999, 1, 1)").contains("NumPy's format"));
    assert!(npy(&"(".repeat(900)).contains("NumPy's format"));
    assert!(npy("(2, 2)").contains("shape [2, 2]"));
    assert!(npy("(2, 1, 1, 1)").contains("channels"));
    // A GIF canvas of 65535 x 65535.
    let mut gif = file("gif");
    gif[6..10].fill(0xff);
    assert!(read_bytes("gif", &gif).unwrap_err().to_string().contains("65535, more than the limit of 64"));
}

#[test]
fn limits_hold_over_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    std::fs::write(&path, file("gif")).unwrap();
    let fails = |limits: Limits| read(&path, &limits).unwrap_err().to_string();
    assert!(fails(Limits { frames: 2, ..TIGHT }).contains("the number of frames is 3"));
    assert!(fails(Limits { values: 300, ..TIGHT }).contains("the number of values in all frames is 405"));
    assert!(fails(Limits { bytes: 1000, ..TIGHT }).contains("the memory needed, in bytes, is 1080"));
}

#[test]
fn missing_empty_and_foreign_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read(&folder.path().join("no.gif"), &TIGHT).unwrap_err();
    assert!(missing.to_string().contains("no.gif"), "{missing}");
    assert!(matches!(read(&folder.path().join("no.mov"), &TIGHT), Err(Error::Read { cause: Cause::Io(_), .. })));
    assert!(matches!(read(folder.path(), &TIGHT), Err(Error::Read { cause: Cause::NoFrames, .. })));
    let header_only = read_bytes("y4m", b"YUV4MPEG2 W4 H4 Cmono\n");
    assert!(matches!(header_only, Err(Error::Read { cause: Cause::NoFrames, .. })));
    // With ffmpeg installed its message comes through, without it the error says what is missing.
    let foreign = read_bytes("mp4", b"this is no video").unwrap_err();
    assert!(matches!(foreign, Error::Read { cause: Cause::Ffmpeg { .. } | Cause::FfmpegMissing, .. }), "{foreign}");
}
