//! Moves of 8 x 8 matrices between shared memory and fragments: lane `4 r + c` holds columns `2 c` and `2 c + 1` of row
//! `r`, or of column `r` where it is transposed.

use crate::case::Case;

/// Four 8 x 8 matrices of 16-bit numbers, no two alike, each row where `row_at` says.
fn number(matrix: usize, row: usize, column: usize) -> u16 {
    (matrix * 4096 + row * 256 + column * 8 + 5) as u16
}

/// Rows lie scattered: 16 bytes each.
fn row_at(matrix: usize, row: usize) -> usize {
    (matrix * 8 + row) * 13 % 32
}

/// Which element of a matrix lane `lane` has in half `half` of its register.
fn element(lane: usize, half: usize, transposed: bool) -> (usize, usize) {
    let (row, column) = (lane / 4, 2 * (lane % 4) + half);
    if transposed { (column, row) } else { (row, column) }
}

/// Words of shared memory with all matrices.
fn scattered() -> Vec<u32> {
    let mut words = vec![0u32; 128];
    for (matrix, row, column) in (0..256).map(|i| (i / 64, i / 8 % 8, i % 8)) {
        words[row_at(matrix, row) * 4 + column / 2] |= u32::from(number(matrix, row, column)) << (16 * (column % 2));
    }
    words
}

/// Lane `8 m + r` names the address of row `r` of matrix `m`.
fn transfer(load: bool, count: usize, transposed: bool) -> Case {
    let name = if load { "ldmatrix" } else { "stmatrix" };
    let trans = if transposed { ".trans" } else { "" };
    let opcode = format!("{name}.sync.aligned.m8n8.x{count}{trans}.shared.b16");
    let list: Vec<String> = (0..count).map(|i| format!("%d{i}")).collect();
    let list = format!("{{{}}}", list.join(", "));
    let statement = if load { format!("{opcode} {list}, [%r];") } else { format!("{opcode} [%r], {list};") };
    // Of 512 bytes each lane moves 16; the input's second half has addresses, the third what is stored.
    let body = format!(
        ".shared .align 16 .b8 s[512];\n.reg .b32 %r; .reg .b32 %s; .reg .b64 %w; .reg .b64 %to; .reg .b32 %d<4>;\n\
         mov.u32 %s, s;\nmad.wide.u32 %w, %t, 16, %in;\nmad.wide.u32 %to, %t, 16, %out;\n\
         ld.global.v4.b32 {{%d0, %d1, %d2, %d3}}, [%w];\nshl.b32 %r, %t, 4;\nadd.u32 %r, %r, %s;\n\
         st.shared.v4.b32 [%r], {{%d0, %d1, %d2, %d3}};\nmad.wide.u32 %w, %t, 4, %in;\nld.global.b32 %r, [%w+512];\n\
         add.u32 %r, %r, %s;\nmad.wide.u32 %w, %t, 16, %in;\nld.global.v4.b32 {{%d0, %d1, %d2, %d3}}, [%w+640];\n\
         bar.warp.sync 0xffffffff;\n{statement}\nbar.warp.sync 0xffffffff;\n\
         st.global.v4.b32 [%to], {{%d0, %d1, %d2, %d3}};\nshl.b32 %r, %t, 4;\nadd.u32 %r, %r, %s;\n\
         ld.shared.v4.b32 {{%d0, %d1, %d2, %d3}}, [%r];\nst.global.v4.b32 [%to+512], {{%d0, %d1, %d2, %d3}};"
    );
    Case::new(&[&opcode], &body, move |device| {
        let memory = scattered();
        let addresses = (0..32).map(|lane| 16 * row_at(lane / 8, lane % 8) as u32);
        let fragment = |lane: usize, matrix: usize| {
            let half = |half| {
                let (row, column) = element(lane, half, transposed);
                u32::from(number(matrix, row, column))
            };
            half(0) | half(1) << 16
        };
        let fragments: Vec<u32> = (0..128).map(|i| fragment(i / 4, i % 4)).collect();
        let (before, registers) = if load { (memory.clone(), vec![7; 128]) } else { (vec![9; 128], fragments.clone()) };
        let input: Vec<u32> = before.iter().copied().chain(addresses).chain(registers.iter().copied()).collect();
        let found = device.words(&input, 256);
        for i in 0..128 {
            let loaded = load && i % 4 < count;
            assert_eq!(found[i], if loaded { fragments[i] } else { registers[i] }, "lane {} register {}", i / 4, i % 4);
            let stored = !load && (0..count * 8).any(|row| row_at(row / 8, row % 8) == i / 4);
            assert_eq!(found[128 + i], if stored { memory[i] } else { before[i] }, "word {i} of shared memory");
        }
    })
}

/// A fragment becomes that of the transpose.
fn transposition() -> Case {
    let body = ".reg .b32 %a; .reg .b32 %d; .reg .b64 %w; .reg .b64 %to;\nmad.wide.u32 %w, %t, 4, %in;\n\
                mad.wide.u32 %to, %t, 4, %out;\nld.global.b32 %a, [%w];\n\
                movmatrix.sync.aligned.m8n8.trans.b16 %d, %a;\nst.global.b32 [%to], %d;";
    Case::new(&["movmatrix.sync.aligned.m8n8.trans.b16"], body, |device| {
        let fragment = |lane: usize, transposed| {
            let half = |half| {
                let (row, column) = element(lane, half, transposed);
                u32::from(number(2, row, column))
            };
            half(0) | half(1) << 16
        };
        let input: Vec<u32> = (0..32).map(|lane| fragment(lane, false)).collect();
        let expected: Vec<u32> = (0..32).map(|lane| fragment(lane, true)).collect();
        assert_eq!(device.words(&input, 32), expected);
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![transposition()];
    for count in [1, 2, 4] {
        for transposed in [false, true] {
            cases.extend([transfer(true, count, transposed), transfer(false, count, transposed)]);
        }
    }
    cases
}
