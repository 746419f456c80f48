//! Tokens to a tree: the bodies of functions.

use super::Error;
use super::lex::Kind;
use super::parse::Parser;
use super::syntax::{Item, Operand, Statement};
use super::types::Type;

impl<'a> Parser<'_, 'a> {
    /// `{ ... }`, braces included; scopes inside become [`Item::Open`] and [`Item::Close`].
    pub(super) fn body(&mut self) -> Result<Vec<Item<'a>>, Error> {
        self.expect('{')?;
        let mut items = Vec::new();
        let mut depth = 1;
        loop {
            match self.peek() {
                Some(Kind::Mark('{')) => {
                    self.advance()?;
                    depth += 1;
                    items.push(Item::Open);
                }
                Some(Kind::Mark('}')) => {
                    self.advance()?;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(items);
                    }
                    items.push(Item::Close);
                }
                Some(Kind::Mark(';')) => {
                    self.advance()?;
                }
                Some(Kind::Mark('@')) => items.push(Item::Statement(self.statement()?)),
                Some(Kind::Word(word)) => self.item(word, &mut items)?,
                other => return Err(self.error(format!("an instruction was expected, not {other:?}"))),
            }
        }
    }

    fn item(&mut self, word: &'a str, items: &mut Vec<Item<'a>>) -> Result<(), Error> {
        match word {
            ".reg" => return self.registers(items),
            ".loc" => self.skip_line(),
            ".pragma" => while self.advance()? != Kind::Mark(';') {},
            ".shared" | ".local" | ".param" | ".const" | ".global" => {
                items.extend(self.variables(false)?.into_iter().map(Item::Variable));
            }
            _ if word.starts_with('.') => return Err(self.error(format!("unknown directive `{word}`"))),
            _ if self.peek_after() == Some(Kind::Mark(':')) => {
                self.advance()?;
                self.advance()?;
                if let Some(Kind::Word(".branchtargets" | ".calltargets" | ".callprototype")) = self.peek() {
                    while self.advance()? != Kind::Mark(';') {}
                }
                items.push(Item::Label(word));
            }
            _ => items.push(Item::Statement(self.statement()?)),
        }
        Ok(())
    }

    fn registers(&mut self, items: &mut Vec<Item<'a>>) -> Result<(), Error> {
        self.advance()?;
        let word = self.word()?;
        let ty = word.strip_prefix('.').and_then(Type::of);
        let ty = ty.ok_or_else(|| self.error(format!("`{word}` is no type of a register")))?;
        loop {
            let name = self.word()?;
            let mut count = None;
            if self.take('<') {
                count = Some(self.integer()? as u32);
                self.expect('>')?;
            }
            items.push(Item::Registers { name, count, ty });
            if !self.take(',') {
                return self.expect(';');
            }
        }
    }

    fn statement(&mut self) -> Result<Statement<'a>, Error> {
        let mut guard = None;
        if self.take('@') {
            let negated = self.take('!');
            guard = Some((self.word()?, negated));
        }
        let line = self.line();
        let opcode = self.word()?;
        let mut operands = Vec::new();
        while !self.take(';') {
            operands.push(self.operand()?);
            if !self.take(',') {
                self.expect(';')?;
                break;
            }
        }
        Ok(Statement { line, guard, opcode, operands })
    }

    fn operand(&mut self) -> Result<Operand<'a>, Error> {
        if self.take('-') {
            return Ok(match self.advance()? {
                Kind::Integer(value) => Operand::Integer(value.wrapping_neg()),
                Kind::Single(bits) => Operand::Single(bits ^ 0x8000_0000),
                Kind::Double(bits) => Operand::Double(bits ^ (1 << 63)),
                other => return Err(self.error(format!("a number was expected, not {other:?}"))),
            });
        }
        match self.advance()? {
            Kind::Word(name) if self.take('|') => Ok(Operand::Pair(name, self.word()?)),
            Kind::Word(name) if self.take('+') => Ok(Operand::Address(Some(name), self.integer()? as i64)),
            Kind::Word(name) => Ok(Operand::Name(name)),
            Kind::Integer(value) => Ok(Operand::Integer(value)),
            Kind::Single(bits) => Ok(Operand::Single(bits)),
            Kind::Double(bits) => Ok(Operand::Double(bits)),
            Kind::Mark('!') => Ok(Operand::Not(self.word()?)),
            Kind::Mark('{') => Ok(Operand::Vector(self.operands_until('}')?)),
            Kind::Mark('(') => Ok(Operand::List(self.operands_until(')')?)),
            Kind::Mark('[') => self.address_operand(),
            other => Err(self.error(format!("{other:?} is no operand"))),
        }
    }

    fn operands_until(&mut self, end: char) -> Result<Vec<Operand<'a>>, Error> {
        let mut operands = Vec::new();
        while !self.take(end) {
            operands.push(self.operand()?);
            self.take(',');
        }
        Ok(operands)
    }

    /// `name`, `name+4`, `name+-4`, `16`, up to the closing bracket.
    fn address_operand(&mut self) -> Result<Operand<'a>, Error> {
        let (mut name, mut offset) = (None, 0i64);
        loop {
            let negative = self.take('-');
            match self.advance()? {
                Kind::Word(word) if name.is_none() && !negative => name = Some(word),
                Kind::Integer(value) if negative => offset = offset.wrapping_sub(value as i64),
                Kind::Integer(value) => offset = offset.wrapping_add(value as i64),
                other => return Err(self.error(format!("{other:?} in an address"))),
            }
            if self.take(']') {
                return Ok(Operand::Address(name, offset));
            }
            if self.peek() != Some(Kind::Mark('-')) {
                self.expect('+')?;
            }
        }
    }
}
