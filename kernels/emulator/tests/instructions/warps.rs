//! What the lanes of a warp do together: shuffles, votes, matches, reductions, masks.

use crate::case::Case;
use crate::device::Device;

/// Pseudo-random words.
fn words(count: usize, salt: u32) -> Vec<u32> {
    let word = |i: u32| (i + 1).wrapping_mul(0x9e37_79b9).rotate_left(salt) ^ (i.wrapping_mul(0x85eb_ca6b) >> 7);
    (0..count as u32).map(|i| word(i.wrapping_add(salt * 1000))).collect()
}

/// Runs one warp whose lanes have four words each in and out: 128 words, word `k` of lane `i` at `4 i + k`.
fn lanes(device: &Device, input: &[u32]) -> Vec<u32> {
    device.words(input, 128)
}

/// The lane's four words are `%a`, `%b`, `%c`, `%m`; results are stored from `%d` and, as 0 or 1, from `%p`.
fn body(core: &str) -> String {
    format!(
        ".reg .b32 %a; .reg .b32 %b; .reg .b32 %c; .reg .b32 %m; .reg .b32 %d; .reg .b32 %e; .reg .b64 %w; .reg .b64 %to;\n\
         .reg .pred %p; .reg .pred %q; .reg .pred %in_mask; .reg .b32 %own;\n\
         mad.wide.u32 %w, %t, 16, %in;\nmad.wide.u32 %to, %t, 16, %out;\nld.global.v4.u32 {{%a, %b, %c, %m}}, [%w];\n\
         mov.u32 %d, 0;\nsetp.ne.u32 %p, %t, %t;\nmov.u32 %own, %lanemask_eq;\nand.b32 %own, %own, %m;\n\
         setp.ne.u32 %in_mask, %own, 0;\n{core}\nselp.b32 %e, 1, 0, %p;\nst.global.v4.u32 [%to], {{%d, %e, 0, 0}};"
    )
}

