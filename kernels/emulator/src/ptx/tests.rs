//! Texts to modules.

use super::op::Op;
use super::*;

fn kernel(body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_0, .param .u32 k_1)\n{{\n\
         .reg .pred %p<4>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>;\n{body}\nret;\n}}\n"
    )
}

#[test]
fn declarations_get_their_places() {
    let module = Module::parse(
        ".version 8.0 .target sm_80\n.address_size 64\n.global .align 4 .b8 table[8] = {1, 2, 0xff};\n\
         .global .u64 pointer = table+4;\n.shared .align 16 .b8 outer[48];\n.extern .shared .align 128 .b8 dynamic[];\n\
         .visible .entry k(.param .u8 a, .param .align 16 .b8 b[24], .param .u64 c) .maxntid 64, 2, 1\n{\n\
         .shared .align 4 .f32 inner[3];\n.local .align 8 .b8 depot[20];\n.reg .b32 %r<3>;\n\
         mov.u32 %r1, outer;\nmov.u32 %r2, dynamic;\nret;\n}",
    )
    .unwrap();
    let entry = module.entry("k").unwrap();
    let offsets: Vec<_> = entry.params.iter().map(|param| (param.offset, param.size)).collect();
    assert_eq!(offsets, [(0, 1), (16, 24), (40, 8)]);
    assert_eq!(entry.max_threads, Some(128));
    assert_eq!((entry.shared, entry.local), (128, 32));
    assert_eq!(module.globals[0].initial.as_deref(), Some(&[1, 2, 255][..]));
    assert_eq!(module.globals[1].addresses, [GlobalAddress { at: 0, global: 0 }]);
    assert_eq!(module.globals[1].initial.as_deref(), Some(&[4, 0, 0, 0, 0, 0, 0, 0][..]));
}

#[test]
fn what_is_unknown_names_its_line() {
    for (body, what) in [
        ("frobnicate.u32 %r1, %r2;", "unknown instruction"),
        ("add.u32.fast %r1, %r2, %r3;", "`.fast`"),
        ("add.u32 %r1, %rd2, %r3;", "32 bits"),
        ("bra NOWHERE;", "no label"),
        ("mov.u32 %r1, nobody;", "unknown name"),
        ("mov.u32 %r9, %r1;", "no register"),
        ("call.uni elsewhere, ();", "no body"),
    ] {
        let error = Module::parse(&kernel(body)).unwrap_err();
        assert!(error.what.contains(what), "{body}: {error}");
        assert_eq!(error.line, 7, "{body}: {error}");
    }
}

#[test]
fn scopes_hide_names_and_labels() {
    let body = "mov.b32 %r1, 4;\n{ .reg .b32 %r1; L: mov.b32 %r1, 3; @%p1 bra L; }\n{ L: @!%p2 bra L; }\n\
                mov.b32 %r2, %r1;";
    let module = Module::parse(&kernel(body)).unwrap();
    let code = &module.entries[0].code;
    assert!(matches!(code[2].op, Op::Bra { target: 1 }) && !code[2].guard.negated);
    assert!(matches!(code[3].op, Op::Bra { target: 3 }) && code[3].guard.negated);
    let (Op::Copy(outer), Op::Copy(inner), Op::Copy(last)) = (code[0].op, code[1].op, code[4].op) else {
        panic!("{code:?}")
    };
    assert_ne!(outer.d, inner.d);
    assert_eq!(outer.d, last.a);
}

#[test]
fn registers_share_rows_unless_both_are_needed() {
    let rows = |body: &str| Module::parse(&kernel(body)).unwrap().entries[0].rows;
    let chain: String = (1..8).map(|i| format!("add.u32 %r{}, %r{i}, %r{i};\n", i + 1)).collect();
    assert_eq!(rows(&format!("mov.u32 %r1, %tid.x;\n{chain}st.shared.u32 [%r8], %r8;")), 2);
    // In a loop the first value is needed again.
    let again = format!("mov.u32 %r1, %tid.x;\nL: {chain}st.shared.u32 [%r8], %r8;\n@%p1 bra L;");
    assert_eq!(rows(&again), 3);
    // Results of one instruction never share a row, read or not.
    let pair = "ld.shared.v2.u32 {%r1, %r2}, [%r3];\nst.shared.u32 [%r3], %r2;";
    assert_eq!(rows(pair), 3);
}

#[test]
fn functions_take_the_place_of_their_calls() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.func (.param .b32 out) twice(.param .b32 in)\n{\n\
                .reg .b32 %r<3>;\nld.param.b32 %r1, [in];\nadd.s32 %r2, %r1, %r1;\nst.param.b32 [out], %r2;\nret;\n}\n\
                .visible .entry k()\n{\n.reg .b32 %r<3>;\n{ .param .b32 p0; .param .b32 r0;\nst.param.b32 [p0], %r1;\n\
                call.uni (r0), twice, (p0);\nld.param.b32 %r2, [r0]; }\nret;\n}";
    let module = Module::parse(text).unwrap();
    assert!(module.entries[0].code.iter().any(|one| matches!(one.op, Op::Int { .. })));
    assert_eq!(module.entries[0].local, 16);
    let recursive = text.replace("add.s32 %r2, %r1, %r1;", "call.uni (out), twice, (in);");
    assert!(Module::parse(&recursive).unwrap_err().what.contains("recursion"));
}
