//! A [`Problem`] from two closures: how to call the kernel, and what the reference says.

use super::{Expected, Problem, Stored};
use crate::{Result, Runtime};

/// Operands of one call, the call, and the reference.
///
/// The closures get the inputs in the order in which they were given, and the outputs likewise.
pub struct Case<Call, Want> {
    inputs: Vec<Stored>,
    names: Vec<&'static str>,
    initial: Vec<Stored>,
    outputs: Vec<Stored>,
    call: Call,
    want: Want,
}

impl<Call, Want> Case<Call, Want>
where
    Call: Fn(&Runtime, &[Stored], &mut [Stored]) -> Result<()> + Send + 'static,
    Want: Fn(&[Stored]) -> Vec<Expected> + Send + 'static,
{
    /// `outputs` are named and hold what accumulators and operands *in place* start from.
    pub fn boxed(
        inputs: Vec<Stored>,
        outputs: Vec<(&'static str, Stored)>,
        call: Call,
        want: Want,
    ) -> Box<dyn Problem> {
        let (names, initial): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
        Box::new(Case { inputs, names, outputs: initial.clone(), initial, call, want })
    }
}

impl<Call, Want> Problem for Case<Call, Want>
where
    Call: Fn(&Runtime, &[Stored], &mut [Stored]) -> Result<()> + Send,
    Want: Fn(&[Stored]) -> Vec<Expected> + Send,
{
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        (self.call)(rt, &self.inputs, &mut self.outputs)
    }
    fn reset(&mut self) {
        self.outputs.clone_from(&self.initial);
    }
    fn operands(&mut self) -> Vec<&mut Stored> {
        self.inputs.iter_mut().chain(&mut self.initial).collect()
    }
    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        self.names.iter().copied().zip(self.outputs.iter().map(Stored::f32)).collect()
    }
    fn expected(&self) -> Vec<Expected> {
        (self.want)(&self.inputs)
    }
}
