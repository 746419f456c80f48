//! Types and state spaces of PTX.

/// A type of a register, variable or instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Unsigned.
    U8,
    /// Unsigned.
    U16,
    /// Unsigned.
    U32,
    /// Unsigned.
    U64,
    /// Two's complement.
    S8,
    /// Two's complement.
    S16,
    /// Two's complement.
    S32,
    /// Two's complement.
    S64,
    /// Without a type.
    B8,
    /// Without a type.
    B16,
    /// Without a type.
    B32,
    /// Without a type.
    B64,
    /// Without a type.
    B128,
    /// IEEE half precision.
    F16,
    /// Two of them, the first in the low half.
    F16x2,
    /// The upper half of an f32.
    Bf16,
    /// Two of them, the first in the low half.
    Bf16x2,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// f32 with 10 bits of fraction, in 32 bits.
    Tf32,
    /// A truth value.
    Pred,
}

impl Type {
    /// The type of that name, without its dot.
    pub(super) fn of(name: &str) -> Option<Type> {
        Some(match name {
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "b8" => Type::B8,
            "b16" => Type::B16,
            "b32" => Type::B32,
            "b64" => Type::B64,
            "b128" => Type::B128,
            "f16" => Type::F16,
            "f16x2" => Type::F16x2,
            "bf16" => Type::Bf16,
            "bf16x2" => Type::Bf16x2,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "tf32" => Type::Tf32,
            "pred" => Type::Pred,
            _ => return None,
        })
    }

    /// Bytes in memory.
    pub fn bytes(self) -> usize {
        match self {
            Type::U8 | Type::S8 | Type::B8 | Type::Pred => 1,
            Type::U16 | Type::S16 | Type::B16 | Type::F16 | Type::Bf16 => 2,
            Type::U64 | Type::S64 | Type::B64 | Type::F64 => 8,
            Type::B128 => 16,
            _ => 4,
        }
    }

    /// Whether it is two's complement.
    pub fn signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// Whether it is an integer or bits.
    pub fn integral(self) -> bool {
        !matches!(
            self,
            Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::F32 | Type::F64 | Type::Tf32 | Type::Pred
        )
    }
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Any of the others, told apart by address.
    Generic,
    /// Device memory; `.const` lies in it as well.
    Global,
    /// Of a block.
    Shared,
    /// Of a thread.
    Local,
    /// Parameters of the kernel.
    Param,
}
