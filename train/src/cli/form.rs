//! Flags of commands that write weights: their type, and the size of shards.

use bytesize::ByteSize;
use flg_engine::safetensors::StoredType;
use flg_model::checkpoint::Form;

/// Flags that say how weights are written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct FormArgs {
    /// Type of weights: f32, bf16 or f16. As in diffusers, norms, modulation tables and the time embedder are f32 in every
    /// case [default: as they are; of fresh ones, f32]
    #[arg(long, value_parser = stored_type)]
    dtype: Option<StoredType>,
    /// The most bytes of weights in one file of diffusers' layout
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = shard_size)]
    shard_size: ByteSize,
}

impl FormArgs {
    pub(super) fn form(self) -> Form {
        Form { dtype: self.dtype, shard: self.shard_size.as_u64() }
    }
}

fn stored_type(text: &str) -> Result<StoredType, String> {
    match text {
        "f32" => Ok(StoredType::F32),
        "bf16" => Ok(StoredType::Bf16),
        "f16" => Ok(StoredType::F16),
        _ => Err("it is f32, bf16 or f16".to_owned()),
    }
}

fn shard_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.as_u64() == 0 { Err("it must be more than nothing".to_owned()) } else { Ok(size) }
}
