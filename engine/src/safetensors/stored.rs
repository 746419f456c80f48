//! Element types as files have them.

use std::fmt;

use crate::DType;

/// How a file stores an element. Narrower than the format: what no video transformer's weights need is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16; loads as f32.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 32-bit integers.
    I32,
    /// 64-bit integers; load as 32-bit ones, each checked.
    I64,
}

impl StoredType {
    const ALL: [StoredType; 5] = [StoredType::F32, StoredType::F16, StoredType::Bf16, StoredType::I32, StoredType::I64];

    /// The type of this name in a header.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        StoredType::ALL.into_iter().find(|stored| stored.name() == name)
    }

    /// Its name in a header.
    pub fn name(self) -> &'static str {
        match self {
            StoredType::F32 => "F32",
            StoredType::F16 => "F16",
            StoredType::Bf16 => "BF16",
            StoredType::I32 => "I32",
            StoredType::I64 => "I64",
        }
    }

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            StoredType::F16 | StoredType::Bf16 => 2,
            StoredType::F32 | StoredType::I32 => 4,
            StoredType::I64 => 8,
        }
    }

    /// The type that a loaded tensor has.
    pub fn loaded(self) -> DType {
        match self {
            StoredType::F32 | StoredType::F16 => DType::F32,
            StoredType::Bf16 => DType::Bf16,
            StoredType::I32 | StoredType::I64 => DType::I32,
        }
    }
}

impl From<DType> for StoredType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => StoredType::F32,
            DType::Bf16 => StoredType::Bf16,
            DType::I32 => StoredType::I32,
        }
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
