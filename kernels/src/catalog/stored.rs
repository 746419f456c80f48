//! Operands of a [`super::Problem`], on the host or where a GPU reads them.

#[cfg(feature = "cuda")]
use crate::runtime::cuda::{Gpu, Memory};
use crate::{DType, In, Out, Result, Runtime};

/// Stored operands of a problem: f32, rounded to bf16, or indices.
#[derive(Debug)]
pub enum Stored {
    /// As they are.
    F32(Vec<f32>),
    /// Rounded.
    Bf16(Vec<half::bf16>),
    /// Indices.
    I32(Vec<i32>),
    /// Elements of any type on a GPU.
    #[cfg(feature = "cuda")]
    Cuda {
        /// Where they are.
        memory: Memory,
        /// Elements of the memory before the first one.
        first: usize,
        /// How many.
        len: usize,
        /// Their type.
        dtype: DType,
    },
}

impl Stored {
    /// Rounds `values` to `dtype`.
    pub fn new(values: Vec<f32>, dtype: DType) -> Self {
        match dtype {
            DType::Bf16 => Stored::Bf16(values.into_iter().map(half::bf16::from_f32).collect()),
            _ => Stored::F32(values),
        }
    }

    /// Room for `len` elements, filled with a value that no kernel leaves behind by accident.
    pub fn unwritten(len: usize, dtype: DType) -> Self {
        Stored::new(vec![777.0; len], dtype)
    }

    /// The same elements where `rt` computes.
    ///
    /// # Errors
    /// A GPU that fails.
    pub fn on(self, rt: &Runtime) -> Result<Self> {
        match rt {
            #[cfg(feature = "cuda")]
            Runtime::Cuda(gpu) => {
                // Off a vector where the number is odd, so that tests meet addresses at which none begins as well.
                let first = self.input().len() % 2;
                self.on_gpu(gpu, first)
            }
            _ => self.on_host(),
        }
    }

    /// The same elements on a GPU, `first` elements from where its memory begins, so that vectors may not start there.
    ///
    /// # Errors
    /// A GPU that fails.
    #[cfg(feature = "cuda")]
    pub fn on_gpu(self, gpu: &'static Gpu, first: usize) -> Result<Self> {
        let host = self.on_host()?;
        let (len, dtype) = (host.input().len(), host.input().dtype());
        let mut memory = Memory::new(gpu, (first + len) * dtype.size())?;
        memory.upload(first * dtype.size(), host.bytes())?;
        Ok(Stored::Cuda { memory, first, len, dtype })
    }

    /// The same elements on the host.
    fn on_host(self) -> Result<Self> {
        match self {
            #[cfg(feature = "cuda")]
            Stored::Cuda { memory, first, len, dtype } => {
                let mut host = match dtype {
                    DType::F32 => Stored::F32(vec![0.0; len]),
                    DType::Bf16 => Stored::Bf16(vec![half::bf16::ZERO; len]),
                    DType::I32 => Stored::I32(vec![0; len]),
                };
                memory.download(first * dtype.size(), host.bytes_mut())?;
                Ok(host)
            }
            host => Ok(host),
        }
    }

    #[cfg(feature = "cuda")]
    fn bytes(&self) -> &[u8] {
        match self {
            Stored::F32(x) => bytemuck::cast_slice(x),
            Stored::Bf16(x) => bytemuck::cast_slice(x),
            Stored::I32(x) => bytemuck::cast_slice(x),
            Stored::Cuda { .. } => unreachable!("asked of host elements only"),
        }
    }

    #[cfg(feature = "cuda")]
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Stored::F32(x) => bytemuck::cast_slice_mut(x),
            Stored::Bf16(x) => bytemuck::cast_slice_mut(x),
            Stored::I32(x) => bytemuck::cast_slice_mut(x),
            Stored::Cuda { .. } => unreachable!("asked of host elements only"),
        }
    }

    /// To read.
    pub fn input(&self) -> In<'_> {
        match self {
            Stored::F32(x) => In::F32(x),
            Stored::Bf16(x) => In::Bf16(x),
            Stored::I32(x) => In::I32(x),
            #[cfg(feature = "cuda")]
            Stored::Cuda { memory, first, len, dtype } => In::Cuda(memory.slice(*first, *len, *dtype)),
        }
    }

    /// To write.
    ///
    /// # Panics
    /// Indices, which no kernel writes.
    pub fn output(&mut self) -> Out<'_> {
        match self {
            Stored::F32(x) => Out::F32(x),
            Stored::Bf16(x) => Out::Bf16(x),
            Stored::I32(_) => unreachable!("no kernel writes indices"),
            #[cfg(feature = "cuda")]
            Stored::Cuda { memory, first, len, dtype } => Out::Cuda(memory.slice_mut(*first, *len, *dtype)),
        }
    }

    /// The values after rounding, for the kernel's result.
    pub fn f32(&self) -> Vec<f32> {
        match self {
            Stored::I32(x) => x.iter().map(|&i| i as f32).collect(),
            #[cfg(feature = "cuda")]
            Stored::Cuda { .. } => self.clone().on_host().expect("a download from a GPU that computed").f32(),
            host => host.input().widen().into_owned(),
        }
    }

    /// The values after rounding, for the reference.
    pub fn f64(&self) -> Vec<f64> {
        self.f32().into_iter().map(f64::from).collect()
    }

    /// The indices.
    ///
    /// # Panics
    /// Where they are none.
    pub fn i32(&self) -> Vec<i32> {
        match self {
            Stored::I32(x) => x.clone(),
            #[cfg(feature = "cuda")]
            Stored::Cuda { .. } => self.clone().on_host().expect("a download from a GPU that computed").i32(),
            _ => unreachable!("asked of indices only"),
        }
    }
}

impl Clone for Stored {
    fn clone(&self) -> Self {
        match self {
            Stored::F32(x) => Stored::F32(x.clone()),
            Stored::Bf16(x) => Stored::Bf16(x.clone()),
            Stored::I32(x) => Stored::I32(x.clone()),
            #[cfg(feature = "cuda")]
            Stored::Cuda { memory, first, len, dtype } => {
                let copy = || {
                    let mut copy = Memory::new(memory.gpu(), memory.bytes())?;
                    copy.copy(0, memory, 0, memory.bytes())?;
                    Ok::<_, crate::Error>(copy)
                };
                let memory = copy().expect("a copy on a GPU that works");
                Stored::Cuda { memory, first: *first, len: *len, dtype: *dtype }
            }
        }
    }
}
