//! One kernel on a device of its own: bytes in, bytes out.

use cuda::exec::{Launch, Options, Outcome, run};
use cuda::memory::Memory;
use cuda::ptx::Module;

/// Bytes of the third parameter of a kernel.
pub const BLOB: usize = 64;

/// A module with one kernel, and how it is launched.
pub struct Device {
    module: Module,
    text: String,
    pub grid: u32,
    pub block: u32,
    pub seed: u64,
    pub checked: bool,
    pub blob: [u8; BLOB],
}

impl Device {
    /// A kernel with pointers to its input `%in` and output `%out`, its number in the grid `%i` and in the block `%t`,
    /// and a parameter `blob` of 64 bytes.
    pub fn new(body: &str) -> Device {
        // What stands before a line of its own is for the module: functions, variables.
        let (outside, body) = body.split_once("\n---\n").unwrap_or(("", body));
        let text = format!(
            ".version 8.6\n.target sm_90a\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n{outside}\n\
             .visible .entry k(.param .u64 from, .param .u64 to, .param .align 16 .b8 blob[{BLOB}])\n{{\n\
             .reg .b32 %i; .reg .b32 %t; .reg .b32 %bid; .reg .b32 %bdim; .reg .b64 %in; .reg .b64 %out;\n\
             ld.param.u64 %in, [from];\nld.param.u64 %out, [to];\nmov.u32 %t, %tid.x;\nmov.u32 %bid, %ctaid.x;\n\
             mov.u32 %bdim, %ntid.x;\nmad.lo.s32 %i, %bid, %bdim, %t;\n{body}\nret;\n}}\n"
        );
        Device {
            module: Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")),
            text,
            grid: 1,
            block: 32,
            seed: 1,
            checked: true,
            blob: [0; BLOB],
        }
    }

    /// Whether each of the opcodes stands in the kernel, so that nobody claims to test what is not there.
    pub fn contains(&self, opcode: &str) -> bool {
        self.text.split([' ', '\n', '\t', ';']).any(|word| word == opcode)
    }

    /// Runs, whatever comes of it.
    pub fn launch(&self, input: &[u8], output: usize) -> (Outcome, Vec<u8>) {
        let memory = Memory::new(1 << 24).expect("addresses");
        let allocate = |bytes: &[u8]| {
            let address = memory.allocate(bytes.len().max(16)).expect("room");
            memory.write(address, bytes).expect("allocated");
            address
        };
        let (from, to) = (allocate(input), allocate(&vec![0; output]));
        let variables = self.module.globals.iter().map(|variable| {
            let mut bytes = variable.initial.clone().unwrap_or_default();
            bytes.resize(variable.size, 0);
            allocate(&bytes)
        });
        let globals: Vec<u64> = variables.collect();
        let mut params: Vec<u8> = [from, to].iter().flat_map(|address| address.to_le_bytes()).collect();
        params.extend(self.blob);
        let launch = Launch {
            module: &self.module,
            entry: &self.module.entries[0],
            globals: &globals,
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            dynamic_shared: 4096,
            shared_limit: 48 << 10,
            params: &params,
        };
        let outcome = run(launch, &memory, Options { seed: self.seed, checked: self.checked, counted: false });
        let mut result = vec![0; output];
        memory.read(to, &mut result).expect("allocated");
        (outcome, result)
    }

    /// Runs a kernel that is without defects.
    pub fn run(&self, input: &[u8], output: usize) -> Vec<u8> {
        let (outcome, result) = self.launch(input, output);
        assert!(outcome.reports.is_empty(), "{:#?}\n{}", outcome.reports, self.text);
        result
    }

    /// Runs with 32-bit words in and out.
    pub fn words(&self, input: &[u32], output: usize) -> Vec<u32> {
        let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
        to_words(&self.run(&bytes, 4 * output))
    }
}

/// Words, little end first.
pub fn to_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect()
}
