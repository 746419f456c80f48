//! Tokens to a tree: the directives of a module and the heads of its functions.

use super::Error;
use super::lex::{Kind, Token};
use super::syntax::{Function, Initial, Tree, Variable};
use super::types::{Space, Type};

/// Reads tokens one after another.
pub(super) struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

/// What stands before a variable or function.
#[derive(Default)]
struct Linkage {
    external: bool,
}

/// Parses all of a module.
pub(super) fn module<'a>(tokens: &[Token<'a>]) -> Result<Tree<'a>, Error> {
    let mut parser = Parser { tokens, at: 0 };
    let mut tree = Tree::default();
    let mut linkage = Linkage::default();
    while let Some(token) = parser.peek() {
        let Kind::Word(word) = token else { return Err(parser.error("a directive was expected here")) };
        match word {
            ".version" | ".target" | ".file" | ".pragma" | ".alias" => parser.skip_line(),
            ".address_size" => {
                parser.at += 1;
                if parser.integer()? != 64 {
                    return Err(parser.error("only 64-bit addresses are emulated"));
                }
            }
            ".section" => parser.skip_section()?,
            ".visible" | ".weak" | ".common" => parser.at += 1,
            ".extern" => {
                parser.at += 1;
                linkage.external = true;
                continue;
            }
            ".entry" | ".func" => tree.functions.push(parser.function()?),
            ".global" | ".const" | ".shared" => {
                let mut variables = parser.variables(linkage.external)?;
                tree.variables.append(&mut variables);
            }
            _ => return Err(parser.error(format!("unknown directive `{word}`"))),
        }
        linkage = Linkage::default();
    }
    Ok(tree)
}

impl<'t, 'a> Parser<'t, 'a> {
    pub(super) fn peek(&self) -> Option<Kind<'a>> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    pub(super) fn peek_after(&self) -> Option<Kind<'a>> {
        self.tokens.get(self.at + 1).map(|token| token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        Error { line: self.line() as usize, what: what.into() }
    }

    pub(super) fn advance(&mut self) -> Result<Kind<'a>, Error> {
        let token = self.peek().ok_or_else(|| self.error("the text ends too early"))?;
        self.at += 1;
        Ok(token)
    }

