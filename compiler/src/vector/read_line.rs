//! One line of the vector IR's text, as words, signs and quoted names.

use super::ir::{Elem, Type, Value};
use super::read::ReadError;
use std::collections::VecDeque;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(char),
}

/// The rest of a line.
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    tokens: VecDeque<Token>,
}

/// Highest number of a value.
const MOST_VALUES: u32 = 1 << 28;

impl Line {
    pub(super) fn new(number: usize, text: &str) -> Result<Line, ReadError> {
        let mut line = Line {
            number,
            tokens: VecDeque::new(),
        };
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if c.is_whitespace() {
                continue;
            }
            if ",:={}()".contains(c) {
                line.tokens.push_back(Token::Sign(c));
            } else if c == '"' {
                let name = quoted(&mut rest)
                    .ok_or_else(|| line.error("the name does not end".to_owned()))?;
                line.tokens.push_back(Token::Quoted(name));
            } else {
                let mut word = String::from(c);
                while let Some(next) =
                    rest.next_if(|n| !n.is_whitespace() && !",:={}()\"".contains(*n))
                {
                    word.push(next);
                }
                line.tokens.push_back(Token::Word(word));
            }
        }
        Ok(line)
    }

    pub(super) fn error(&self, message: String) -> ReadError {
        ReadError {
            line: self.number,
            message,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether the next word or sign is this one.
    pub(super) fn starts(&self, text: &str) -> bool {
        match self.tokens.front() {
            Some(Token::Word(word)) => word == text,
            Some(Token::Sign(sign)) => text.chars().eq([*sign]),
            Some(Token::Quoted(_)) | None => false,
        }
    }

    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        if self.tokens.is_empty() {
            Ok(())
        } else {
            Err(self.unexpected("the end of the line"))
        }
    }

    pub(super) fn any_word(&mut self) -> Result<String, ReadError> {
        match self.tokens.pop_front() {
            Some(Token::Word(word)) => Ok(word),
            Some(token @ (Token::Quoted(_) | Token::Sign(_))) => {
                self.tokens.push_front(token);
                Err(self.unexpected("a word"))
            }
            None => Err(self.unexpected("a word")),
        }
    }

    pub(super) fn word(&mut self, wanted: &str) -> Result<(), ReadError> {
        if !matches!(self.tokens.front(), Some(Token::Word(word)) if word == wanted) {
            return Err(self.unexpected(&format!("`{wanted}`")));
        }
        self.tokens.pop_front();
        Ok(())
    }

    pub(super) fn try_sign(&mut self, sign: char) -> bool {
        let found = self.tokens.front() == Some(&Token::Sign(sign));
        if found {
            self.tokens.pop_front();
        }
        found
    }

    pub(super) fn sign(&mut self, sign: char) -> Result<(), ReadError> {
        if self.try_sign(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    pub(super) fn name(&mut self) -> Result<String, ReadError> {
        match self.tokens.pop_front() {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name),
            Some(Token::Sign(_)) | None => Err(self.error("a name is expected".to_owned())),
        }
    }

    fn unexpected(&self, wanted: &str) -> ReadError {
        let found = match self.tokens.front() {
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Quoted(name)) => format!("{name:?}"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
            None => "the end of the line".to_owned(),
        };
        self.error(format!("{wanted} is expected, not {found}"))
    }

    fn parsed<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ReadError> {
        let word = self.any_word()?;
        parse(&word).ok_or_else(|| self.error(format!("`{word}` is no {what}")))
    }

    pub(super) fn number_of<T: FromStr>(&mut self) -> Result<T, ReadError> {
        self.parsed("number that fits here", |w| w.parse().ok())
    }

    /// A letter and a number.
    pub(super) fn id(&mut self, letter: char) -> Result<u32, ReadError> {
        let parse = |w: &str| {
            w.strip_prefix(letter)
                .and_then(|n| n.parse().ok())
                .filter(|n| *n < MOST_VALUES)
        };
        self.parsed(&format!("number after `{letter}`"), parse)
    }

    pub(super) fn value(&mut self) -> Result<Value, ReadError> {
        self.id('v').map(Value::from_u32)
    }

    /// Values with commas between them.
    pub(super) fn values<const N: usize>(&mut self) -> Result<[Value; N], ReadError> {
        let mut values = [Value::from_u32(0); N];
        for (at, value) in values.iter_mut().enumerate() {
            if at > 0 {
                self.sign(',')?;
            }
            *value = self.value()?;
        }
        Ok(values)
    }

    pub(super) fn ty(&mut self) -> Result<Type, ReadError> {
        self.parsed("type", |word| {
            let (elem, lanes) = match word.split_once('x') {
                Some((elem, lanes)) => (elem, lanes.parse().ok().filter(|l| *l > 1)?),
                None => (word, 1),
            };
            let elem = Elem::ALL.into_iter().find(|e| e.name() == elem)?;
            Some(Type::new(elem, lanes))
        })
    }

    /// `+ 16`, `- 16` or nothing.
    pub(super) fn displacement(&mut self) -> Result<i32, ReadError> {
        let sign = if self.starts("+") {
            1
        } else if self.starts("-") {
            -1
        } else {
            return Ok(0);
        };
        self.tokens.pop_front();
        let size: u32 = self.number_of()?;
        i32::try_from(i64::from(size) * sign)
            .map_err(|_| self.error(format!("the offset {size} is too large")))
    }

    /// Bits of an f32.
    pub(super) fn float(&mut self) -> Result<u32, ReadError> {
        self.parsed("float", float)
    }

    /// Bits of a lane.
    pub(super) fn lane(&mut self, elem: Elem) -> Result<u64, ReadError> {
        self.parsed("lane", |word| {
            if let Some(bits) = word.strip_prefix("0x") {
                return u64::from_str_radix(bits, 16).ok();
            }
            match elem {
                Elem::F32 => float(word).map(u64::from),
                Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64 => {
                    let number: i64 = word.parse().ok()?;
                    Some(number as u64 & (u64::MAX >> (64 - elem.bits())))
                }
            }
        })
    }

    /// Bytes in hexadecimal.
    pub(super) fn hex(&mut self) -> Result<Vec<u8>, ReadError> {
        self.parsed("row of bytes", |word| {
            let digits: Option<Vec<u8>> = word
                .chars()
                .map(|c| c.to_digit(16).map(|d| d as u8))
                .collect();
            let digits = digits.filter(|d| d.len().is_multiple_of(2))?;
            Some(
                digits
                    .chunks(2)
                    .map(|pair| pair[0] << 4 | pair[1])
                    .collect(),
            )
        })
    }
}

fn float(word: &str) -> Option<u32> {
    if let Some(bits) = word.strip_prefix("0x") {
        return u32::from_str_radix(bits, 16).ok();
    }
    word.parse::<f32>().ok().map(f32::to_bits)
}

/// The rest of a quoted name, with its escapes.
fn quoted(rest: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut name = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(name),
            '\\' => match rest.next()? {
                c @ ('"' | '\\') => name.push(c),
                digit => {
                    let mut code = digit.to_digit(16)?;
                    loop {
                        match rest.next()? {
                            ';' => break,
                            c => code = code.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
                        }
                    }
                    name.push(char::from_u32(code)?);
                }
            },
            c => name.push(c),
        }
    }
}
