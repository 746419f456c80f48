//! Kernels of the catalog under the names and shapes by which peers are timed.

use std::time::Duration;

use flg_kernels::catalog::{Kernel, Work};
use flg_kernels::{DType, KERNELS, Result, Runtime};

use super::{Clock, median};

/// Variants of a kernel that are timed at the same shapes.
#[derive(Debug)]
pub struct Peers {
    /// What belongs together: `gemm`, `conv`, `attention` or `pointwise`.
    pub group: &'static str,
    kernel: &'static str,
    variants: &'static [&'static str],
    shapes: &'static [&'static [usize]],
}

/// What is timed.
pub const PEERS: &[Peers] = &[
    Peers {
        group: "gemm",
        kernel: "gemm",
        variants: &["nn", "nt", "tn"],
        shapes: &[
            &[1, 2048, 384, 1536],
            &[1, 2048, 1536, 384],
            &[1, 2048, 384, 1152],
            &[1, 512, 256, 1024],
            &[1, 256, 256, 256],
            &[1, 512, 512, 512],
            &[1, 1024, 1024, 1024],
            &[1, 2048, 2048, 2048],
        ],
    },
    Peers { group: "gemm", kernel: "gemm", variants: &["nt"], shapes: &[&[64, 256, 64, 256], &[6, 1024, 64, 1024]] },
    Peers { group: "gemm", kernel: "gemm", variants: &["nn"], shapes: &[&[64, 256, 256, 64]] },
    Peers {
        group: "conv",
        kernel: "conv",
        variants: &["causal"],
        shapes: &[&[120, 208, 96, 96], &[60, 104, 192, 192], &[60, 104, 384, 384]],
    },
    Peers { group: "conv", kernel: "conv", variants: &["upsample"], shapes: &[&[60, 104, 192, 96]] },
    Peers {
        group: "attention",
        kernel: "attention",
        variants: &["forward", "backward"],
        shapes: &[
            &[1, 6, 256, 256, 64],
            &[4, 6, 256, 256, 64],
            &[1, 6, 1024, 1024, 64],
            &[2, 6, 1024, 1024, 64],
            &[1, 6, 4096, 4096, 64],
            &[8, 4, 512, 512, 64],
            &[1, 12, 1024, 1024, 128],
        ],
    },
    pointwise("gelu_tanh", &["forward", "backward"], &[&[4096, 1536]]),
    pointwise("silu", &["forward"], &[&[4096, 1536]]),
    pointwise("softmax", &["forward"], &[&[4096, 1024]]),
    pointwise("layer_norm", &["forward", "backward"], &[&[4096, 384]]),
    pointwise("layer_norm_modulate", &["forward"], &[&[4096, 384]]),
    pointwise("rms_norm", &["forward", "backward"], &[&[4096, 384]]),
    pointwise("unit_norm", &["silu"], &[&[24960, 96]]),
    pointwise("adamw", &["step"], &[&[10_000_000]]),
];

const fn pointwise(
    kernel: &'static str,
    variants: &'static [&'static str],
    shapes: &'static [&'static [usize]],
) -> Peers {
    Peers { group: "pointwise", kernel, variants, shapes }
}

/// One call to time.
#[derive(Clone, Copy)]
pub struct Call {
    kernel: &'static dyn Kernel,
    variant: &'static str,
    shape: &'static [usize],
}

impl Peers {
    /// Every call of the row.
    pub fn calls(&self) -> impl Iterator<Item = Call> {
        let kernel = KERNELS.iter().find(|kernel| kernel.name() == self.kernel).copied();
        let each =
            move |&variant| self.shapes.iter().filter_map(move |&shape| Some(Call { kernel: kernel?, variant, shape }));
        self.variants.iter().flat_map(each)
    }
}

impl Call {
    /// `kernel/variant/extents` as peers write it: a batch of one is left out, and so are keys that are the queries.
    pub fn name(&self) -> String {
        let (name, extents) = match (self.kernel.name(), self.shape) {
            ("gemm", [1, rest @ ..]) => ("gemm", rest.to_vec()),
            ("gemm", all) => ("gemm_batched", all.to_vec()),
            ("attention", &[batch, heads, queries, _, width]) => ("attention", vec![batch, heads, queries, width]),
            (name, all) => (name, all.to_vec()),
        };
        let extents: Vec<_> = extents.iter().map(usize::to_string).collect();
        format!("{name}/{}/{}", self.variant, extents.join("x"))
    }

    /// The row of the catalog.
    pub fn kernel(&self) -> &'static dyn Kernel {
        self.kernel
    }

    /// The variant of the kernel.
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// The extents, in the order of the row.
    pub fn shape(&self) -> &'static [usize] {
        self.shape
    }

    /// What one call costs.
    pub fn work(&self) -> Work {
        self.kernel.work(self.variant, self.shape)
    }

    /// The median time of calls in f32: at least five, and as many as fit into about `budget`.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn time(&self, runtime: &Runtime, clock: &Clock, budget: Duration) -> Result<Duration> {
        let mut problem = self.kernel.problem(self.variant, self.shape, DType::F32, 0);
        for _ in 0..2 {
            problem.run(runtime)?;
        }
        let (mut times, start) = (Vec::new(), clock.now());
        while times.len() < 5 || (times.len() < 200 && clock.now() - start < budget) {
            let before = clock.now();
            problem.run(runtime)?;
            times.push(clock.now() - before);
        }
        Ok(median(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_the_catalog() {
        for peers in PEERS {
            let calls: Vec<_> = peers.calls().collect();
            assert_eq!(calls.len(), peers.variants.len() * peers.shapes.len(), "{}", peers.kernel);
            for call in calls {
                assert!(call.kernel.variants().contains(&call.variant), "{}", call.name());
                assert_eq!(call.kernel.extents().len(), call.shape.len(), "{}", call.name());
            }
        }
    }

    #[test]
    fn names_are_those_of_the_peers() {
        let names: Vec<_> = PEERS.iter().flat_map(Peers::calls).map(|call| call.name()).collect();
        for name in [
            "gemm/tn/2048x384x1536",
            "gemm_batched/nn/64x256x256x64",
            "attention/backward/8x4x512x64",
            "layer_norm_modulate/forward/4096x384",
            "adamw/step/10000000",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert_eq!(names.len(), 56);
    }
}
