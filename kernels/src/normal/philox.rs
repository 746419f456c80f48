//! Philox4x32-10: a counter-based generator (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, 2011).
//!
//! A block of four words is a function of key and counter alone, so any part of a stream can be made by any thread.

const MULTIPLIERS: [u64; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// Added to the key after each round: the golden ratio and `sqrt 3 - 1`.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: u32 = 10;
/// The lower half of 64 bits.
const LOW: u64 = u32::MAX as u64;

/// The block of `counter` under `key`.
pub fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    wide_block(key, counter.map(u64::from)).map(|word| word as u32)
}

/// [`block`] with its words in the lower halves of 64 bits: so a loop of these vectorises without any packing.
#[inline(always)]
pub(super) fn wide_block(mut key: [u32; 2], counter: [u64; 4]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    for _ in 0..ROUNDS {
        let (first, second) = (MULTIPLIERS[0] * (a & LOW), MULTIPLIERS[1] * (c & LOW));
        (a, c) = ((second >> 32) ^ b ^ u64::from(key[0]), (first >> 32) ^ d ^ u64::from(key[1]));
        (b, d) = (second & LOW, first & LOW);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [a, b, c, d]
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
