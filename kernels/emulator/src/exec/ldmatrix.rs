//! Matrices of 8 x 8 16-bit elements between shared memory and the lanes of a warp.
//!
//! Lane `8 i + r` gives the address of row `r` of matrix `i`. Of each matrix, lane `l` holds elements `2 (l % 4)` and
//! the next one of row `l / 4`; transposed, of column `l / 4`.

use super::block::{Block, Stop, Use};
use super::load_store::{mark_written, read, write};
use super::registers::{ALL, LANES};
use super::warp::Warp;
use super::{address, address::Region};
use crate::ptx::Space;
use crate::ptx::op::{Address, Row, SINK};

/// How matrices lie.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Matrices: 1, 2 or 4.
    pub count: u8,
    pub transpose: bool,
}

/// Checks and counts an access to the rows of all matrices, 16 bytes each.
fn admit(
    block: &mut Block<'_>,
    warp: &mut Warp,
    order: Order,
    place: Address,
    write: bool,
) -> Result<(Region, [u64; LANES], u32), Stop> {
    let usage = Use { space: Space::Shared, width: 16, read: !write, write, strong: false, collective: true };
    let addresses = address::addresses(&mut warp.registers, place);
    let region = block.region(warp, Space::Shared);
    let mask = ALL >> (LANES - 8 * usize::from(order.count));
    block.admit(warp, mask, &region, &addresses, usage)?;
    if block.counted {
        block.counters.shared(&addresses, mask, 16);
    }
    block.record(warp.index, mask, &addresses, usage, &|_, _| false);
    Ok((region, addresses, mask))
}

/// Loads matrices.
pub(crate) fn load(
    block: &mut Block<'_>,
    warp: &mut Warp,
    order: Order,
    place: Address,
    rows: &[Row; 4],
) -> Result<(), Stop> {
    let (region, addresses, _) = admit(block, warp, order, place, false)?;
    for i in (0..usize::from(order.count)).filter(|i| rows[*i] != SINK) {
        let mut words = [[0u32; 4]; 8];
        for (r, row) in words.iter_mut().enumerate() {
            for (c, word) in row.iter_mut().enumerate() {
                // SAFETY: `admit` found 16 bytes at each address inside of the region and aligned.
                *word = unsafe { read(region.host.add(region.offset(0, addresses[8 * i + r]) + 4 * c), 4) } as u32;
            }
        }
        let to = warp.registers.lanes_mut(rows[i]);
        for (lane, to) in to.iter_mut().enumerate() {
            let (group, place) = (lane / 4, lane % 4);
            *to = if order.transpose {
                let element = |row: usize| words[row][group / 2] >> (16 * (group % 2)) & 0xffff;
                element(2 * place) | element(2 * place + 1) << 16
            } else {
                words[group][place]
            };
        }
    }
    Ok(())
}

/// Stores matrices.
pub(crate) fn store(
    block: &mut Block<'_>,
    warp: &mut Warp,
    order: Order,
    place: Address,
    rows: &[Row; 4],
) -> Result<(), Stop> {
    let (region, addresses, mask) = admit(block, warp, order, place, true)?;
    for i in 0..usize::from(order.count) {
        let from = *warp.registers.lanes(rows[i]);
        for r in 0..8 {
            for c in 0..8 {
                let (lane, half) = if order.transpose { (4 * c + r / 2, r % 2) } else { (4 * r + c / 2, c % 2) };
                let value = u64::from(from[lane] >> (16 * half) & 0xffff);
                // SAFETY: as in `load`.
                unsafe { write(region.host.add(region.offset(0, addresses[8 * i + r]) + 2 * c), 2, value) };
            }
        }
    }
    // SAFETY: as in `load`.
    unsafe { mark_written(&region, &addresses, mask, 16) };
    Ok(())
}
