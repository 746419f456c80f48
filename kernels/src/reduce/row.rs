//! The catalog row.

use super::{ColumnSum, OP, RowTotal, Term, Total, column_sum, reference, row_total, total};
use crate::DType;
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

const TERMS: [(&str, Term); 5] = [
    ("sum", Term::Sum),
    ("square", Term::Square),
    ("product", Term::Product),
    ("abs_difference", Term::AbsDifference),
    ("magnitude", Term::Magnitude),
];

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "sum of x, x^2, x y or |x - y|, or max |x|: of everything, of each row; of x of each column"
    }
    fn variants(&self) -> &'static [&'static str] {
        &[
            "column_sum",
            "total_sum",
            "total_square",
            "total_product",
            "total_abs_difference",
            "total_magnitude",
            "row_sum",
            "row_square",
            "row_product",
            "row_abs_difference",
            "row_magnitude",
        ]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[4, 0], &[1, 1], &[1, 7], &[3, 8], &[5, 13], &[300, 257], &[3, 20011]]
    }
    fn limits(&self) -> &'static [usize] {
        &[30, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4096, 1536]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        let binary = variant.ends_with("product") || variant.ends_with("abs_difference");
        Work { flops: if binary { 2 * n } else { n }, bytes: if binary { 8 * n } else { 4 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        let x = Stored::new(operands(seed, 0, rows * width), dtype);
        let Some((along, name)) = variant.split_once('_').filter(|(along, _)| *along != "column") else {
            return column_problem(x, Stored::new(operands(seed, 2, width), DType::F32), rows);
        };
        let term = TERMS.iter().find(|(n, _)| *n == name).expect("a variant names a term").1;
        let mut inputs = vec![x];
        if term.is_binary() {
            inputs.push(Stored::new(operands(seed, 1, rows * width), dtype));
        }
        if along == "row" { row_problem(inputs, term, rows, width) } else { total_problem(inputs, term) }
    }
}

fn column_problem(x: Stored, start: Stored, rows: usize) -> Box<dyn Problem> {
    let before = start.f64();
    let width = before.len();
    Case::boxed(
        vec![x],
        vec![("sum_acc", start)],
        move |rt, inputs, out| {
            column_sum(rt, ColumnSum { x: inputs[0].input(), sum_acc: out[0].output(), rows, width })
        },
        move |inputs| {
            let x = inputs[0].f64();
            let magnitudes = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
            let scale = reference::column_sum(&magnitudes(&x), &magnitudes(&before));
            vec![Expected::reduction(reference::column_sum(&x, &before), scale, rows + 1).stored_in_f32()]
        },
    )
}

fn row_problem(inputs: Vec<Stored>, term: Term, rows: usize, width: usize) -> Box<dyn Problem> {
    Case::boxed(
        inputs,
        vec![("out", Stored::unwritten(rows, DType::F32))],
        move |rt, inputs, out| {
            let (x, y) = (inputs[0].input(), inputs.get(1).map(Stored::input));
            row_total(rt, RowTotal { x, y, out: out[0].output(), term, rows, width })
        },
        move |inputs| vec![expected(inputs, term, rows)],
    )
}

fn total_problem(inputs: Vec<Stored>, term: Term) -> Box<dyn Problem> {
    Case::boxed(
        inputs,
        vec![("out", Stored::unwritten(1, DType::F32))],
        move |rt, inputs, out| {
            let (x, y) = (inputs[0].input(), inputs.get(1).map(Stored::input));
            total(rt, Total { x, y, out: out[0].output(), term })
        },
        move |inputs| vec![expected(inputs, term, 1)],
    )
}

/// Sums are in f64, so what is left is the rounding to f32, as if there were one term.
fn expected(inputs: &[Stored], term: Term, rows: usize) -> Expected {
    let x = inputs[0].f64();
    let y = inputs.get(1).map_or_else(|| vec![0.0; x.len()], Stored::f64);
    let magnitudes: Vec<f64> = x.iter().zip(&y).map(|(&x, &y)| reference::term(term, x, y).abs()).collect();
    let kind = if term == Term::Magnitude { term } else { Term::Sum };
    let scale = reference::row_total(kind, &magnitudes, &y, rows);
    Expected::reduction(reference::row_total(term, &x, &y, rows), scale, 1).stored_in_f32()
}
