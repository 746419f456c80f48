//! Filling with one value. The host does not wait, with or without a stream.

use super::error::{Answer, Code};
use super::memory::refuse;
use super::state::with_owner;
use super::work::{Transfer, Work};

exports! {
    /// `n` bytes.
    fn cuMemsetD8_v2(to: u64, value: u8, n: usize) = bytes;
    /// `n` values of 2 bytes.
    fn cuMemsetD16_v2(to: u64, value: u16, n: usize) = halves;
    /// `n` values of 4 bytes.
    fn cuMemsetD32_v2(to: u64, value: u32, n: usize) = words;
    /// `n` bytes, in a stream.
    fn cuMemsetD8Async(to: u64, value: u8, n: usize, stream: u64) = bytes_async;
    /// `n` values of 2 bytes, in a stream.
    fn cuMemsetD16Async(to: u64, value: u16, n: usize, stream: u64) = halves_async;
    /// `n` values of 4 bytes, in a stream.
    fn cuMemsetD32Async(to: u64, value: u32, n: usize, stream: u64) = words_async;
}

fn bytes(to: u64, value: u8, n: usize) -> Answer {
    fill("cuMemsetD8", to, value.to_le_bytes(), n, 0)
}

fn halves(to: u64, value: u16, n: usize) -> Answer {
    fill("cuMemsetD16", to, value.to_le_bytes(), n, 0)
}

fn words(to: u64, value: u32, n: usize) -> Answer {
    fill("cuMemsetD32", to, value.to_le_bytes(), n, 0)
}

fn bytes_async(to: u64, value: u8, n: usize, stream: u64) -> Answer {
    fill("cuMemsetD8Async", to, value.to_le_bytes(), n, stream)
}

fn halves_async(to: u64, value: u16, n: usize, stream: u64) -> Answer {
    fill("cuMemsetD16Async", to, value.to_le_bytes(), n, stream)
}

fn words_async(to: u64, value: u32, n: usize, stream: u64) -> Answer {
    fill("cuMemsetD32Async", to, value.to_le_bytes(), n, stream)
}

fn fill<const WIDTH: usize>(function: &str, to: u64, value: [u8; WIDTH], n: usize, stream: u64) -> Answer {
    with_owner(stream, |context| {
        let stream = context.stream(stream)?;
        let bytes = n.checked_mul(WIDTH).ok_or(Code::INVALID_VALUE)?;
        if !to.is_multiple_of(WIDTH as u64) {
            return Err(Code::INVALID_VALUE);
        }
        if n == 0 {
            return Ok(());
        }
        context.memory.check(to, bytes).map_err(|fault| refuse(fault, function))?;
        let mut pattern = [0; 4];
        pattern[..WIDTH].copy_from_slice(&value);
        let fill = Transfer::Fill { to, pattern, width: WIDTH, bytes };
        context.queue.push(stream, function, Work::Transfers(vec![fill]));
        Ok(())
    })
}
