//! Which rows an instruction reads and writes.

use super::op::{Access, Address, Mma, Op, Row, SINK};

/// How an instruction uses a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Write,
}

/// Calls `f` with each register of an instruction: its row, whether it has 64 bits, and its role.
pub(super) fn visit(op: &mut Op, mmas: &mut [Mma], mut f: impl FnMut(&mut Row, bool, Role)) {
    let mut each = |row: &mut Row, wide: bool, role: Role| {
        if *row != SINK {
            f(row, wide, role);
        }
    };
    use Role::{Read, Write};
    let wide_int = |ty: super::op::Int| matches!(ty, super::op::Int::U64 | super::op::Int::S64);
    let wide_float = |ty: super::op::Float| ty == super::op::Float::F64;
    match op {
        Op::Copy(args) | Op::Movmatrix(args) => {
            each(&mut args.a, false, Read);
            each(&mut args.d, false, Write);
        }
        Op::Copy64(args) => {
            each(&mut args.a, true, Read);
            each(&mut args.d, true, Write);
        }
        Op::Int { op, ty, args } => {
            let shift = matches!(op, super::op::IntOp::Shl | super::op::IntOp::Shr);
            each(&mut args.a, wide_int(*ty), Read);
            each(&mut args.b, wide_int(*ty) && !shift, Read);
            each(&mut args.d, wide_int(*ty), Write);
        }
        Op::MulWide { ty, args } => {
            each(&mut args.a, false, Read);
            each(&mut args.b, false, Read);
            each(&mut args.d, doubles(*ty), Write);
        }
        Op::Mad { part, ty, args } => {
            let product = if *part == super::op::Part::Wide { doubles(*ty) } else { wide_int(*ty) };
            each(&mut args.a, wide_int(*ty), Read);
            each(&mut args.b, wide_int(*ty), Read);
            each(&mut args.c, product, Read);
            each(&mut args.d, product, Write);
        }
        Op::IntUnary { op, ty, args } => {
            use super::op::IntUnary::{Bfind, BfindShift, Clz, Popc};
            each(&mut args.a, wide_int(*ty), Read);
            each(&mut args.d, wide_int(*ty) && !matches!(op, Bfind | BfindShift | Clz | Popc), Write);
        }
        Op::Sad { ty, args } => {
            for row in [&mut args.a, &mut args.b, &mut args.c] {
                each(row, wide_int(*ty), Read);
            }
            each(&mut args.d, wide_int(*ty), Write);
        }
        Op::Bfe { ty, args } => {
            each(&mut args.a, wide_int(*ty), Read);
            each(&mut args.b, false, Read);
            each(&mut args.c, false, Read);
            each(&mut args.d, wide_int(*ty), Write);
        }
        Op::Bfi { wide, from, args } => {
            each(from, *wide, Read);
            each(&mut args.a, *wide, Read);
            each(&mut args.b, false, Read);
            each(&mut args.c, false, Read);
            each(&mut args.d, *wide, Write);
        }
        Op::Lop3 { args, .. } | Op::Shf { args, .. } | Op::Prmt { args, .. } | Op::Dp4a { args, .. } => {
            for row in [&mut args.a, &mut args.b, &mut args.c] {
                each(row, false, Read);
            }
            each(&mut args.d, false, Write);
        }
        Op::Carry { wide, args, .. } => {
            each(&mut args.a, *wide, Read);
            each(&mut args.b, *wide, Read);
            each(&mut args.d, *wide, Write);
        }
        Op::Float { ty, args, .. } => {
            each(&mut args.a, wide_float(*ty), Read);
            each(&mut args.b, wide_float(*ty), Read);
            each(&mut args.d, wide_float(*ty), Write);
        }
        Op::Fma { ty, args, .. } => {
            for row in [&mut args.a, &mut args.b, &mut args.c] {
                each(row, wide_float(*ty), Read);
            }
            each(&mut args.d, wide_float(*ty), Write);
        }
        Op::FloatUnary { ty, args, .. } => {
            each(&mut args.a, wide_float(*ty), Read);
            each(&mut args.d, wide_float(*ty), Write);
        }
        Op::Testp { ty, a, .. } => each(a, wide_float(*ty), Read),
        Op::Cvt { how, args } => {
            each(&mut args.a, how.wide_source, Read);
            each(&mut args.d, how.wide, Write);
        }
        Op::CvtPair { args, .. } => {
            each(&mut args.a, false, Read);
            each(&mut args.b, false, Read);
            each(&mut args.d, false, Write);
        }
        Op::Pack { bits, count, d, from } => {
            from[..usize::from(*count)].iter_mut().for_each(|row| each(row, false, Read));
            each(d, u32::from(*bits) * u32::from(*count) == 64, Write);
        }
        Op::Unpack { bits, count, a, to } => {
            each(a, u32::from(*bits) * u32::from(*count) == 64, Read);
            to[..usize::from(*count)].iter_mut().for_each(|row| each(row, false, Write));
        }
        Op::Setp(setp) => {
            let wide = setp.ty.bytes() == 8;
            each(&mut setp.a, wide, Read);
            each(&mut setp.b, wide, Read);
        }
        Op::Selp { wide, args, .. } => {
            each(&mut args.a, *wide, Read);
            each(&mut args.b, *wide, Read);
            each(&mut args.d, *wide, Write);
        }
        Op::Slct { wide, args, .. } => {
            each(&mut args.a, *wide, Read);
            each(&mut args.b, *wide, Read);
            each(&mut args.c, false, Read);
            each(&mut args.d, *wide, Write);
        }
        Op::Set { d, .. } | Op::ActiveMask { d } => each(d, false, Write),
        Op::Special { which, d } => each(d, which.wide(), Write),
        Op::Cvta { wide, args, .. } => {
            each(&mut args.a, *wide, Read);
            each(&mut args.d, *wide, Write);
        }
        Op::Isspacep { a, .. } => each(a, true, Read),
        Op::Ld(access) => moved(access, &mut each, Write),
        Op::St(access) => moved(access, &mut each, Read),
        Op::Atom(atom) => {
            let wide = atom.ty.bytes() == 8;
            address(&mut atom.address, &mut each);
            each(&mut atom.b, wide, Read);
            each(&mut atom.c, wide, Read);
            each(&mut atom.d, wide, Write);
        }
        Op::CpAsync(copy) => {
            address(&mut copy.to, &mut each);
            address(&mut copy.from, &mut each);
            each(&mut copy.source_bytes, false, Read);
        }
        Op::Mma { number } => {
            let mma = &mut mmas[usize::from(*number)];
            mma.a.iter_mut().for_each(|row| each(row, false, Read));
            mma.b.iter_mut().for_each(|row| each(row, false, Read));
            mma.c.iter_mut().for_each(|row| each(row, false, Read));
            mma.d.iter_mut().for_each(|row| each(row, false, Write));
        }
        other => exchange(other, &mut each),
    }
}

