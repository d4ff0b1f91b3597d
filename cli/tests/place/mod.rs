//! A folder of a test's own, and the command line in it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each file of tests uses a part of it"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The slice of a model, as the command line names it.
pub const WEIGHT: &str = "w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight";

/// A folder to work in.
pub struct Place(pub PathBuf);

/// What a command did.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Place {
    pub fn new(name: &str) -> Place {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&place);
        for folder in ["dsl-examples", "tests/data"] {
            fs::create_dir_all(place.join(folder)).expect("a folder");
            for entry in fs::read_dir(repository().join(folder)).expect("the repository") {
                let from = entry.expect("an entry").path();
                let to = place.join(folder).join(from.file_name().expect("a name"));
                fs::copy(from, to).expect("a copy");
            }
        }
        Place(place)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), text).expect("written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lowbit"));
        command.current_dir(&self.0).stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Done {
        done(self.command().args(args).output().expect("it starts"))
    }

    /// Runs a line as a shell would: words, and `dsl-examples/*.lowbit`.
    pub fn line(&self, line: &str) -> Done {
        let words = line.strip_prefix("lowbit ").expect("a command").split(' ');
        let mut args: Vec<String> = Vec::new();
        for word in words {
            match word.strip_suffix("/*.lowbit") {
                Some(folder) => {
                    let entries = fs::read_dir(self.0.join(folder)).expect("a folder");
                    let names = entries.map(|e| e.expect("an entry").file_name());
                    let mut names: Vec<String> = names
                        .map(|n| format!("{folder}/{}", n.to_string_lossy()))
                        .collect();
                    names.sort();
                    args.extend(names);
                }
                None => args.push(word.to_owned()),
            }
        }
        self.run(&args)
    }
}

pub fn done(output: Output) -> Done {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Done {
        code: output.status.code().expect("an exit code"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

impl Done {
    /// It succeeded, and said nothing on the error stream.
    pub fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// It failed with a code, and results are empty.
    pub fn bad(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        self.err
    }
}

/// A file of NumPy with f32 values.
pub fn npy(shape: &str, values: impl Iterator<Item = f32>) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}
