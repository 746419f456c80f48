//! The evaluation networks inside the program, so that figures of different machines and days compare.

/// Worlds and their files, written by `flg eval --train-network`.
const FILES: &[(&str, &[u8])] = &[
    ("digits", include_bytes!("../../../assets/eval/digits.safetensors")),
    ("counter", include_bytes!("../../../assets/eval/counter.safetensors")),
];

/// The file of a built-in world; none for other worlds.
pub(super) fn of(world: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == world).map(|(_, bytes)| *bytes)
}
