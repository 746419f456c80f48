//! The distribution-matching gradient: which way the student's clips should move.
//!
//! `g = (D_fake - D_real) / mean |x - D_real|`, per sample and over generated elements only (Yin et al., DMD2, 2024). With
//! `D = x_t - t v` the difference is `t (v_real - v_fake)`.

use flg_engine::Tensor;
use flg_kernels::reduce::Term;

use crate::config::GradientScale;
use crate::error::Result;
use crate::perturb::{Extents, FirstFrame};

/// The two predictions and where they were made.
#[derive(Debug)]
pub struct Scores<'a> {
    /// The student's clips.
    pub x: &'a Tensor,
    /// The clips noised to `t`.
    pub noised: &'a Tensor,
    /// Noise levels, one a sample.
    pub t: &'a [f32],
    /// The well-guided teacher's velocity.
    pub real: &'a Tensor,
    /// The critic's velocity.
    pub fake: &'a Tensor,
    /// Which first frames are given.
    pub first: &'a [FirstFrame],
}

/// A gradient and what was seen on the way.
#[derive(Debug)]
pub struct Gradient {
    /// Like the clips; 0 on given frames and on samples whose prediction is not finite.
    pub g: Tensor,
    /// Samples whose gradient was dropped because it was not finite.
    pub dropped: usize,
    /// Mean distance of the clips from the teacher's prediction.
    pub distance: f64,
}

/// The normalised gradient, *not* divided by the number of elements. No sample is divided by less than `floor`.
///
/// # Errors
/// Tensors of different shapes.
pub fn gradient(scores: &Scores<'_>, scale: GradientScale, floor: f64) -> Result<Gradient> {
    let extents = Extents::of(scores.x)?;
    let samples = scores.t.len();
    let planes = |value: &dyn Fn(usize) -> f32| extents.planes(scores.first, value, 0.0);
    // Given planes are at level 0, where D = x: they add nothing to the distance.
    let levels = planes(&|b| -scores.t[b]);
    let real = scores.real.scale_rows(&levels, Some(scores.noised))?;
    let sums = scores.x.row_totals(Term::AbsDifference, Some(&real), samples)?;
    let distance: Vec<f32> =
        sums.iter().zip(scores.first).map(|(s, &f)| s / extents.generated(f).max(1) as f32).collect();
    let mean = distance.iter().sum::<f32>() / samples.max(1) as f32;
    let difference = scores.real.sub(scores.fake)?;
    let energy = difference.row_totals(Term::Square, None, samples)?;
    let finite = |b: usize| energy[b].is_finite() && distance[b].is_finite();
    let divisor = |b: usize| match scale {
        GradientScale::PerSample => distance[b].max(floor as f32),
        GradientScale::PerBatch => mean.max(floor as f32),
    };
    let mut g = difference.scale_rows(&planes(&|b| scores.t[b] / divisor(b)), None)?;
    let dropped = (0..samples).filter(|&b| !finite(b)).count();
    if dropped > 0 {
        // Zero times NaN is NaN: clear those samples instead of scaling them.
        let cleared = Tensor::zeros(g.device(), g.shape())?.narrow(0, 0, 1)?;
        (0..samples).filter(|&b| !finite(b)).try_for_each(|b| g.overwrite(0, b, &cleared))?;
    }
    Ok(Gradient { g, dropped, distance: f64::from(mean) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Device, Key};

    const SHAPE: [usize; 5] = [3, 2, 4, 2, 2];

    fn draw(name: &str) -> Tensor {
        Key::new(9).name(name).normal(&Device::cpu(), SHAPE).unwrap()
    }

    fn run(first: &[FirstFrame], real: &Tensor, fake: &Tensor) -> Gradient {
        let (x, noised, t) = (draw("x"), draw("noised"), [0.3, 0.6, 0.9]);
        gradient(&Scores { x: &x, noised: &noised, t: &t, real, fake, first }, GradientScale::PerSample, 1e-5).unwrap()
    }

    #[test]
    fn descent_moves_clips_towards_the_teacher() {
        // A teacher that predicts larger clean values has a smaller velocity; the gradient must be negative.
        let fake = draw("fake");
        let real = fake.sub(&Tensor::full(fake.device(), 0.5, SHAPE).unwrap()).unwrap();
        let result = run(&[FirstFrame::Generated; 3], &real, &fake);
        assert!(result.g.to_vec().iter().all(|&g| g < 0.0));
        assert_eq!(result.dropped, 0);
    }

    #[test]
    fn given_frames_have_no_gradient_and_do_not_dilute_the_normaliser() {
        use FirstFrame::{Generated, Given};
        let (real, fake) = (draw("real"), draw("fake"));
        let (x, t) = (draw("x"), [0.3, 0.6, 0.9]);
        // A given plane of the noised clip is clean, as `perturb` leaves it.
        let first = [Given, Generated, Generated];
        let extents = Extents::of(&x).unwrap();
        let clean = extents.planes(&first, |_| 0.0, 1.0);
        let noisy: Vec<f32> = clean.iter().map(|c| 1.0 - c).collect();
        let noised = draw("noised").scale_rows(&noisy, Some(&x.scale_rows(&clean, None).unwrap())).unwrap();
        let scores = Scores { x: &x, noised: &noised, t: &t, real: &real, fake: &fake, first: &first };
        let got = gradient(&scores, GradientScale::PerSample, 1e-5).unwrap().g.to_vec();
        // By hand, over the generated elements of sample 0 alone.
        let (x, noised, real, fake) = (x.to_vec(), noised.to_vec(), real.to_vec(), fake.to_vec());
        let generated: Vec<usize> = (0..32).filter(|i| i / 4 % 4 != 0).collect();
        let distance = generated.iter().map(|&i| (x[i] - (noised[i] - 0.3 * real[i])).abs()).sum::<f32>() / 24.0;
        for i in 0..32 {
            let want = if generated.contains(&i) { 0.3 * (real[i] - fake[i]) / distance } else { 0.0 };
            assert!((got[i] - want).abs() <= 1e-5 * (1.0 + want.abs()), "{i}: {} against {want}", got[i]);
        }
    }

    #[test]
    fn a_sample_that_is_not_finite_is_dropped_and_counted() {
        let mut real = draw("real");
        real.as_f32_mut().unwrap()[40] = f32::NAN;
        let result = run(&[FirstFrame::Generated; 3], &real, &draw("fake"));
        let g = result.g.to_vec();
        assert_eq!(result.dropped, 1);
        assert!(g[32..64].iter().all(|&g| g == 0.0) && g[..32].iter().all(|&g| g.is_finite() && g != 0.0));
    }
}
