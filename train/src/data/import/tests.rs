//! An import of a mixed folder, and what is refused.

use std::fs;

use super::*;
use crate::data::{Imported, SampleKey, World, open};
use crate::video::{FrameRate, write};

const GEOMETRY: Geometry = Geometry { channels: 1, frames: 2, height: 4, width: 4 };

/// A clip whose frame `f` is a gradient of columns, brighter by `f` steps.
fn clip(channels: usize, frames: usize, height: usize, width: usize) -> Clip {
    let geometry = Geometry { channels, frames, height, width };
    let pixel = |i: usize| ((i % width) * 8 + (i / (width * height) % frames) * 4) as u8;
    Clip::from_bytes(geometry, &(0..geometry.pixels().unwrap()).map(pixel).collect::<Vec<_>>()).unwrap()
}

fn request(folder: &Path) -> ImportRequest {
    let [source, target] = ["source", "target"].map(|name| folder.join(name));
    fs::create_dir_all(&source).unwrap();
    let limits = Limits { frames: 100, ..Limits::default() };
    ImportRequest { source, target, geometry: GEOMETRY, timing: Timing::Windows { step: 1 }, held_out: 0.25, limits }
}

/// Four usable sources of four formats, and one of each kind that is passed over.
fn mixed(source: &Path) {
    let save = |name: &str, clip: &Clip| write(&source.join(name), clip, FrameRate::default()).unwrap();
    save("grey.gif", &clip(1, 5, 8, 8));
    save("colour.apng", &clip(3, 2, 4, 12));
    save("video.y4m", &clip(1, 4, 4, 4));
    save("short.npy", &clip(1, 1, 4, 4));
    save("silent.gif", &clip(1, 3, 4, 4));
    fs::write(source.join("broken.gif"), "GIF89a and no more").unwrap();
    fs::create_dir(source.join("pictures")).unwrap();
    for (i, frame) in clip(1, 11, 4, 4).frames().enumerate() {
        save(&format!("pictures/{i}.png"), &Clip::from_frames(&[frame]).unwrap());
    }
    for (name, caption) in [("grey", "A  grey\nramp\n"), ("colour", "a colour ramp"), ("pictures", "eleven pictures")] {
        fs::write(source.join(name).with_extension("txt"), caption).unwrap();
    }
    fs::write(source.join("silent.txt"), " \n").unwrap();
    let table = "file,caption\nvideo.y4m,\"a video, raw\"\nshort.npy,too short\nbroken.gif,broken\ngone.gif,nowhere\n";
    fs::write(source.join("captions.csv"), table).unwrap();
}

#[test]
fn a_mixed_folder_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let request = request(folder.path());
    mixed(&request.source);
    let report = import(&request).unwrap();

    let imported: Vec<_> = report.imported.iter().map(|f| (f.file.as_str(), f.caption.as_str(), f.clips)).collect();
    let expected = [
        ("colour.apng", "a colour ramp", 1),
        ("grey.gif", "a grey ramp", 2),
        ("pictures", "eleven pictures", 5),
        ("video.y4m", "a video, raw", 2),
    ];
    assert_eq!(imported, expected);
    let skipped: Vec<_> = report.skipped.iter().map(|f| f.file.as_str()).collect();
    assert_eq!(skipped, ["broken.gif", "short.npy", "silent.gif"]);
    assert!(matches!(report.skipped[0].reason, SkipReason::Unreadable(_)));
    assert!(matches!(report.skipped[1].reason, SkipReason::TooShort { needed: 2, got: 1 }));
    assert!(matches!(report.skipped[2].reason, SkipReason::NoCaption));
    assert_eq!(report.captions_without_file, ["gone.gif"]);
    assert!(report.to_string().ends_with("10 clips from 4 files, 3 files skipped"));
    assert_eq!(report.imported.iter().filter(|f| f.split == Split::HeldOut).count(), 1);

    let world = open(request.target.to_str().unwrap()).unwrap();
    assert_eq!((world.name(), world.geometry()), ("target", GEOMETRY));
    assert_eq!(world.captions().len(), 4);
    samples_are_the_sources(world.as_ref());
}

