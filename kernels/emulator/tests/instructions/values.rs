//! Operands: their registers, the values at which instructions go wrong, and random ones.

use proptest::prelude::*;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    I16,
    I32,
    I64,
    /// 32 bits that count bits: shift amounts, positions, lengths.
    Amount,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
    Pred,
}

use Kind::*;

const AMOUNTS: [u64; 16] = [0, 1, 31, 32, 33, 63, 64, 255, 256, 0xffff_ffff, 0x8000_0000, 5, 8, 16, 17, 0x1_20];
const HALVES: [u64; 24] = [
    0, 0x8000, 0x3c00, 0x7c00, 0xfc00, 0x7e00, 0x0001, 0x8001, 0x7bff, 0xfbff, 0x0400, 0xbc00, 0x03ff, 0x83ff, 0x8400,
    0x7c01, 0xfe00, 0x3c01, 0x3bff, 0x3800, 0x4000, 0x1400, 0x1000, 0xc248,
];
const BRAINS: [u64; 24] = [
    0, 0x8000, 0x3f80, 0x7f80, 0xff80, 0x7fc0, 0x0001, 0x8001, 0x7f7f, 0xff7f, 0x0080, 0xbf80, 0x007f, 0x807f, 0x8080,
    0x7f81, 0xffc0, 0x3f81, 0x3f7f, 0x3f00, 0x4000, 0x3c00, 0x3b80, 0xc049,
];
const SINGLES: [u64; 40] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x0000_0001,
    0x8000_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x0080_0000,
    0xbf80_0000,
    0x007f_ffff,
    0x807f_ffff,
    0x8080_0000,
    0x7f80_0001,
    0xffc0_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x3f00_0000,
    0xbf00_0000,
    0x3fc0_0000,
    0x4020_0000,
    0xc020_0000,
    0x3effffff,
    0x3300_0000,
    0x3380_0000,
    0x4b00_0000,
    0x4b00_0001,
    0x4aff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x4f80_0000,
    0x5f00_0000,
    0x5f80_0000,
    0xdf00_0000,
    0x4eff_ffff,
    // Halfway between neighbours of bf16, and of f16; the largest that is not yet infinite in f16.
    0x3f80_8000,
    0x3f80_1000,
    0x477f_efff,
];
const DOUBLES: [u64; 36] = [
    0,
    1 << 63,
    0x3ff0_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    1,
    0x8000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0xffef_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x000f_ffff_ffff_ffff,
    0x800f_ffff_ffff_ffff,
    0x7ff0_0000_0000_0001,
    0x3ff0_0000_0000_0001,
    0x3fef_ffff_ffff_ffff,
    0x3fe0_0000_0000_0000,
    0xbfe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0xc004_0000_0000_0000,
    0x3fdf_ffff_ffff_ffff,
    // Powers of two at the ends of integers, and their neighbours.
    0x41df_ffff_ffc0_0000,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0020_0000,
    0x41ef_ffff_ffe0_0000,
    0x41ef_ffff_fff0_0000,
    0x43e0_0000_0000_0000,
    0xc3e0_0000_0000_0000,
    0x43f0_0000_0000_0000,
    // The edges of f32: halfway to infinity, the least, half of the least, halfway between neighbours.
    0x47ef_ffff_f000_0000,
    0x47ef_ffff_efff_ffff,
    0x36a0_0000_0000_0000,
    0x3690_0000_0000_0000,
    0x3690_0000_0000_0001,
    0x3ff0_0000_1000_0000,
];

impl Kind {
    /// Bits of a register; a predicate comes as a word.
    pub fn bits(self) -> u32 {
        match self {
            I16 | F16 | Bf16 => 16,
            I64 | F64 => 64,
            _ => 32,
        }
    }

    /// Type of a register.
    pub fn register(self) -> &'static str {
        match self {
            Pred => ".pred",
            _ => [".b16", ".b32", ".b64"][self.bits().trailing_zeros() as usize - 4],
        }
    }

    /// The register's bits of a value.
    pub fn mask(self, value: u64) -> u64 {
        if self == Pred { value & 1 } else { value & (u64::MAX >> (64 - self.bits())) }
    }

    /// Values to try in all combinations, the most important first.
    pub fn edges(self) -> Vec<u64> {
        let pairs = |halves: &[u64; 24]| (0..24).map(|i| halves[i] | halves[(i * 7 + 3) % 24] << 16).collect();
        match self {
            Pred => vec![0, 1],
            Amount => AMOUNTS.to_vec(),
            F16 => HALVES.to_vec(),
            Bf16 => BRAINS.to_vec(),
            F16x2 => pairs(&HALVES),
            Bf16x2 => pairs(&BRAINS),
            F32 => SINGLES.to_vec(),
            F64 => DOUBLES.to_vec(),
            I16 | I32 | I64 => {
                let top = 1u64 << (self.bits() - 1);
                let signed = [
                    0,
                    1,
                    u64::MAX,
                    top,
                    top - 1,
                    2,
                    7,
                    0u64.wrapping_sub(7),
                    31,
                    32,
                    top + 1,
                    255,
                    0x0123_4567_89ab_cdef,
                ];
                signed.iter().map(|value| self.mask(*value)).collect()
            }
        }
    }

    /// Random bits, edges, and floats that are near each other.
    pub fn any(self) -> BoxedStrategy<u64> {
        let near = match self {
            F16 => 0x3800..=0x4400u64,
            Bf16 => 0x3e80..=0x4100,
            F32 => 0x3e00_0000..=0x4200_0000,
            F64 => 0x3fc0_0000_0000_0000..=0x4040_0000_0000_0000,
            Amount => 0..=70,
            _ => 0..=15,
        };
        let kind = self;
        prop_oneof![
            2 => any::<u64>(),
            2 => near,
            1 => proptest::sample::select(self.edges()),
        ]
        .prop_map(move |value| kind.mask(value))
        .boxed()
    }

    /// Whether two results are the same: bits, but any NaN for another.
    pub fn same(self, a: u64, b: u64) -> bool {
        let nan = |value: u64, infinity: u64, mask: u64| value & mask > infinity;
        match self {
            F16 => a == b || nan(a, 0x7c00, 0x7fff) && nan(b, 0x7c00, 0x7fff),
            Bf16 => a == b || nan(a, 0x7f80, 0x7fff) && nan(b, 0x7f80, 0x7fff),
            F16x2 => F16.same(a & 0xffff, b & 0xffff) && F16.same(a >> 16, b >> 16),
            Bf16x2 => Bf16.same(a & 0xffff, b & 0xffff) && Bf16.same(a >> 16, b >> 16),
            F32 => a == b || f32::from_bits(a as u32).is_nan() && f32::from_bits(b as u32).is_nan(),
            F64 => a == b || f64::from_bits(a).is_nan() && f64::from_bits(b).is_nan(),
            _ => a == b,
        }
    }
}
