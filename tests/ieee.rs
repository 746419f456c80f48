//! What IEEE arithmetic promises, of every kernel of the catalog: NaN and infinity reach the outputs that depend on
//! them, and no others; nothing is skipped because it is zero; denormals are kept; a call leaves the processor's modes
//! as they were.
//!
//! Which outputs depend on an element is found out, not listed: they are those whose bits change when the element does.

mod devices;

use devices::{assert_no_reports, gpu};
use flg_kernels::catalog::{KERNELS, Kernel, Problem, Stored};
use flg_kernels::{DType, Runtime, adamw, bf16};

/// One row of the catalog at one shape.
#[derive(Clone, Copy)]
struct Subject {
    kernel: &'static dyn Kernel,
    variant: &'static str,
    shape: &'static [usize],
    rt: Runtime,
}

/// Every variant at every listed shape without a zero: on the host with and without its instruction sets, on a GPU
/// where the shape is small.
fn subjects() -> impl Iterator<Item = Subject> {
    KERNELS.iter().flat_map(|&kernel| {
        let shapes = || kernel.shapes().iter().copied().filter(|shape| !shape.contains(&0));
        let at = move |variant, shape: &'static [usize]| {
            let gpu = gpu().filter(|_| shape.iter().product::<usize>() <= 2000);
            let runtimes = [Runtime::portable(), Runtime::cpu()].into_iter().chain(gpu);
            runtimes.map(move |rt| Subject { kernel, variant, shape, rt })
        };
        kernel.variants().iter().flat_map(move |&variant| shapes().flat_map(move |shape| at(variant, shape)))
    })
}

impl Subject {
    fn problem(&self, dtype: DType) -> Box<dyn Problem> {
        self.kernel.problem(self.variant, self.shape, dtype, 3)
    }

    /// All outputs, one after the other, for operands that `change` has changed.
    fn outputs(&self, dtype: DType, change: impl Fn(&mut [&mut Stored])) -> Vec<f32> {
        let mut problem = self.problem(dtype);
        change(&mut problem.operands());
        problem.move_to(&self.rt).unwrap();
        problem.run(&self.rt).unwrap();
        let outputs = problem.outputs().into_iter().flat_map(|(_, values)| values).collect();
        assert_no_reports(self.kernel.name());
        outputs
    }

    /// Lengths of the operands; indices count as empty.
    fn lengths(&self) -> Vec<usize> {
        let mut problem = self.problem(DType::F32);
        let len = |operand: &Stored| if let Stored::I32(_) = operand { 0 } else { operand.input().len() };
        problem.operands().iter().map(|operand| len(operand)).collect()
    }

    /// Some elements of each operand: the first, the last and one between; where a call is long only that one.
    fn places(&self) -> Vec<Place> {
        let some = |len: usize| if self.is_large() { vec![2 * len / 3] } else { vec![0, 2 * len / 3, len - 1] };
        let lengths = self.lengths().into_iter().enumerate().filter(|&(_, len)| len > 0);
        let mut places: Vec<_> = lengths
            .flat_map(|(operand, len)| some(len).into_iter().map(move |index| Place { operand, index }))
            .collect();
        places.dedup();
        places
    }

    /// Whether a call takes long enough to be made less often.
    fn is_large(&self) -> bool {
        self.shape.iter().product::<usize>() > 20_000
    }

    /// For each output whether it depends on the element. Three changes, since one may vanish in a maximum or where a
    /// function is flat.
    fn dependent(&self, place: Place) -> Vec<bool> {
        let base = self.outputs(DType::F32, |_| {});
        let mut changed = vec![false; base.len()];
        for difference in [0.5, 1000.0, -1000.0] {
            let other = self.outputs(DType::F32, |operands| {
                let element = operands[place.operand].f32()[place.index];
                place.put(operands, element + difference);
            });
            let pairs = other.iter().zip(&base);
            changed.iter_mut().zip(pairs).for_each(|(changed, (a, b))| *changed |= a.to_bits() != b.to_bits());
        }
        changed
    }

    /// Where the formula multiplies zeros that stand in no operand: which outputs the reference says are not finite with
    /// `value` at this place. They need not change with a number there.
    fn not_numbers_of_padding(&self, place: Place, value: f32) -> Vec<bool> {
        if !self.kernel.multiplies_padding() {
            return Vec::new();
        }
        let mut problem = self.problem(DType::F32);
        place.put(&mut problem.operands(), value);
        problem.expected().into_iter().flat_map(|expected| expected.value).map(|value| !value.is_finite()).collect()
    }

