//! Where tensors live and kernels run.

use std::sync::Arc;

use flg_kernels::Runtime;

#[cfg(not(feature = "cuda"))]
use crate::Error;
use crate::Result;
use crate::memory::{Pool, Usage};

/// A cheap handle to a device: its kernels' runtime and its memory pool. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Device {
    runtime: Runtime,
    pool: Arc<Pool>,
}

impl Device {
    /// The host, with the best instruction set that it has and a pool of its own.
    pub fn cpu() -> Self {
        Device { runtime: Runtime::cpu(), pool: Arc::default() }
    }

    /// A device with another runtime (the portable instruction set in tests) and a pool of its own.
    pub fn with_runtime(runtime: Runtime) -> Self {
        Device { runtime, pool: Arc::default() }
    }

    /// GPU number `ordinal`. All handles to a GPU share its stream; each of these has a pool of its own.
    ///
    /// # Errors
    /// [`Error::NoCuda`] in a build without the feature `cuda`; with it, no driver, no such GPU, or one that is too old.
    pub fn cuda(ordinal: u32) -> Result<Self> {
        #[cfg(feature = "cuda")]
        {
            let gpu = flg_kernels::runtime::cuda::Gpu::open(ordinal)?;
            Ok(Device { runtime: Runtime::Cuda(gpu), pool: Arc::new(Pool::of_gpu(gpu)) })
        }
        #[cfg(not(feature = "cuda"))]
        Err(Error::NoCuda { ordinal })
    }

    /// Waits until everything that was asked of the device is done.
    ///
    /// # Errors
    /// The failure of any of it. The host is always done.
    pub fn synchronize(&self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Runtime::Cuda(gpu) = self.runtime {
            gpu.synchronize()?;
        }
        Ok(())
    }

    /// A rehearsal: operations check their operands and allocate as they do elsewhere, but nothing is computed and no
    /// memory is touched. Running a computation here first tells what it will need ([`Device::memory`]).
    pub fn dry() -> Self {
        Device { runtime: Runtime::Dry, pool: Arc::new(Pool::dry()) }
    }

    /// Whether this is a rehearsal, in which contents mean nothing.
    pub fn is_dry(&self) -> bool {
        self.pool.is_dry()
    }

    /// Whether tensors lie in host memory.
    pub fn is_host(&self) -> bool {
        matches!(self.runtime, Runtime::Cpu(_) | Runtime::Dry)
    }

    /// Whether this is a GPU that the driver only emulates: results are as on a GPU, and times mean nothing.
    pub fn is_emulated(&self) -> bool {
        #[cfg(feature = "cuda")]
        if let Runtime::Cuda(gpu) = self.runtime {
            return gpu.is_emulated();
        }
        false
    }

    /// What kernels run on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Memory in use.
    pub fn memory(&self) -> Usage {
        self.pool.usage()
    }

    /// The memory pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
