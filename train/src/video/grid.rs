//! Many clips as one, for looking at them together.

use super::{Clip, Error, Geometry};

/// Grey of the lines between clips: neither ink nor paper.
const LINE: f32 = 0.35;

/// Clips in rows of `columns`, with a line of `gap` pixels between them. Clips must have equal extents.
///
/// # Errors
/// [`Error::NoFrames`] without clips, [`Error::FrameSize`] for clips of different extents, and [`Error::TooLarge`].
pub fn grid(clips: &[Clip], columns: usize, gap: usize) -> Result<Clip, Error> {
    let first = clips.first().ok_or(Error::NoFrames)?.geometry();
    if let Some(other) = clips.iter().map(Clip::geometry).find(|&other| other != first) {
        let extents = |g: Geometry| [g.channels, g.height, g.width];
        return Err(Error::FrameSize { first: extents(first), other: extents(other) });
    }
    let columns = columns.clamp(1, clips.len());
    let rows = clips.len().div_ceil(columns);
    let side = |count: usize, extent: usize| {
        count.checked_mul(extent.saturating_add(gap)).map(|n| n - gap).ok_or(Error::TooLarge { geometry: first })
    };
    let geometry = Geometry { height: side(rows, first.height)?, width: side(columns, first.width)?, ..first };
    let mut pixels = vec![LINE; geometry.pixels()?];
    for (i, clip) in clips.iter().enumerate() {
        let (top, left) = (i / columns * (first.height + gap), i % columns * (first.width + gap));
        for (n, row) in clip.pixels().chunks_exact(first.width).enumerate() {
            let (plane, y) = (n / first.height, n % first.height);
            let start = (plane * geometry.height + top + y) * geometry.width + left;
            pixels[start..start + first.width].copy_from_slice(row);
        }
    }
    Clip::from_pixels(geometry, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_stand_where_they_should() {
        let geometry = Geometry { channels: 1, frames: 2, height: 1, width: 2 };
        let clip = |a: f32| Clip::from_pixels(geometry, vec![a, a + 0.125, a + 0.25, a + 0.375]).unwrap();
        let all = grid(&[clip(0.0), clip(0.5), clip(0.25)], 2, 1).unwrap();
        assert_eq!(all.geometry(), Geometry { channels: 1, frames: 2, height: 3, width: 5 });
        let frame = |f: usize| (0..15).map(|i| all.pixel(0, f, i / 5, i % 5)).collect::<Vec<_>>();
        let line = LINE;
        assert_eq!(frame(0)[..5], [0.0, 0.125, line, 0.5, 0.625]);
        assert_eq!(frame(0)[10..], [0.25, 0.375, line, line, line]);
        assert_eq!(frame(1)[..5], [0.25, 0.375, line, 0.75, 0.875]);
        assert!(matches!(grid(&[], 2, 1), Err(Error::NoFrames)));
        let other = Clip::black(Geometry { width: 3, ..geometry }).unwrap();
        assert!(matches!(grid(&[clip(0.0), other], 2, 1), Err(Error::FrameSize { .. })));
    }
}