    /// A softmax over one element is 1, and its distance from its own mean is 0, whatever it is: changing such an
    /// element shows nothing, and NaN shows.
    fn changes_show_everywhere(&self) -> bool {
        self.shape.iter().rev().take(2).all(|&extent| extent > 1)
    }

    fn at(&self, place: Place) -> String {
        let Subject { kernel, variant, shape, rt } = self;
        format!("{}/{variant} {shape:?} {rt:?}, operand {} [{}]", kernel.name(), place.operand, place.index)
    }
}

/// An element of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    operand: usize,
    index: usize,
}

impl Place {
    fn put(self, operands: &mut [&mut Stored], value: f32) {
        match &mut *operands[self.operand] {
            Stored::F32(x) => x[self.index] = value,
            Stored::Bf16(x) => x[self.index] = bf16::from_f32(value),
            _ => unreachable!("operands begin on the host, and indices are left alone"),
        }
    }
}

/// Puts `f(element)` in place of each element.
fn replace(operand: &mut Stored, f: impl Fn(f32) -> f32) {
    match operand {
        Stored::F32(x) => x.iter_mut().for_each(|x| *x = f(*x)),
        Stored::Bf16(x) => x.iter_mut().for_each(|x| *x = bf16::from_f32(f(x.to_f32()))),
        _ => {}
    }
}

#[test]
fn nan_reaches_what_depends_on_it_and_nothing_else() {
    for subject in subjects() {
        for place in subject.places() {
            let dependent = subject.dependent(place);
            for &dtype in subject.kernel.dtypes() {
                let got = subject.outputs(dtype, |operands| place.put(operands, f32::NAN));
                let of_padding = subject.not_numbers_of_padding(place, f32::NAN);
                for (i, (got, &depends)) in got.iter().zip(&dependent).enumerate() {
                    let right = match depends || of_padding.get(i) == Some(&true) {
                        true => got.is_nan(),
                        false => !got.is_nan() || !subject.changes_show_everywhere(),
                    };
                    assert!(right, "{}, {dtype}: output {i} is {got}, depends: {depends}", subject.at(place));
                }
            }
        }
    }
}

/// `0 * NaN` is NaN, so no operand may be passed over because it is zero.
#[test]
fn zeros_hide_no_nan() {
    for subject in subjects() {
        let operands = subject.lengths().len();
        for place in subject.places() {
            let dependent = subject.dependent(place);
            for zeroed in (0..operands).filter(|&operand| operand != place.operand) {
                let got = subject.outputs(DType::F32, |operands| {
                    replace(operands[zeroed], |_| 0.0);
                    place.put(operands, f32::NAN);
                });
                let hidden = got.iter().zip(&dependent).position(|(got, &depends)| depends && !got.is_nan());
                assert_eq!(hidden, None, "{}: hidden by the zeros of operand {zeroed}", subject.at(place));
            }
        }
    }
}

/// Infinity changes nothing that does not depend on it; and where the reference ends at infinity or NaN, zeros in the
/// other operands or not, the kernel does not end at a number.
#[test]
fn infinity_stays_in_its_rows_and_is_not_made_finite() {
    let mut kernels = std::collections::BTreeSet::new();
    for subject in subjects() {
        let base = subject.outputs(DType::F32, |_| {});
        let operands = subject.lengths().len();
        for place in subject.places() {
            let dependent = subject.dependent(place);
            for (infinity, zeroed) in [(f32::INFINITY, operands), (f32::NEG_INFINITY, 0), (f32::INFINITY, 1)] {
                let change = |operands: &mut [&mut Stored]| {
                    if zeroed != place.operand && zeroed < operands.len() {
                        replace(operands[zeroed], |_| 0.0);
                    }
                    place.put(operands, infinity);
                };
                let got = subject.outputs(DType::F32, change);
                if zeroed == operands && subject.changes_show_everywhere() {
                    let of_padding = subject.not_numbers_of_padding(place, infinity);
                    let free = |i: &usize| !dependent[*i] && of_padding.get(*i) != Some(&true);
                    let other = (0..got.len()).filter(free).find(|&i| got[i].to_bits() != base[i].to_bits());
                    assert_eq!(other, None, "{}: {infinity} changes what does not depend on it", subject.at(place));
                }
                // References of backward kernels are differences of a sum of everything: infinity is everywhere there.
                // Those of large products take a minute.
                if subject.variant.starts_with("backward") || subject.is_large() {
                    continue;
                }
                let mut problem = subject.problem(DType::F32);
                change(&mut problem.operands());
                let wanted = problem.expected().into_iter().flat_map(|expected| expected.value);
                for (i, (got, want)) in got.iter().zip(wanted).enumerate() {
                    if !want.is_finite() {
                        assert!(!got.is_finite(), "{}: output {i} is {got}, not {want}", subject.at(place));
                        kernels.insert(subject.kernel.name());
                    }
                }
            }
        }
    }
    assert_eq!(kernels.len(), KERNELS.len() - 1, "all but the random numbers, which read nothing: {kernels:?}");
}