/// Exchanges between lanes, and barriers.
fn exchange(op: &mut Op, each: &mut impl FnMut(&mut Row, bool, Role)) {
    use Role::{Read, Write};
    match op {
        Op::Vote { mode, mask, d, .. } => {
            each(mask, false, Read);
            if *mode == super::op::Vote::Ballot {
                each(d, false, Write);
            }
        }
        Op::Shfl { mask, args, .. } => {
            for row in [mask, &mut args.a, &mut args.b, &mut args.c] {
                each(row, false, Read);
            }
            each(&mut args.d, false, Write);
        }
        Op::Match { wide, mask, d, a, .. } => {
            each(mask, false, Read);
            each(a, *wide, Read);
            each(d, false, Write);
        }
        Op::Redux { mask, args, .. } => {
            each(mask, false, Read);
            each(&mut args.a, false, Read);
            each(&mut args.d, false, Write);
        }
        Op::Elect { d, mask, .. } => {
            each(mask, false, Read);
            each(d, false, Write);
        }
        Op::Ldmatrix { address: place, rows, .. } => {
            address(place, each);
            rows.iter_mut().for_each(|row| each(row, false, Write));
        }
        Op::Stmatrix { address: place, rows, .. } => {
            address(place, each);
            rows.iter_mut().for_each(|row| each(row, false, Read));
        }
        Op::Bar(barrier) => {
            each(&mut barrier.id, false, Read);
            each(&mut barrier.threads, false, Read);
            if barrier.mode == super::op::BarrierMode::Popc {
                each(&mut barrier.d, false, Write);
            }
        }
        Op::WarpSync { mask } => each(mask, false, Read),
        _ => {}
    }
}

/// Whether the product of two such numbers has 64 bits.
fn doubles(ty: super::op::Int) -> bool {
    !matches!(ty, super::op::Int::U16 | super::op::Int::S16)
}

fn address(address: &mut Address, each: &mut impl FnMut(&mut Row, bool, Role)) {
    each(&mut address.base, address.wide, Role::Read);
}

fn moved(access: &mut Access, each: &mut impl FnMut(&mut Row, bool, Role), role: Role) {
    address(&mut access.address, each);
    let wide = access.what.wide;
    access.rows[..usize::from(access.what.count)].iter_mut().for_each(|row| each(row, wide, role));
}
