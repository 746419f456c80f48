//! PTX text to tokens.

use super::Error;

/// A token, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// Line of the text, from 1.
    pub line: u32,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name, an opcode with its modifiers, a directive or a register: `add.s32`, `.reg`, `%tid.x`, `$L__BB0_1`.
    Word(&'a str),
    /// An integer literal, as the 64 bits it denotes.
    Integer(u64),
    /// `0f3F800000`: the bits of an f32.
    Single(u32),
    /// `0d3FF0000000000000` or a decimal fraction: the bits of an f64.
    Double(u64),
    /// Text between double quotes.
    Text(&'a str),
    /// Any other character.
    Mark(char),
}

/// Splits `source` into tokens; comments and blanks are dropped.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut lexer = Lexer { source, at: 0, line: 1 };
    let mut tokens = Vec::with_capacity(source.len() / 4);
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn error(&self, what: impl Into<String>) -> Error {
        Error { line: self.line as usize, what: what.into() }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_blanks(&mut self) -> Result<(), Error> {
        loop {
            let rest = self.rest();
            if let Some(first) = rest.chars().next()
                && first.is_whitespace()
            {
                self.line += u32::from(first == '\n');
                self.at += first.len_utf8();
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| self.error("a comment that does not end"))? + 2;
                self.line += rest[..end].matches('\n').count() as u32;
                self.at += end;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Option<Token<'a>>, Error> {
        self.skip_blanks()?;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let line = self.line;
        let kind = if first == '"' {
            let end = rest[1..].find('"').ok_or_else(|| self.error("a string that does not end"))?;
            self.at += end + 2;
            self.line += rest[1..=end].matches('\n').count() as u32;
            Kind::Text(&rest[1..=end])
        } else if first.is_ascii_digit() {
            self.number(rest)?
        } else if is_word(first) {
            let end = word_end(rest);
            self.at += end;
            Kind::Word(&rest[..end])
        } else {
            self.at += first.len_utf8();
            Kind::Mark(first)
        };
        Ok(Some(Token { kind, line }))
    }

    fn number(&mut self, rest: &'a str) -> Result<Kind<'a>, Error> {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        let text = &rest[..end];
        self.at += end;
        let bad = || Error { line: self.line as usize, what: format!("`{text}` is no number") };
        let lower = text.to_ascii_lowercase();
        let hexadecimal = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| bad());
        if let Some(bits) = lower.strip_prefix("0f") {
            return Ok(Kind::Single(u32::try_from(hexadecimal(bits)?).map_err(|_| bad())?));
        }
        if let Some(bits) = lower.strip_prefix("0d") {
            return Ok(Kind::Double(hexadecimal(bits)?));
        }
        if text.contains('.') {
            return Ok(Kind::Double(text.parse::<f64>().map_err(|_| bad())?.to_bits()));
        }
        let digits = lower.strip_suffix('u').unwrap_or(&lower);
        let value = if let Some(digits) = digits.strip_prefix("0x") {
            u64::from_str_radix(digits, 16)
        } else if let Some(digits) = digits.strip_prefix("0b") {
            u64::from_str_radix(digits, 2)
        } else if digits.len() > 1 && digits.starts_with('0') {
            u64::from_str_radix(digits, 8)
        } else {
            digits.parse()
        };
        Ok(Kind::Integer(value.map_err(|_| bad())?))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.')
}

/// End of the word that `rest` begins with; `::` belongs to it (`.shared::cta`), a single colon does not (labels).
fn word_end(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        if is_word(bytes[end] as char) {
            end += 1;
        } else if rest[end..].starts_with("::") {
            end += 2;
        } else {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_lines() {
        let text = "add.s32 %r1, -0x10;\n// nothing\n/* \n */ $L: ld.shared::cta.f32 %f1, [x+0f3F800000];";
        let found = tokens(text).unwrap();
        assert_eq!(found[0].kind, Kind::Word("add.s32"));
        assert_eq!(found[3].kind, Kind::Mark('-'));
        assert_eq!(found[4].kind, Kind::Integer(16));
        assert_eq!((found[6].kind, found[6].line), (Kind::Word("$L"), 4));
        assert_eq!(found[7].kind, Kind::Mark(':'));
        assert_eq!(found[8].kind, Kind::Word("ld.shared::cta.f32"));
        assert!(found.iter().any(|token| token.kind == Kind::Single(0x3f80_0000)));
    }

    #[test]
    fn what_is_no_token_names_its_line() {
        assert_eq!(tokens("\n 12zz").unwrap_err().line, 2);
        assert!(tokens("/* ").is_err());
        assert!(tokens("\"abc").is_err());
    }
}
