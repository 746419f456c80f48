//! Tensors from one device to another.

use flg_kernels::In;

use crate::{Device, Result, Tensor};

impl Tensor {
    /// The same elements on `device`: this tensor itself where it lies there already, else a contiguous copy.
    ///
    /// # Errors
    /// A GPU that fails or has not enough memory left.
    pub fn to(&self, device: &Device) -> Result<Tensor> {
        if self.device().runtime() == device.runtime() {
            return Ok(self.clone());
        }
        let host = self.on_host()?.contiguous()?;
        match host.input()? {
            In::F32(x) => Tensor::from_vec(device, x.to_vec(), host.shape()),
            In::Bf16(x) => Tensor::from_bf16(device, x.to_vec(), host.shape()),
            In::I32(x) => Tensor::from_indices(device, x.to_vec(), host.shape()),
            _ => unreachable!("host tensors hold one of three types"),
        }
    }

    /// This tensor where the host reaches it, else a copy there, with the same strides.
    ///
    /// # Errors
    /// The failure of a GPU.
    pub(crate) fn on_host(&self) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(memory) = self.storage().on_gpu() {
            return self.downloaded(memory);
        }
        Ok(self.clone())
    }

    /// Downloads what the view reaches, and nothing beside it.
    #[cfg(feature = "cuda")]
    fn downloaded(&self, memory: &flg_kernels::runtime::cuda::Memory) -> Result<Tensor> {
        use crate::DType;
        let layout = self.layout();
        let (len, dtype) = (layout.span(), self.dtype());
        let offset = layout.offset() * dtype.size();
        let host = Device::cpu();
        let storage = match dtype {
            DType::F32 => {
                let mut values = vec![0.0f32; len];
                memory.download(offset, bytemuck::cast_slice_mut(&mut values))?;
                host.pool().adopt_f32(values)?
            }
            DType::Bf16 => {
                let mut values = vec![flg_kernels::bf16::ZERO; len];
                memory.download(offset, bytemuck::cast_slice_mut(&mut values))?;
                host.pool().adopt_bf16(values)?
            }
            DType::I32 => {
                let mut values = vec![0i32; len];
                memory.download(offset, bytemuck::cast_slice_mut(&mut values))?;
                host.pool().adopt_i32(values)?
            }
        };
        Ok(Tensor::new(&host, storage, layout.at_zero()))
    }
}
