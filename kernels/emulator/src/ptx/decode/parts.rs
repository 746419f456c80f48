//! An opcode taken apart: what is not asked for is an error in the end.

use super::super::Error;
use super::super::op::{Mods, Round};
use super::super::types::Type;

/// The name of an instruction and its modifiers, in order.
pub(super) struct Parts<'a> {
    pub name: &'a str,
    opcode: &'a str,
    line: u32,
    rest: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    pub fn new(opcode: &'a str, line: u32) -> Parts<'a> {
        let mut rest: Vec<&str> = opcode.split('.').collect();
        let name = rest.remove(0);
        Parts { name, opcode, line, rest }
    }

    pub fn error(&self, what: &str) -> Error {
        Error { line: self.line as usize, what: format!("`{}`: {what}", self.opcode) }
    }

    /// Takes the modifier if it is there, wherever.
    pub fn flag(&mut self, name: &str) -> bool {
        match self.rest.iter().position(|part| *part == name) {
            Some(at) => {
                self.rest.remove(at);
                true
            }
            None => false,
        }
    }

    /// Takes modifiers that have no effect here.
    pub fn ignore(&mut self, names: &[&str]) {
        self.rest.retain(|part| !names.contains(part));
    }

    /// Takes hints to caches that need no operand: a GPU is free to do nothing about them as well.
    pub fn ignore_cache_hints(&mut self) {
        self.rest.retain(|part| {
            let hint = part.starts_with("L1::") || part.starts_with("L2::");
            !hint || *part == "L2::cache_hint"
        });
    }

    /// Takes the first modifier that `of` knows.
    pub fn find<T>(&mut self, of: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, found) = self.rest.iter().enumerate().find_map(|(at, part)| Some((at, of(part)?)))?;
        self.rest.remove(at);
        Some(found)
    }

    /// Takes the first type.
    pub fn ty(&mut self) -> Result<Type, Error> {
        self.find(Type::of).ok_or_else(|| self.error("a type was expected"))
    }

    /// Takes a direction of rounding to a float, if there is one.
    pub fn round(&mut self) -> Round {
        self.find(|part| {
            Some(match part {
                "rn" => Round::Nearest,
                "rz" => Round::Zero,
                "rm" => Round::Down,
                "rp" => Round::Up,
                "rna" => Round::Away,
                _ => return None,
            })
        })
        .unwrap_or_default()
    }

    /// Takes the modifiers of floating-point arithmetic.
    pub fn mods(&mut self) -> Mods {
        Mods {
            round: self.round(),
            ftz: self.flag("ftz"),
            sat: self.flag("sat"),
            nan: self.flag("NaN"),
            relu: self.flag("relu"),
        }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Names what is left.
    pub fn finish(&self) -> Result<(), Error> {
        match self.rest.first() {
            None => Ok(()),
            Some(part) => Err(self.error(&format!("`.{part}` is not emulated here"))),
        }
    }
}
