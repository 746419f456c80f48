//! How different clips of one caption are, and how much handwriting within a class varies.

/// The mean Euclidean distance between the clips of a group, each given by the features of its units; 0 for fewer than
/// two clips.
pub fn mean_distance(clips: &[&[Vec<f64>]]) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0usize);
    for (i, a) in clips.iter().enumerate() {
        for b in &clips[i + 1..] {
            let squares: f64 = a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).powi(2)).sum();
            sum += (squares / a.len().max(1) as f64).sqrt();
            pairs += 1;
        }
    }
    sum / pairs.max(1) as f64
}

/// Sums over the frames that show each class, from which the variance within classes follows.
#[derive(Clone, Debug)]
pub struct ClassSums {
    classes: Vec<ClassSum>,
}

#[derive(Clone, Debug)]
struct ClassSum {
    count: f64,
    sum: Vec<f64>,
    squares: f64,
}

impl ClassSums {
    /// No frame yet, of `pixels` pixels.
    pub fn new(classes: usize, pixels: usize) -> Self {
        ClassSums { classes: vec![ClassSum { count: 0.0, sum: vec![0.0; pixels], squares: 0.0 }; classes] }
    }

    /// Adds a frame that shows a class.
    pub fn push(&mut self, class: usize, frame: impl Iterator<Item = f32>) {
        let sums = &mut self.classes[class];
        sums.count += 1.0;
        for (sum, pixel) in sums.sum.iter_mut().zip(frame) {
            *sum += f64::from(pixel);
            sums.squares += f64::from(pixel).powi(2);
        }
    }

    /// Adds other frames.
    pub fn add(&mut self, other: &ClassSums) {
        for (a, b) in self.classes.iter_mut().zip(&other.classes) {
            a.count += b.count;
            a.squares += b.squares;
            a.sum.iter_mut().zip(&b.sum).for_each(|(x, y)| *x += y);
        }
    }

    /// Variance of all pixels of a frame around its class's mean frame, unbiased, pooled over the classes that have
    /// frames: 0 where each class has one picture.
    pub fn variance(&self) -> f64 {
        let (mut around, mut degrees) = (0.0, 0.0);
        for class in self.classes.iter().filter(|class| class.count > 1.0) {
            around += class.squares - class.sum.iter().map(|x| x * x).sum::<f64>() / class.count;
            degrees += class.count - 1.0;
        }
        if degrees > 0.0 { around / degrees } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_means_over_pairs() {
        let clips = [vec![vec![0.0, 0.0]], vec![vec![3.0, 4.0]], vec![vec![0.0, 0.0]]];
        let clips: Vec<_> = clips.iter().map(Vec::as_slice).collect();
        assert!((mean_distance(&clips) - 10.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean_distance(&clips[..1]), 0.0);
    }

    #[test]
    fn one_picture_a_class_has_no_variance() {
        let mut sums = ClassSums::new(2, 2);
        for _ in 0..3 {
            sums.push(0, [1.0, 0.0].into_iter());
            sums.push(1, [0.0, 0.5].into_iter());
        }
        assert!(sums.variance().abs() < 1e-12);
        // Twice 0 and 1 in one pixel: variance of a pair is 0.5.
        let mut pair = ClassSums::new(2, 2);
        pair.push(0, [0.0, 1.0].into_iter());
        pair.push(0, [1.0, 1.0].into_iter());
        assert!((pair.variance() - 0.5).abs() < 1e-12);
    }
}
