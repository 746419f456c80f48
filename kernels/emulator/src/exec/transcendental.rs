//! Functions that a GPU approximates and the host has no instruction for.

/// 2 to the power of `x`, with an error of at most 2 units in the last place (a GPU promises 2^-22 relative).
///
/// `x = n + f` with `|f| <= 1/2`; 2^f by its Taylor series, whose first omitted term is below 2^-27; 2^n in two factors,
/// so that subnormal results are right.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    // Beyond these all results are 0 or infinite. Not-a-number passes both comparisons.
    let y = if x > 129.0 { 129.0 } else { x };
    let y = if y < -151.0 { -151.0 } else { y };
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const SHIFT: f32 = 12_582_912.0;
    let whole = (y + SHIFT) - SHIFT;
    let f = y - whole;
    let mut sum = 1.525_273_4e-5_f32;
    for coefficient in
        [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0]
    {
        sum = sum.mul_add(f, coefficient);
    }
    let n = whole as i32;
    let half = n >> 1;
    sum * power(half) * power(n - half)
}

/// 2 to the power of `n`, for -126 <= n <= 127.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_near() {
        for i in -15_000..13_000 {
            let x = i as f32 * 0.01 + 0.0013;
            let (got, want) = (f64::from(exp2(x)), f64::from(x).exp2());
            // Below the normal numbers a unit in the last place is 2^-149.
            let bound = (want * 2f64.powi(-22)).max(2f64.powi(-149));
            assert!((got - want).abs() <= bound || want > f64::from(f32::MAX), "{x}: {got} {want}");
        }
        for n in -149..128 {
            assert_eq!(exp2(n as f32), 2f64.powi(n) as f32);
        }
        assert_eq!((exp2(f32::NEG_INFINITY), exp2(f32::INFINITY), exp2(1e9)), (0.0, f32::INFINITY, f32::INFINITY));
        assert!(exp2(f32::NAN).is_nan());
    }
}
