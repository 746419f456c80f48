//! SentencePiece's compiled map from characters to characters, by which most of its models normalise text.
//!
//! The bytes are the length of a trie (u32), its units (u32 each, a double array as of the library Darts), and the
//! replacements, each ended by a zero byte. A file comes from a stranger, so no unit is believed: what leads outside the
//! trie or the replacements is no match.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use unicode_segmentation::UnicodeSegmentation;

use super::Fault;

/// The map.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

/// A character cluster of at least so many bytes is never looked up as a whole.
const LONG: usize = 6;

impl Charsmap {
    pub(super) fn from_base64(text: &str) -> Result<Self, Fault> {
        let fault = |reason| Fault::Charsmap { reason };
        let bytes = STANDARD.decode(text).map_err(|_| fault("no base64"))?;
        let (len, rest) = bytes.split_first_chunk().ok_or(fault("it has no length"))?;
        let len = u32::from_le_bytes(*len) as usize / 4 * 4;
        let (trie, replacements) = rest.split_at_checked(len).ok_or(fault("its trie is cut off"))?;
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| fault("its text is no UTF-8"))?;
        let (units, _) = trie.as_chunks();
        Ok(Charsmap { units: units.iter().map(|&unit| u32::from_le_bytes(unit)).collect(), replacements })
    }

    /// As the crate `tokenizers`: clusters first, then characters. What a cluster begins with replaces all of it.
    pub(super) fn normalize(&self, text: &str) -> String {
        let mut normalized = String::with_capacity(text.len());
        for cluster in text.graphemes(true) {
            if cluster.len() < LONG
                && let Some(replacement) = self.replacement(cluster)
            {
                normalized.push_str(replacement);
                continue;
            }
            for c in cluster.chars() {
                match self.replacement(c.encode_utf8(&mut [0; 4])) {
                    Some(replacement) => normalized.push_str(replacement),
                    None => normalized.push(c),
                }
            }
        }
        normalized
    }

    /// What replaces the shortest beginning of `text` that the map has.
    fn replacement(&self, text: &str) -> Option<&str> {
        let offset = |unit: u32| (unit as usize >> 10) << ((unit as usize & (1 << 9)) >> 6);
        let mut node = offset(*self.units.first()?);
        for byte in text.bytes().take_while(|&byte| byte != 0) {
            node ^= usize::from(byte);
            let unit = *self.units.get(node)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                return None;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let start = *self.units.get(node)? & !(1 << 31);
                let rest = self.replacements.get(start as usize..)?;
                return rest.split('\0').next();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "\\PC{0,20}") {
            if let Ok(map) = Charsmap::from_base64(&STANDARD.encode(&bytes)) {
                map.normalize(&text);
            }
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for bytes in [&[][..], &[1, 0, 0], &[8, 0, 0, 0, 1, 2, 3, 4], &[0, 0, 0, 0, 0xff]] {
            assert!(Charsmap::from_base64(&STANDARD.encode(bytes)).is_err(), "{bytes:?}");
        }
        assert!(Charsmap::from_base64("no base64!").is_err());
        assert_eq!(Charsmap::from_base64(&STANDARD.encode([0; 4])).unwrap().normalize("a\u{301}b"), "a\u{301}b");
    }
}
