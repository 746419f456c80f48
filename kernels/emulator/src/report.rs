//! What is wrong with a program, as data: what happened, and where.

use std::fmt;

/// A defect of the program under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub kind: Kind,
    /// The kernel, as PTX names it; empty for a copy or another operation of the host.
    pub kernel: String,
    /// Line of the PTX text, from 1; 0 where no instruction is to blame.
    pub line: usize,
    /// The instruction as text.
    pub instruction: String,
    /// Index of the block in the grid.
    pub block: [u32; 3],
    /// Index of the thread in its block.
    pub thread: [u32; 3],
    /// The address, where there is one.
    pub address: Option<u64>,
    /// What else helps: the allocation nearby, the other thread of a race and its line.
    pub detail: String,
}

/// The kinds of defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An address outside any allocation, or past the end of one (red zones stand between allocations).
    OutOfBounds,
    /// An allocation that was freed.
    UseAfterFree,
    /// A value of global or shared memory that nobody wrote, used.
    Uninitialised,
    /// Two threads of a block at one address of shared or global memory without a barrier between, one of them writing.
    Race,
    /// Threads of different blocks at one address of global memory, one of them writing, neither by an atomic.
    BlockRace,
    /// Lanes of a warp at one address without `__syncwarp` between, one of them writing.
    WarpRace,
    /// Memory that a `cp.async` still writes, or a source that changed before it was waited for.
    AsyncCopy,
    /// A barrier that only a part of the threads can reach, or a warp-wide instruction whose mask names absent lanes.
    Divergence,
    /// An address that is no multiple of the access's width.
    Misaligned,
    /// A launch outside the device's limits.
    LaunchLimit,
    /// Two streams, or a stream and the host, at one address without an order between, one of them writing.
    StreamRace,
    /// `trap`, an assertion, or a kernel that does not end.
    Trap,
}

impl Report {
    /// Of what the host asked for: no instruction is to blame.
    pub fn without_place(kind: Kind, detail: String) -> Report {
        Report {
            kind,
            kernel: String::new(),
            line: 0,
            instruction: String::new(),
            block: [0; 3],
            thread: [0; 3],
            address: None,
            detail,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        if !self.kernel.is_empty() {
            let (b, t) = (self.block, self.thread);
            write!(f, " in {} line {} `{}`", self.kernel, self.line, self.instruction)?;
            write!(f, " block ({}, {}, {}) thread ({}, {}, {})", b[0], b[1], b[2], t[0], t[1], t[2])?;
        }
        if let Some(address) = self.address {
            write!(f, " address {address:#x}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}
