//! NumPy's npy, versions 1 to 3: a header that describes one array, then its bytes in row-major order.
#![forbid(unsafe_code)]

use super::bytes::{Cursor, elements};
use super::{Contents, Dtype, FileError, TensorInfo};

/// The first bytes of every file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The name of the one tensor.
const NAME: &str = "array";
/// Longest header.
const MAX_HEADER: u64 = 1 << 16;
/// Most axes.
const MAX_AXES: usize = 32;

/// Reads all but the array's bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, FileError> {
    let mut cursor = Cursor::new(bytes, 0);
    if cursor.take(6, "the magic")? != MAGIC {
        return cursor.malformed(0, "an npy file starts with \\x93NUMPY");
    }
    let (major, minor) = (cursor.u8("the version")?, cursor.u8("the version")?);
    let length = match (major, minor) {
        (1, 0) => cursor.u16("the length of the header")?.into(),
        (2 | 3, 0) => cursor.u32("the length of the header")?.into(),
        _ => {
            return Err(FileError::Unsupported(format!(
                "npy version {major}.{minor}"
            )));
        }
    };
    let at = cursor.offset();
    let header = cursor.take(length, "the header")?;
    if length > MAX_HEADER {
        return cursor.malformed(
            at,
            format!("a header of {length} bytes; at most {MAX_HEADER} are read"),
        );
    }
    let Header {
        descr,
        fortran,
        shape,
    } = Parser {
        text: header,
        at: 0,
    }
    .header()
    .map_err(|e| FileError::Malformed {
        what: e.what,
        offset: at + e.at as u64,
    })?;
    if fortran {
        return Err(FileError::Unsupported(
            "an array in column-major (Fortran) order".into(),
        ));
    }
    let width = width(&descr)?;
    let size = elements(&shape).and_then(|n| n.checked_mul(width));
    if size != Some(cursor.left()) {
        let wanted = size.map_or("more bytes than can be counted".to_owned(), |n| {
            format!("{n} bytes")
        });
        let what = format!(
            "`{descr}` of shape {shape:?} takes {wanted}, and {} are there",
            cursor.left()
        );
        return Err(FileError::Tensor {
            name: NAME.into(),
            what,
        });
    }
    let tensor = TensorInfo {
        name: NAME.into(),
        shape,
        dtype: Dtype::new(format!("npy:{descr}")),
        definition: None,
        offset: cursor.offset(),
        bytes: cursor.left(),
    };
    Ok(Contents {
        tensors: vec![tensor],
        ..Contents::default()
    })
}

/// Bytes of an element.
fn width(descr: &str) -> Result<u64, FileError> {
    match descr {
        "|i1" | "|u1" | "|b1" => Ok(1),
        "<f2" | "<i2" | "<u2" => Ok(2),
        "<f4" | "<i4" | "<u4" => Ok(4),
        "<f8" | "<i8" | "<u8" => Ok(8),
        other => Err(FileError::Unsupported(format!(
            "an array of `{}`",
            other.escape_debug()
        ))),
    }
}

/// What the header says.
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<u64>,
}

/// What is wrong with the header, and where.
struct Wrong {
    what: String,
    at: usize,
}

/// Reads the one form of header that there is: a Python dictionary of three entries, in any order.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(mut self) -> Result<Header, Wrong> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let at = self.at;
            let key = self.string()?;
            self.expect(b':')?;
            let twice = match key.as_str() {
                "descr" => descr.replace(self.string()?).is_some(),
                "fortran_order" => fortran.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                other => {
                    return self.wrong(
                        at,
                        format!("the key `{}` is not known", other.escape_debug()),
                    );
                }
            };
            if twice {
                return self.wrong(at, format!("the key `{key}` is given twice"));
            }
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.space();
        if self.at < self.text.len() {
            return self.wrong(self.at, "nothing may follow the dictionary".into());
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Header {
                descr,
                fortran,
                shape,
            }),
            _ => self.wrong(
                self.at,
                "expected `descr`, `fortran_order` and `shape`".into(),
            ),
        }
    }

    fn wrong<T>(&self, at: usize, what: String) -> Result<T, Wrong> {
        Err(Wrong { what, at })
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.take(byte) {
            Ok(())
        } else {
            self.wrong(self.at, format!("expected `{}`", char::from(byte)))
        }
    }

    /// A text in quotes; no description of a type needs escapes.
    fn string(&mut self) -> Result<String, Wrong> {
        self.space();
        let start = self.at;
        let Some(quote @ (b'\'' | b'"')) = self.text.get(start) else {
            return self.wrong(start, "expected a text in quotes".into());
        };
        let rest = &self.text[start + 1..];
        let Some(length) = rest.iter().position(|b| b == quote) else {
            return self.wrong(start, "this text does not end".into());
        };
        match std::str::from_utf8(&rest[..length]) {
            Ok(text) if !text.contains('\\') => {
                self.at = start + length + 2;
                Ok(text.to_owned())
            }
            Ok(_) | Err(_) => {
                self.wrong(start, "this text is not a name of a key or a type".into())
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, Wrong> {
        self.space();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.wrong(self.at, "expected `True` or `False`".into())
    }

    fn shape(&mut self) -> Result<Vec<u64>, Wrong> {
        let mut shape = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            if shape.len() == MAX_AXES {
                return self.wrong(self.at, format!("more than {MAX_AXES} axes"));
            }
            shape.push(self.number()?);
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        self.space();
        let start = self.at;
        let mut number = 0u64;
        while let Some(digit) = self.text.get(self.at).filter(|b| b.is_ascii_digit()) {
            let next = number
                .checked_mul(10)
                .and_then(|n| n.checked_add(u64::from(digit - b'0')));
            let Some(next) = next else {
                return self.wrong(start, "this number is too large".into());
            };
            number = next;
            self.at += 1;
        }
        if self.at == start {
            self.wrong(start, "expected a number".into())
        } else {
            Ok(number)
        }
    }
}
