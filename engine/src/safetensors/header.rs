//! A header as it is written, before anything in it is believed.
//!
//! Repeated names are kept (a map would silently drop one of them), unknown members are refused, and numbers of tensors
//! and dimensions beyond the limits are counted without being stored.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Fault, MAX_TENSORS};
use crate::Shape;
use crate::files::json::Pairs;

/// The member that holds text instead of a tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// All members of a header.
#[derive(Debug, Default)]
pub(crate) struct RawHeader {
    /// Every `__metadata__`.
    pub metadata: Vec<Pairs<String>>,
    /// The first [`MAX_TENSORS`] tensors.
    pub tensors: Vec<(String, RawTensor)>,
    /// How many tensors there are.
    pub count: usize,
}

/// What a header says of a tensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTensor {
    pub dtype: String,
    pub shape: Extents,
    /// First byte and one past the last, from the end of the header.
    pub data_offsets: (u64, u64),
}

/// A shape of any number of dimensions.
#[derive(Debug)]
pub(crate) struct Extents {
    /// The first extents.
    pub first: Vec<u64>,
    /// The number of dimensions.
    pub rank: usize,
}

impl RawHeader {
    /// Parses a header without its length.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Fault> {
        if json.first() != Some(&b'{') {
            return Err(Fault::HeaderStart);
        }
        serde_json::from_slice(json).map_err(Fault::Json)
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawHeader;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                while let Some(name) = object.next_key::<String>()? {
                    if name == METADATA {
                        // Two are one too many; more are not even stored.
                        if header.metadata.len() == 2 {
                            return Err(A::Error::custom("metadata again and again"));
                        }
                        header.metadata.push(object.next_value()?);
                    } else if header.count < MAX_TENSORS {
                        header.tensors.push((name, object.next_value()?));
                        header.count += 1;
                    } else {
                        object.next_value::<IgnoredAny>()?;
                        header.count += 1;
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Extents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Extents;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of extents")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Extents, A::Error> {
                let mut extents = Extents { first: Vec::new(), rank: 0 };
                while let Some(extent) = list.next_element()? {
                    if extents.rank < Shape::MAX_RANK {
                        extents.first.push(extent);
                    }
                    extents.rank += 1;
                }
                Ok(extents)
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_tensors_are_kept_and_counted() {
        let entry = r#"{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
        let header = RawHeader::parse(format!(r#"{{"a":{entry},"a":{entry}}}"#).as_bytes()).unwrap();
        assert_eq!((header.tensors.len(), header.count), (2, 2));
    }

    #[test]
    fn dimensions_beyond_the_limit_are_counted_not_stored() {
        let json = format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}}}"#, "1,".repeat(999));
        let extents = &RawHeader::parse(json.as_bytes()).unwrap().tensors[0].1.shape;
        assert_eq!((extents.first.len(), extents.rank), (Shape::MAX_RANK, 1000));
    }

    #[test]
    fn leading_space_trailing_text_and_unknown_members_are_refused() {
        assert!(matches!(RawHeader::parse(b" {}"), Err(Fault::HeaderStart)));
        assert!(matches!(RawHeader::parse(b"{} x"), Err(Fault::Json(_))));
        let extra = br#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}"#;
        assert!(matches!(RawHeader::parse(extra), Err(Fault::Json(_))));
        assert!(RawHeader::parse(b"{}   ").is_ok());
    }
}