/// Operands far below the smallest normal number: where the reference gives such a number, so does the kernel.
#[test]
fn denormals_are_kept() {
    const UNIT: f64 = f32::MIN_POSITIVE as f64 * f32::EPSILON as f64;
    let mut kernels = std::collections::BTreeSet::new();
    for subject in subjects() {
        for operand in 0..subject.lengths().len() {
            let mut problem = subject.problem(DType::F32);
            replace(problem.operands()[operand], |x| x * 2f32.powi(-130));
            problem.move_to(&subject.rt).unwrap();
            problem.run(&subject.rt).unwrap();
            for ((name, got), expected) in problem.outputs().iter().zip(problem.expected()) {
                for (i, (&got, &want)) in got.iter().zip(&expected.value).enumerate() {
                    // Near zero a rounding errs by half a unit, and few roundings of a result are that near to zero.
                    let bound = 1e-3 * expected.scale[i] + 64.0 * UNIT;
                    if want.abs() > bound && want.abs() < f32::MIN_POSITIVE.into() {
                        let at = subject.at(Place { operand, index: i });
                        assert!((f64::from(got) - want).abs() <= bound, "{at}: {name} = {got:e}, expected {want:e}");
                        kernels.insert(subject.kernel.name());
                    }
                }
            }
        }
    }
    let others = KERNELS.len() - kernels.len();
    assert_eq!(
        others, 4,
        "all but the random numbers, and averages, AdamW and regrouping, which add to ordinary ones: {kernels:?}"
    );
}

/// The catalog's optimiser starts from ordinary moments; here they are denormal, and their gradient is zero.
#[test]
fn the_optimiser_keeps_denormal_moments() {
    const TINY: f32 = 1e-39;
    for rt in [Runtime::portable(), Runtime::cpu()].into_iter().chain(gpu()) {
        let stored = |value: f32| Stored::new(vec![value; 19], DType::F32).on(&rt).unwrap();
        let ([mut param, mut m, mut v], grad) = ([TINY; 3].map(stored), stored(0.0));
        let args = adamw::Args {
            param: param.output(),
            grad: grad.input(),
            m: m.output(),
            v: v.output(),
            shadow: None,
            average: None,
            lr: 0.0,
            beta1: 0.5,
            beta2: 0.5,
            eps: 1e-8,
            weight_decay: 0.0,
            grad_scale: 1.0,
            step: 1,
        };
        adamw::step(&rt, args).unwrap();
        for (got, want) in [(param, TINY), (m, TINY / 2.0), (v, TINY / 2.0)] {
            let got = got.f32();
            assert!(got.iter().all(|x| (x - want).abs() <= 2e-45), "{rt:?}: {got:?}, expected {want:e}");
        }
    }
}

/// Whether this thread reads and writes denormals, and rounds to nearest even.
fn arithmetic_is_the_default() -> bool {
    use std::hint::black_box;
    let (smallest, denormal) = (black_box(f32::MIN_POSITIVE), black_box(1e-40f32));
    let (half_unit, one) = (black_box(f32::EPSILON / 2.0), black_box(1.0f32));
    let rounds = one + half_unit == 1.0 && one + 3.0 * half_unit == 1.0 + 2.0 * f32::EPSILON;
    smallest * 0.5 > 0.0 && denormal * 1e10 > 0.0 && rounds && -one - half_unit == -1.0
}

#[test]
fn a_call_leaves_the_processor_as_it_was() {
    assert!(arithmetic_is_the_default());
    for subject in subjects() {
        let mut problem = subject.problem(DType::F32);
        problem.move_to(&subject.rt).unwrap();
        problem.run(&subject.rt).unwrap();
        let everywhere =
            arithmetic_is_the_default() && rayon::broadcast(|_| arithmetic_is_the_default()).iter().all(|&x| x);
        assert!(everywhere, "{}/{} changes rounding or denormals", subject.kernel.name(), subject.variant);
    }
}
