//! The picture that the frames of a GIF or APNG file are drawn onto, each a patch over what came before.

use super::Frame;

/// A rectangle of RGBA samples, row by row, at a place on the canvas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch<'a> {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `[height, width, 4]`.
    pub(crate) samples: &'a [u8],
}

/// How a patch meets what is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blend {
    /// Transparent pixels leave what is below.
    Over,
    /// The patch replaces everything, transparency included.
    Replace,
}

/// What happens to a patch after its frame was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposal {
    /// It stays.
    Keep,
    /// Its rectangle becomes transparent.
    Clear,
    /// Its rectangle becomes what it was before.
    Restore,
}

/// RGBA samples over black.
#[derive(Debug)]
pub(crate) struct Canvas {
    height: usize,
    width: usize,
    samples: Vec<u8>,
}

impl Canvas {
    /// A transparent canvas.
    pub(crate) fn new(height: usize, width: usize) -> Self {
        Self { height, width, samples: vec![0; height * width * 4] }
    }

    /// Draws a patch, takes the picture in `channels` (1 takes the red plane of a grey file), and disposes of the
    /// patch. Parts outside the canvas are cut off.
    pub(crate) fn show(&mut self, patch: Patch<'_>, blend: Blend, disposal: Disposal, channels: usize) -> Frame {
        let before = (disposal == Disposal::Restore).then(|| self.samples.clone());
        self.draw(patch, blend);
        let mut picture = self.samples.clone();
        for pixel in picture.chunks_exact_mut(4).filter(|p| p[3] < 255) {
            for c in 0..3 {
                pixel[c] = ((u32::from(pixel[c]) * u32::from(pixel[3]) + 127) / 255) as u8;
            }
        }
        match (disposal, before) {
            (Disposal::Restore, Some(before)) => self.samples = before,
            (Disposal::Clear, _) => {
                for row in 0..patch.height {
                    if let Some(out) = self.row(patch, row) {
                        out.fill(0);
                    }
                }
            }
            _ => {}
        }
        Frame::from_interleaved([channels, self.height, self.width], 4, &picture)
    }

    fn draw(&mut self, patch: Patch<'_>, blend: Blend) {
        for (row, source) in patch.samples.chunks_exact((patch.width * 4).max(1)).take(patch.height).enumerate() {
            let Some(out) = self.row(patch, row) else { return };
            for (below, above) in out.chunks_exact_mut(4).zip(source.chunks_exact(4)) {
                match blend {
                    Blend::Over if above[3] < 255 => composite(below, above),
                    _ => below.copy_from_slice(above),
                }
            }
        }
    }

    /// The canvas below a row of a patch.
    fn row(&mut self, patch: Patch<'_>, row: usize) -> Option<&mut [u8]> {
        let (y, right) = (patch.top + row, (patch.left + patch.width).min(self.width));
        if y >= self.height || patch.left >= right {
            return None;
        }
        Some(&mut self.samples[(y * self.width + patch.left) * 4..(y * self.width + right) * 4])
    }
}

/// Porter and Duff's *over* on straight (not premultiplied) 8-bit samples.
fn composite(below: &mut [u8], above: &[u8]) {
    let (a, b) = (u32::from(above[3]), u32::from(below[3]));
    // In units of 1/255: the parts of the result that come from above and from below.
    let (from_above, from_below) = (a * 255, b * (255 - a));
    let alpha = from_above + from_below;
    if alpha == 0 {
        below.fill(0);
        return;
    }
    for c in 0..3 {
        let sum = u32::from(above[c]) * from_above + u32::from(below[c]) * from_below;
        below[c] = ((sum + alpha / 2) / alpha) as u8;
    }
    below[3] = ((alpha + 127) / 255) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];

    fn patch(samples: &[u8], left: usize) -> Patch<'_> {
        Patch { left, top: 0, width: samples.len() / 4, height: 1, samples }
    }

    #[test]
    fn patches_are_disposed_of() {
        let mut canvas = Canvas::new(1, 2);
        let red = |frame: Frame| frame.plane(0).to_vec();
        assert_eq!(red(canvas.show(patch(&RED, 0), Blend::Over, Disposal::Keep, 3)), [1.0, 0.0]);
        assert_eq!(red(canvas.show(patch(&RED, 1), Blend::Over, Disposal::Restore, 3)), [1.0, 1.0]);
        assert_eq!(red(canvas.show(patch(&[0; 4], 1), Blend::Over, Disposal::Keep, 3)), [1.0, 0.0]);
        assert_eq!(red(canvas.show(patch(&[0; 4], 0), Blend::Over, Disposal::Clear, 3)), [1.0, 0.0]);
        assert_eq!(red(canvas.show(patch(&[0; 4], 1), Blend::Replace, Disposal::Keep, 3)), [0.0, 0.0]);
    }

    #[test]
    fn half_transparent_patches_mix() {
        let mut canvas = Canvas::new(1, 1);
        canvas.show(patch(&[0, 0, 255, 255], 0), Blend::Over, Disposal::Keep, 3);
        let frame = canvas.show(patch(&[255, 0, 0, 128], 0), Blend::Over, Disposal::Keep, 3);
        assert_eq!(frame.to_interleaved(), [128, 0, 127]);
    }

    #[test]
    fn patches_outside_are_cut_off() {
        let mut canvas = Canvas::new(1, 2);
        let frame = canvas.show(patch(&[RED, RED, RED].concat(), 1), Blend::Over, Disposal::Clear, 3);
        assert_eq!(frame.plane(0), [0.0, 1.0]);
        canvas.show(Patch { top: 7, ..patch(&RED, 0) }, Blend::Over, Disposal::Clear, 3);
        canvas.show(Patch { left: 7, ..patch(&RED, 0) }, Blend::Over, Disposal::Restore, 3);
    }
}