fn samples_are_the_sources(world: &dyn World) {
    let mut seen = std::collections::BTreeSet::new();
    for (split, index) in [Split::Training, Split::HeldOut].into_iter().flat_map(|s| (0..60).map(move |i| (s, i))) {
        let sample = world.sample(split, SampleKey { seed: 1, stream: 0, index }).unwrap();
        let bytes = sample.clip.to_bytes();
        // Neighbouring columns and frames differ as in the source, times the scale of the resampling.
        let step = match world.captions()[sample.caption].text.as_str() {
            "a grey ramp" => 16,
            _ => 8,
        };
        assert_eq!([bytes[1] - bytes[0], bytes[16] - bytes[0]], [step, 4]);
        if world.captions()[sample.caption].text == "a colour ramp" {
            // The middle four of twelve columns.
            assert_eq!(bytes[0], 4 * 8);
        }
        seen.insert((split == Split::HeldOut, sample.caption));
    }
    // Each caption is in one part only.
    assert_eq!(seen.len(), 4);
}

#[test]
fn time_is_cut_or_spread() {
    let chosen = |timing, count, available| windows(timing, count, available).ok();
    assert_eq!(chosen(Timing::Windows { step: 1 }, 3, 7), Some(vec![vec![0, 1, 2], vec![3, 4, 5]]));
    assert_eq!(chosen(Timing::Windows { step: 2 }, 2, 6), Some(vec![vec![0, 2]]));
    assert_eq!(chosen(Timing::Windows { step: 2 }, 2, 7), Some(vec![vec![0, 2], vec![4, 6]]));
    assert_eq!(chosen(Timing::Windows { step: usize::MAX }, 3, 7), None);
    assert_eq!(chosen(Timing::Whole, 2, 8), Some(vec![vec![2, 6]]));
    assert_eq!(chosen(Timing::Whole, 3, 3), Some(vec![vec![0, 1, 2]]));
    assert_eq!(chosen(Timing::Whole, 4, 3), None);
}

#[test]
fn parts_are_never_emptied_by_rounding() {
    let count = |files: usize, share: f64| held_out((0..files).map(|i| i.to_string()).collect(), share).len();
    assert_eq!([count(1, 0.5), count(2, 0.01), count(2, 0.99), count(10, 0.25)], [0, 1, 1, 3]);
    assert_eq!([count(5, 0.0), count(5, 1.0), count(5, f64::NAN), count(0, 0.5)], [0, 5, 0, 0]);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_no_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let request = request(folder.path());
    fs::write(request.source.join("a.gif"), "no GIF").unwrap();
    let nothing = import(&request).unwrap_err();
    assert!(matches!(&nothing, Error::NothingImported { report, .. } if report.skipped.len() == 1), "{nothing}");
    assert!(!request.target.exists());
    fs::create_dir(&request.target).unwrap();
    assert!(matches!(import(&request), Err(Error::TargetExists { .. })));
    assert!(matches!(open(request.target.to_str().unwrap()).err(), Some(Error::UnknownWorld { .. })));
    let wrong = ImportRequest { geometry: Geometry { channels: 2, ..GEOMETRY }, ..request };
    assert!(matches!(import(&wrong), Err(Error::Video(_))));
}

#[test]
fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let request = request(folder.path());
    mixed(&request.source);
    import(&request).unwrap();
    for name in ["clips.npy", "captions.json", "manifest.json"] {
        let path = request.target.join(name);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            let error = Imported::open(&request.target).unwrap_err();
            assert!(matches!(&error, Error::Dataset { .. } | Error::Video(_)), "{name} {at}: {error}");
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(Imported::open(&request.target).is_err(), "{name}");
        fs::write(&path, &whole).unwrap();
    }
    Imported::open(&request.target).unwrap();
}