    /// Takes the mark if it is next.
    pub(super) fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(Kind::Mark(mark));
        self.at += usize::from(found);
        found
    }

    /// Takes the word if it is next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(Kind::Word(word));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), Error> {
        if self.take(mark) { Ok(()) } else { Err(self.error(format!("`{mark}` was expected, not {:?}", self.peek()))) }
    }

    pub(super) fn word(&mut self) -> Result<&'a str, Error> {
        match self.peek() {
            Some(Kind::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            other => Err(self.error(format!("a name was expected, not {other:?}"))),
        }
    }

    pub(super) fn integer(&mut self) -> Result<u64, Error> {
        match self.peek() {
            Some(Kind::Integer(value)) => {
                self.at += 1;
                Ok(value)
            }
            other => Err(self.error(format!("an integer was expected, not {other:?}"))),
        }
    }

    /// Skips a directive that ends with its line.
    pub(super) fn skip_line(&mut self) {
        let line = self.line();
        while self.at < self.tokens.len() && self.tokens[self.at].line == line {
            self.at += 1;
        }
    }

    fn skip_section(&mut self) -> Result<(), Error> {
        while self.advance()? != Kind::Mark('{') {}
        while self.advance()? != Kind::Mark('}') {}
        Ok(())
    }

    /// `.entry name (params) directives { body }`, or the same of `.func` with results before the name.
    fn function(&mut self) -> Result<Function<'a>, Error> {
        let line = self.line();
        let entry = self.word()? == ".entry";
        let mut function =
            Function { name: "", line, entry, results: Vec::new(), params: Vec::new(), body: None, max_threads: None };
        while self.take_word(".attribute") {
            while self.advance()? != Kind::Mark(')') {}
        }
        if !entry && self.peek() == Some(Kind::Mark('(')) {
            function.results = self.parameters()?;
        }
        function.name = self.word()?;
        if self.peek() == Some(Kind::Mark('(')) {
            function.params = self.parameters()?;
        }
        loop {
            match self.peek() {
                Some(Kind::Mark(';')) => {
                    self.at += 1;
                    return Ok(function);
                }
                Some(Kind::Mark('{')) => {
                    function.body = Some(self.body()?);
                    return Ok(function);
                }
                Some(Kind::Word(".maxntid" | ".reqntid")) => {
                    self.at += 1;
                    let mut threads = self.integer()?;
                    while self.take(',') {
                        threads = threads.saturating_mul(self.integer()?);
                    }
                    function.max_threads = Some(u32::try_from(threads).unwrap_or(u32::MAX));
                }
                Some(Kind::Word(".minnctapersm" | ".maxnreg" | ".maxnctapersm")) => {
                    self.at += 1;
                    self.integer()?;
                }
                Some(Kind::Word(".noreturn")) => self.at += 1,
                Some(Kind::Word(".pragma")) => while self.advance()? != Kind::Mark(';') {},
                other => return Err(self.error(format!("in the head of `{}`: {other:?}", function.name))),
            }
        }
    }

    fn parameters(&mut self) -> Result<Vec<Variable<'a>>, Error> {
        self.expect('(')?;
        let mut parameters = Vec::new();
        while !self.take(')') {
            let space = self.word()?;
            if space != ".param" && space != ".reg" {
                return Err(self.error(format!("`.param` was expected, not `{space}`")));
            }
            parameters.push(self.declarator(Space::Param, false)?.0);
            self.take(',');
        }
        Ok(parameters)
    }

    /// `.shared .align 4 .b8 name[64], other[12];` with the space next.
    pub(super) fn variables(&mut self, external: bool) -> Result<Vec<Variable<'a>>, Error> {
        let space = match self.word()? {
            ".global" | ".const" => Space::Global,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            other => return Err(self.error(format!("unknown state space `{other}`"))),
        };
        let (first, vector) = self.declarator(space, external)?;
        let mut variables = vec![first];
        while self.take(',') {
            let name = self.word()?;
            let like = &variables[0];
            let mut next = Variable { name, line: self.line(), initial: Vec::new(), size: 0, ..like.clone() };
            self.dimensions(&mut next, vector)?;
            variables.push(next);
        }
        self.expect(';')?;
        Ok(variables)
    }

    /// `.align 4 .v2 .b8 name[4] = {..}`; also answers the elements of the vector type.
    fn declarator(&mut self, space: Space, external: bool) -> Result<(Variable<'a>, usize), Error> {
        let (mut align, mut ty, mut vector) = (0, None, 1);
        while let Some(Kind::Word(word)) = self.peek() {
            match word {
                ".align" => {
                    self.at += 1;
                    align = self.integer()? as usize;
                    power_of_two(self, align)?;
                    continue;
                }
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                // `.param .u64 .ptr .global .align 4 name`: a promise about the pointer, not about the parameter.
                ".ptr" => {
                    self.at += 1;
                    self.skip_pointer_promise()?;
                    continue;
                }
                ".attribute" => {
                    while self.advance()? != Kind::Mark(')') {}
                    continue;
                }
                _ => match word.strip_prefix('.').and_then(Type::of) {
                    Some(found) => ty = Some(found),
                    None => break,
                },
            }
            self.at += 1;
        }
        let ty = ty.ok_or_else(|| self.error("a type was expected"))?;
        let line = self.line();
        let name = self.word()?;
        let align = align.max(ty.bytes() * vector).max(1);
        let mut variable = Variable { name, line, space, ty, align, size: 0, external, initial: Vec::new() };
        self.dimensions(&mut variable, vector)?;
        Ok((variable, vector))
    }

    fn skip_pointer_promise(&mut self) -> Result<(), Error> {
        while let Some(Kind::Word(".global" | ".shared" | ".local" | ".const" | ".param" | ".align")) = self.peek() {
            if self.word()? == ".align" {
                self.integer()?;
            }
        }
        Ok(())
    }

    fn dimensions(&mut self, variable: &mut Variable<'a>, vector: usize) -> Result<(), Error> {
        let mut elements = 1usize;
        let mut open = false;
        while self.take('[') {
            if self.take(']') {
                open = true;
            } else {
                let length = self.integer()? as usize;
                elements = elements.checked_mul(length).ok_or_else(|| self.error("an array too large"))?;
                self.expect(']')?;
            }
        }
        let unit = variable.ty.bytes() * vector;
        if self.take('=') {
            self.initialiser(&mut variable.initial)?;
        }
        if open {
            elements = variable.initial.len() / vector;
        }
        variable.size = elements.checked_mul(unit).ok_or_else(|| self.error("an array too large"))?;
        if variable.initial.len() * variable.ty.bytes() > variable.size {
            return Err(self.error(format!("`{}` has more initial values than elements", variable.name)));
        }
        Ok(())
    }

    fn initialiser(&mut self, into: &mut Vec<Initial<'a>>) -> Result<(), Error> {
        if self.take('{') {
            while !self.take('}') {
                self.initialiser(into)?;
                self.take(',');
            }
            return Ok(());
        }
        let negative = self.take('-');
        let value = match self.advance()? {
            Kind::Integer(value) if negative => Initial::Bits(value.wrapping_neg()),
            Kind::Integer(value) => Initial::Bits(value),
            Kind::Single(bits) => Initial::Bits(u64::from(bits)),
            Kind::Double(bits) => Initial::Bits(bits),
            Kind::Word("generic") => {
                self.expect('(')?;
                let value = self.address()?;
                self.expect(')')?;
                value
            }
            Kind::Word(_) => {
                self.at -= 1;
                self.address()?
            }
            other => return Err(self.error(format!("{other:?} is no initial value"))),
        };
        into.push(value);
        Ok(())
    }

    fn address(&mut self) -> Result<Initial<'a>, Error> {
        let name = self.word()?;
        let offset = if self.take('+') { self.integer()? } else { 0 };
        Ok(Initial::Address(name, offset))
    }
}

fn power_of_two(parser: &Parser<'_, '_>, align: usize) -> Result<(), Error> {
    if align.is_power_of_two() { Ok(()) } else { Err(parser.error(format!("{align} is no alignment"))) }
}
