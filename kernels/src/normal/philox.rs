//! Philox4x32-10: a counter-based generator (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, 2011).
//!
//! A block of four words is a function of key and counter alone, so any part of a stream can be made by any thread.

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// Added to the key after each round: the golden ratio and `sqrt 3 - 1`.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: u32 = 10;

/// The block of `counter` under `key`.
pub fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    blocks(key, counter.map(|word| [word])).map(|[word]| word)
}

/// `N` blocks at once, one a lane: word `w` of counter and block `i` is `[w][i]`.
#[inline(always)]
pub(super) fn blocks<const N: usize>(mut key: [u32; 2], mut counter: [[u32; N]; 4]) -> [[u32; N]; 4] {
    for _ in 0..ROUNDS {
        let [a, b, c, d] = counter;
        let (low0, high0) = product(MULTIPLIERS[0], a);
        let (low1, high1) = product(MULTIPLIERS[1], c);
        let mix = |high: [u32; N], word: [u32; N], key: u32| std::array::from_fn(|i| high[i] ^ word[i] ^ key);
        counter = [mix(high1, b, key[0]), low1, mix(high0, d, key[1]), low0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The low and high words of `m x`.
#[inline(always)]
fn product<const N: usize>(m: u32, x: [u32; N]) -> ([u32; N], [u32; N]) {
    let wide = x.map(|x| u64::from(m) * u64::from(x));
    (wide.map(|p| p as u32), wide.map(|p| (p >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/kat_vectors` of Random123, the authors' implementation.
    #[test]
    fn known_answers() {
        let rows = [
            ([0; 2], [0; 4], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 2], [u32::MAX; 4], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (key, counter, want) in rows {
            assert_eq!(block(key, counter), want, "{key:x?} {counter:x?}");
        }
    }
}