/// What the manual's program of `shfl` says: the lane read from, and whether it lies in range.
fn source(mode: &str, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (offset, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let most = (lane & segment) | (clamp & !segment & 31);
    let least = lane & segment;
    let (from, inside) = match mode {
        "up" => {
            let from = lane as i32 - offset as i32;
            (from, from >= most as i32)
        }
        "down" => ((lane + offset) as i32, lane + offset <= most),
        "bfly" => ((lane ^ offset) as i32, lane ^ offset <= most),
        _ => {
            let from = least | (offset & !segment & 31);
            (from as i32, from <= most)
        }
    };
    if inside { (from as u32, true) } else { (lane, false) }
}

/// All modes with the clamps and segments that `__shfl_*_sync` makes of widths, and with odd ones that differ by lane.
fn shuffle(mode: &'static str, with_predicate: bool) -> Case {
    let opcode = format!("shfl.sync.{mode}.b32");
    let result = if with_predicate { "%d|%p" } else { "%d" };
    let core = format!("{opcode} {result}, %a, %b, %c, 0xffffffff;");
    Case::new(&[&opcode], &body(&core), move |device| {
        for width in [1u32, 2, 4, 8, 16, 32] {
            let edge = if mode == "up" { 0 } else { 31 };
            let controls = [(32 - width) << 8 | edge, (32 - width) << 8 | 7, 0x1f, 0, 0x0a_0f, 0xffff_e0e0 | edge];
            for (round, control) in controls.into_iter().enumerate() {
                for offset in [0u32, 1, 3, 16, 31, 33, 1000] {
                    let mut input = words(128, width + round as u32);
                    for lane in 0..32usize {
                        // The last round has offsets of each lane's own.
                        input[4 * lane + 1] = if round == 5 { input[4 * lane + 1] } else { offset };
                        input[4 * lane + 2] = control;
                    }
                    let found = lanes(device, &input);
                    for lane in 0..32usize {
                        let (from, inside) = source(mode, lane as u32, input[4 * lane + 1], control);
                        assert_eq!(
                            found[4 * lane],
                            input[4 * from as usize],
                            "{mode} {offset} {control:x} lane {lane}"
                        );
                        assert_eq!(found[4 * lane + 1], u32::from(inside && with_predicate), "{mode} lane {lane}");
                    }
                }
            }
        }
    })
}

/// Only the lanes of a mask take part; the others go round.
fn shuffle_of_some() -> Case {
    let core = "@!%in_mask bra OUT;\nshfl.sync.idx.b32 %d|%p, %a, %b, 0x1f, %m;\nOUT:";
    Case::new(&["shfl.sync.idx.b32"], &body(core), |device| {
        for mask in [0x0000_ffffu32, 0xaaaa_aaaa, 0x8000_0001, 0xffff_ffff] {
            let mut input = words(128, 3);
            let members: Vec<u32> = (0..32).filter(|lane| mask >> lane & 1 != 0).collect();
            for lane in 0..32usize {
                input[4 * lane + 1] = members[lane * 7 % members.len()];
                input[4 * lane + 3] = mask;
            }
            let found = lanes(device, &input);
            for lane in 0..32usize {
                let member = mask >> lane & 1 != 0;
                let expected = if member { input[4 * input[4 * lane + 1] as usize] } else { 0 };
                assert_eq!((found[4 * lane], found[4 * lane + 1]), (expected, u32::from(member)));
            }
        }
    })
}

/// Members of a mask do it, and `of` says for each what its words `d` and `p` become.
fn by_mask(
    opcode: &str,
    core: &str,
    values: fn(u32) -> u32,
    of: impl Fn(&[u32], u32, usize) -> (u32, u32) + 'static,
) -> Case {
    let core = format!("@!%in_mask bra OUT;\n{core}\nOUT:");
    Case::new(&[opcode], &body(&core), move |device| {
        for mask in [0xffff_ffffu32, 0x0000_ffff, 0x5555_5555, 0x8000_0001, 0x10] {
            for salt in 0..12 {
                let mut input = words(128, salt);
                for lane in 0..32usize {
                    // Some rounds have the same value everywhere, or in all lanes but one.
                    let word = match salt {
                        0 => 5,
                        1 => 5 + u32::from(lane == 4),
                        2 => 0,
                        _ => values(input[4 * lane]),
                    };
                    input[4 * lane] = word;
                    input[4 * lane + 3] = mask;
                }
                let operands: Vec<u32> = (0..32).map(|lane| input[4 * lane]).collect();
                let found = lanes(device, &input);
                for lane in 0..32usize {
                    let expected = if mask >> lane & 1 != 0 { of(&operands, mask, lane) } else { (0, 0) };
                    let found = (found[4 * lane], found[4 * lane + 1]);
                    assert_eq!(found, expected, "`{core}` {operands:x?} mask {mask:x} lane {lane}");
                }
            }
        }
    })
}

fn members(mask: u32) -> impl Iterator<Item = usize> {
    (0..32usize).filter(move |lane| mask >> lane & 1 != 0)
}

/// Votes on whether the lowest bit is set.
fn votes() -> Vec<Case> {
    let ask = "and.b32 %e, %a, 1;\nsetp.ne.u32 %q, %e, 0;\n";
    let one = |mode: &str, not: &str, of: fn(bool, bool) -> bool| {
        let opcode = format!("vote.sync.{mode}.pred");
        let inverted = not == "!";
        let core = format!("{ask}{opcode} %p, {not}%q, %m;");
        by_mask(
            &opcode,
            &core,
            |word| word | u32::from(word % 5 != 0),
            move |operands, mask, _| {
                let yes = |lane: usize| (operands[lane] & 1 != 0) != inverted;
                (0, u32::from(of(members(mask).all(yes), members(mask).any(yes))))
            },
        )
    };
    let ballot = format!("{ask}vote.sync.ballot.b32 %d, %q, %m;");
    vec![
        one("all", "", |all, _| all),
        one("any", "", |_, any| any),
        one("uni", "", |all, any| all || !any),
        one("all", "!", |all, _| all),
        one("any", "!", |_, any| any),
        by_mask(
            "vote.sync.ballot.b32",
            &ballot,
            |word| word,
            |operands, mask, _| {
                (members(mask).filter(|lane| operands[*lane] & 1 != 0).fold(0, |bits, lane| bits | 1 << lane), 0)
            },
        ),
    ]
}

fn matches() -> Vec<Case> {
    let same = |operands: &[u32], mask: u32, lane: usize| {
        members(mask).filter(|other| operands[*other] == operands[lane]).fold(0, |bits, other| bits | 1u32 << other)
    };
    let all = move |operands: &[u32], mask: u32, lane: usize| {
        if same(operands, mask, lane) == mask { (mask, 1) } else { (0, 0) }
    };
    let wide = "mov.b64 %w, {0, %a};\n";
    vec![
        by_mask(
            "match.any.sync.b32",
            "match.any.sync.b32 %d, %a, %m;",
            |word| word % 4,
            move |v, mask, lane| (same(v, mask, lane), 0),
        ),
        by_mask("match.all.sync.b32", "match.all.sync.b32 %d|%p, %a, %m;", |word| word % 4, all),
        by_mask(
            "match.any.sync.b64",
            &format!("{wide}match.any.sync.b64 %d, %w, %m;"),
            |word| word % 4,
            move |v, mask, lane| (same(v, mask, lane), 0),
        ),
        by_mask("match.all.sync.b64", &format!("{wide}match.all.sync.b64 %d|%p, %w, %m;"), |word| word % 4, all),
    ]
}

fn reductions() -> Vec<Case> {
    let one = |opcode: &str, of: fn(u32, u32) -> u32| {
        let core = format!("{opcode} %d, %a, %m;");
        by_mask(
            opcode,
            &core,
            |word| word,
            move |operands, mask, _| (members(mask).map(|lane| operands[lane]).reduce(of).unwrap_or_default(), 0),
        )
    };
    vec![
        one("redux.sync.add.u32", u32::wrapping_add),
        one("redux.sync.add.s32", u32::wrapping_add),
        one("redux.sync.min.u32", u32::min),
        one("redux.sync.max.u32", u32::max),
        one("redux.sync.min.s32", |a, b| (a as i32).min(b as i32) as u32),
        one("redux.sync.max.s32", |a, b| (a as i32).max(b as i32) as u32),
        one("redux.sync.and.b32", |a, b| a & b),
        one("redux.sync.or.b32", |a, b| a | b),
        one("redux.sync.xor.b32", |a, b| a ^ b),
    ]
}

/// Which lanes there are, where some left a branch aside; and what registers say of a lane.
fn masks() -> Vec<Case> {
    let mut cases = vec![by_mask("activemask.b32", "activemask.b32 %d;", |word| word, |_, mask, _| (mask, 0))];
    let register = |name: &'static str, of: fn(u32) -> u32| {
        let core = format!("mov.u32 %d, %{name};");
        by_mask("mov.u32", &core, |word| word, move |_, _, lane| (of(lane as u32), 0))
    };
    cases.extend([
        register("laneid", |lane| lane),
        register("lanemask_eq", |lane| 1 << lane),
        register("lanemask_lt", |lane| (1 << lane) - 1),
        register("lanemask_le", |lane| ((2u64 << lane) - 1) as u32),
        register("lanemask_gt", |lane| !((2u64 << lane) - 1) as u32),
        register("lanemask_ge", |lane| !((1 << lane) - 1)),
    ]);
    cases
}

/// One lane of the mask is chosen, and all know which.
fn election() -> Case {
    let core = "@!%in_mask bra OUT;\nelect.sync %d|%p, %m;\nOUT:";
    Case::new(&["elect.sync"], &body(core), |device| {
        for mask in [0xffff_ffffu32, 0x8000_0000, 0x00f0_0f00] {
            let mut input = words(128, 1);
            members(u32::MAX).for_each(|lane| input[4 * lane + 3] = mask);
            let found = lanes(device, &input);
            let chosen: Vec<usize> = members(u32::MAX).filter(|lane| found[4 * lane + 1] != 0).collect();
            assert!(chosen.len() == 1 && mask >> chosen[0] & 1 != 0, "{chosen:?} of {mask:x}");
            assert!(members(mask).all(|lane| found[4 * lane] == chosen[0] as u32));
        }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![shuffle_of_some(), election()];
    for mode in ["up", "down", "bfly", "idx"] {
        cases.extend([shuffle(mode, true), shuffle(mode, false)]);
    }
    cases.extend([votes(), matches(), reductions(), masks()].into_iter().flatten());
    cases
}
