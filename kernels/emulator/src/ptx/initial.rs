//! Variables of a module, and their bytes.

use std::collections::HashMap;

use super::syntax::{Initial, Tree, Variable};
use super::types::Space;
use super::{Error, Global, GlobalAddress};

/// All variables that lie in device memory, and the place of each by name.
pub(super) fn globals<'a>(tree: &Tree<'a>) -> Result<(Vec<Global>, HashMap<&'a str, usize>), Error> {
    let variables = || tree.variables.iter().filter(|variable| variable.space == Space::Global);
    let mut names = HashMap::new();
    for (index, variable) in variables().enumerate() {
        if variable.external || names.insert(variable.name, index).is_some() {
            let what = format!("`{}` is defined elsewhere or twice", variable.name);
            return Err(Error { line: variable.line as usize, what });
        }
    }
    let globals = variables().map(|variable| global(variable, &names)).collect::<Result<_, _>>()?;
    Ok((globals, names))
}

fn global(variable: &Variable<'_>, names: &HashMap<&str, usize>) -> Result<Global, Error> {
    let error = |what: String| Error { line: variable.line as usize, what };
    let (mut bytes, mut addresses) = (Vec::new(), Vec::new());
    let unit = variable.ty.bytes();
    for initial in &variable.initial {
        let bits = match initial {
            Initial::Bits(bits) => *bits,
            Initial::Address(name, offset) => {
                let global =
                    names.get(name).ok_or_else(|| error(format!("`{name}` has no address in device memory")))?;
                if unit != 8 {
                    return Err(error("an address in less than 64 bits".into()));
                }
                addresses.push(GlobalAddress { at: bytes.len(), global: *global });
                *offset
            }
        };
        bytes.extend_from_slice(&bits.to_le_bytes()[..unit.min(8)]);
    }
    Ok(Global {
        name: variable.name.to_owned(),
        size: variable.size,
        align: variable.align,
        initial: (!bytes.is_empty()).then_some(bytes),
        addresses,
    })
}

impl<'a> Tree<'a> {
    /// The variable of shared memory of that name, outside of functions.
    pub(super) fn shared_variable(&self, name: &str) -> Option<&Variable<'a>> {
        self.variables.iter().find(|variable| variable.space == Space::Shared && variable.name == name)
    }
}
