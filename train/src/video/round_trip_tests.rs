//! What is written is what is read.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A clip whose samples are a fixed mixture, or `levels` of them if fewer are asked for.
fn clip(geometry: Geometry, levels: u32) -> Clip {
    let sample = |i: u32| from_byte((i.wrapping_mul(2_654_435_761) >> 13) as u8 % levels.min(255) as u8);
    let len = geometry.pixels().unwrap() as u32;
    Clip::from_pixels(geometry, (0..len).map(sample).collect()).unwrap()
}

fn there_and_back(clip: &Clip, name: &str) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, clip, FrameRate::default()).unwrap();
    read(&path, &Limits::default()).unwrap()
}

fn with_channels(clip: &Clip, channels: Channels) -> Clip {
    let frames: Vec<Frame> = clip.frames().map(|f| f.with_channels(channels)).collect();
    Clip::from_frames(&frames).unwrap()
}

fn extents() -> impl Strategy<Value = Geometry> {
    let side = prop_oneof![Just(1_usize), Just(2), Just(3), Just(7), Just(16), Just(17)];
    (prop_oneof![Just(1_usize), Just(3)], 1..5_usize, side.clone(), side)
        .prop_map(|(channels, frames, height, width)| Geometry { channels, frames, height, width })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exact_formats_return_every_sample(geometry in extents()) {
        let clip = clip(geometry, 255);
        prop_assert_eq!(&there_and_back(&clip, "a.npy"), &clip);
        prop_assert_eq!(there_and_back(&clip, "a.apng"), clip);
    }

    #[test]
    fn gif_returns_up_to_256_colours_exactly(geometry in extents()) {
        // Six levels make at most 216 colours; greys have 256 always.
        let clip = clip(geometry, if geometry.channels == 1 { 255 } else { 6 });
        let back = there_and_back(&clip, "a.gif");
        prop_assert_eq!(back.to_bytes(), with_channels(&clip, Channels::Rgb).to_bytes());
        let channels = Channels::from_count(geometry.channels).unwrap();
        prop_assert_eq!(with_channels(&back, channels).to_bytes(), clip.to_bytes());
    }

    #[test]
    fn y4m_returns_greys_exactly_and_colours_to_one_step(geometry in extents()) {
        let clip = clip(geometry, 255);
        let back = there_and_back(&clip, "a.y4m");
        prop_assert_eq!(back.geometry(), geometry);
        let worst = clip.to_bytes().iter().zip(back.to_bytes()).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        // `yuv` derives the step.
        prop_assert!(worst <= if geometry.channels == 1 { 0 } else { 1 }, "{worst}");
    }

    #[test]
    fn a_sheet_shows_the_frames_side_by_side(geometry in extents()) {
        let clip = clip(geometry, 255);
        let sheet = there_and_back(&clip, "a.png");
        let Geometry { channels, frames, height, width } = geometry;
        prop_assert_eq!(sheet.geometry(), Geometry { channels, frames: 1, height, width: frames * width });
        for i in 0..channels * frames * height {
            let (c, f, row) = (i / (frames * height), i / height % frames, i % height);
            for column in 0..width {
                prop_assert_eq!(sheet.pixel(c, 0, row, f * width + column), clip.pixel(c, f, row, column));
            }
        }
    }
}

const SMALL: Geometry = Geometry { channels: 1, frames: 3, height: 4, width: 6 };

#[test]
fn bytes_and_doubles_from_numpy_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let header = |kind: &str, order: &str| {
        let text = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': (2, 1, 3), }}\n");
        [b"\x93NUMPY\x01\x00".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
    };
    std::fs::write(&path, [header("|u1", "False"), vec![0, 51, 102, 153, 204, 255]].concat()).unwrap();
    let from_u1 = read(&path, &Limits::default()).unwrap();
    assert_eq!(from_u1.geometry(), Geometry { channels: 1, frames: 2, height: 1, width: 3 });
    assert_eq!(from_u1.pixels(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    let doubles = (0..6).flat_map(|i| (f64::from(i) / 8.0).to_le_bytes()).collect();
    std::fs::write(&path, [header("<f8", "False"), doubles].concat()).unwrap();
    assert_eq!(read(&path, &Limits::default()).unwrap().pixels()[5], 0.625);
    for (kind, order) in [("<f4", "True"), ("<c8", "False")] {
        std::fs::write(&path, [header(kind, order), vec![0; 48]].concat()).unwrap();
        let error = read(&path, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Read { cause: Cause::Unsupported { .. }, .. }), "{error}");
    }
}

#[test]
fn a_folder_of_pictures_is_a_clip() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(Geometry { frames: 11, ..SMALL }, 255);
    for (i, frame) in clip.frames().enumerate() {
        let one = Clip::from_frames(&[frame]).unwrap();
        write(&folder.path().join(format!("frame{i}.png")), &one, FrameRate::default()).unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    assert_eq!(read(folder.path(), &Limits::default()).unwrap(), clip);
}

#[test]
fn the_first_frame_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.APNG");
    let clip = clip(SMALL, 255);
    write(&path, &clip, FrameRate::default()).unwrap();
    assert_eq!(read_first_frame(&path, &Limits::default()).unwrap(), clip.frames().next().unwrap());
}

#[test]
fn gif_loops_in_step_with_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    write(&path, &clip(SMALL, 255), FrameRate::default()).unwrap();
    let mut decoder = ::gif::Decoder::new(std::fs::File::open(&path).unwrap()).unwrap();
    let mut delays = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        delays.push(frame.delay);
    }
    assert_eq!(delays, [13, 12, 13]);
    assert_eq!(decoder.repeat(), ::gif::Repeat::Infinite);
    let fast = write(&path, &clip(SMALL, 255), FrameRate::new(60, 1).unwrap()).unwrap_err();
    assert!(matches!(fast, Error::Write { cause: Cause::Unsupported { .. }, .. }));
}

#[test]
fn unknown_extensions_are_named() {
    let error = write(Path::new("a.bmp"), &clip(SMALL, 255), FrameRate::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot tell the format of a.bmp: writable extensions are gif, apng, png, y4m, npy, mp4"
    );
}

/// Of a picture that is smooth in space and time, H.264 at these quantisers keeps the average sample to a few steps.
#[cfg(feature = "mp4")]
#[test]
fn mp4_is_decodable_h264() {
    let geometry = Geometry { channels: 3, frames: 9, height: 17, width: 30 };
    let pixels = (0..geometry.pixels().unwrap()).map(|i| {
        let (row, column, frame) = (i / 30 % 17, i % 30, i / (17 * 30) % 9);
        (row * 4 + column * 3 + frame * 5) as f32 / 255.0
    });
    let clip = Clip::from_pixels(geometry, pixels.collect()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    write(&path, &clip, FrameRate::default()).unwrap();
    assert_eq!(&std::fs::read(&path).unwrap()[4..8], b"ftyp");
    match read(&path, &Limits::default()) {
        Ok(back) => {
            // 17 rows are filled up to 18.
            assert_eq!(back.geometry(), Geometry { height: 18, ..geometry });
            let sum: f32 = (0..9).map(|f| (back.pixel(1, f, 8, 15) - clip.pixel(1, f, 8, 15)).abs()).sum();
            assert!(sum / 9.0 < 4.0 / 255.0, "{sum}");
        }
        Err(Error::Read { cause: Cause::FfmpegMissing, .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

#[cfg(not(feature = "mp4"))]
#[test]
fn mp4_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = write(&folder.path().join("a.mp4"), &clip(SMALL, 255), FrameRate::default()).unwrap_err();
    assert!(error.to_string().contains("--features mp4"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
