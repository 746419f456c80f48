//! A table of everything that nvcc made, for tests and tools that look at all of it.

/// What nvcc and ptxas made of one `.cu`.
#[derive(Clone, Copy, Debug)]
pub struct Compiled {
    /// The file's name, which is that of its kernel's folder.
    pub name: &'static str,
    /// The PTX that is loaded.
    pub ptx: &'static str,
    /// For each architecture that ptxas translated it for, what it said of registers, spills and shared memory.
    pub reports: &'static [(&'static str, &'static str)],
}

/// Every compiled file, in order of name.
pub const COMPILED: &[Compiled] = include!(concat!(env!("OUT_DIR"), "/compiled.rs"));
