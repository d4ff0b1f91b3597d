//! Runs objects on the machines that they are for: here, or on an emulator of a processor that has exactly the level.
//!
//! Many functions are linked into one program with `driver.c`, which calls them on data from a file. It is shared by tests
//! of two crates, as a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A processor.
pub(crate) struct Machine {
    /// What it is, for people.
    pub(crate) name: String,
    /// What runs a program on it: an emulator with its options; nothing for this machine.
    runner: Vec<&'static str>,
    /// Bytes behind each buffer that it may read: none, but for what an emulator does wrong.
    room: u64,
}

/// A word that a function is passed.
pub(crate) enum Word {
    /// The address of bytes that are only read.
    Read(Vec<u8>),
    /// The address of bytes that are written, with what they are before.
    Write(Vec<u8>),
    /// The address of this many bytes of any content.
    Scratch(u64),
    /// A number.
    Number(u64),
}

/// A call of a function of a program, by its position.
pub(crate) struct Job {
    pub(crate) function: usize,
    pub(crate) words: Vec<Word>,
}

/// What a call wrote, buffer by buffer; or how it ended instead.
pub(crate) type Outcome = Result<Vec<Vec<u8>>, String>;

/// Functions linked with the driver; its files go with it.
pub(crate) struct Program {
    folder: PathBuf,
}

/// Processors of the emulators, each with the level of its target and not the next one, and the room that they need: QEMU
/// 7.2 reads 16 bytes where `vfmadd132ss` has 4 in memory.
const EMULATED: [(&str, &str, &str, u64); 6] = [
    ("x86-64", "qemu-x86_64", "qemu64,-sse3", 0),
    ("x86-64-v2", "qemu-x86_64", "Nehalem", 0),
    ("x86-64-v3", "qemu-x86_64", V3, 16),
    ("aarch64", "qemu-aarch64", "cortex-a53", 0),
    ("aarch64-dotprod", "qemu-aarch64", "neoverse-n1", 0),
    ("aarch64-i8mm", "qemu-aarch64", "max", 0),
];

const V3: &str = "Nehalem,+xsave,+avx,+avx2,+fma";

/// The compiler and linker for a target.
fn compiler(target: &str) -> &'static str {
    match (target.starts_with("aarch64"), cfg!(target_arch = "aarch64")) {
        (true, false) => "aarch64-linux-gnu-gcc",
        (false, true) => "x86_64-linux-gnu-gcc",
        (true, true) | (false, false) => "gcc",
    }
}

fn answers(tool: &str) -> bool {
    let output = Command::new(tool).arg("--version").output();
    output.is_ok_and(|o| o.status.success())
}

/// The machines for a target: one that has its level and no more, where there is an emulator, and this one if it has the
/// level (`here`). A tool that is missing fails the test where all have to be there (`CI`), and is reported elsewhere.
pub(crate) fn machines(target: &str, here: bool) -> Vec<Machine> {
    let mut machines = Vec::new();
    if !answers(compiler(target)) {
        missing(target, compiler(target));
        return machines;
    }
    if let Some((_, emulator, model, room)) = EMULATED.iter().find(|(name, ..)| *name == target) {
        if answers(emulator) {
            machines.push(Machine {
                name: format!("{emulator} -cpu {model}"),
                runner: vec![emulator, "-cpu", model],
                room: *room,
            });
        } else {
            missing(target, emulator);
        }
    }
    if here {
        machines.push(Machine {
            name: "this machine".to_owned(),
            runner: Vec::new(),
            room: 0,
        });
    }
    if machines.is_empty() {
        eprintln!("NOT RUN: {target}: this machine is no such machine, and none is emulated");
    }
    machines
}

fn missing(target: &str, tool: &str) {
    let text = format!("{target}: there is no `{tool}` (scripts/machines.sh installs it)");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    eprintln!("SKIPPED: {text}");
}

/// Runs a tool; what it says is the error.
fn done(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().take(20).collect();
    Err(format!(
        "{:?}: {}\n{}",
        command.get_program(),
        output.status,
        said.join("\n")
    ))
}

impl Program {
    /// Links objects, each with the symbol that it defines, for a target.
    pub(crate) fn link(target: &str, objects: &[(String, Vec<u8>)]) -> Result<Program, String> {
        let name = format!("lowbit-machines-{}-{target}", std::process::id());
        let folder = (0..)
            .map(|n| std::env::temp_dir().join(format!("{name}-{n}")))
            .find(|f| fs::create_dir(f).is_ok());
        let folder = folder.ok_or("no folder")?;
        let program = Program { folder };
        let write = |name: &str, bytes: &[u8]| {
            fs::write(program.folder.join(name), bytes).map_err(|e| e.to_string())
        };
        let (mut declared, mut listed, mut files) = (String::new(), String::new(), String::new());
        for (symbol, object) in objects {
            write(&format!("{symbol}.o"), object)?;
            declared += &format!("void {symbol}(const uint64_t *);\n");
            listed += &format!("{symbol},\n");
            files += &format!("{symbol}.o\n");
        }
        let table = format!(
            "#include <stdint.h>\n{declared}void (*const FUNCTIONS[])(const uint64_t *) = {{\n{listed}}};\n"
        );
        write("table.c", table.as_bytes())?;
        write("files", files.as_bytes())?;
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/machines/driver.c");
        let mut command = Command::new(compiler(target));
        command.current_dir(&program.folder).args([
            "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", "program", driver,
        ]);
        done(command.args(["table.c", "@files"]))?;
        Ok(program)
    }

    /// Runs calls on a machine.
    pub(crate) fn run(&self, machine: &Machine, jobs: &[Job]) -> Result<Vec<Outcome>, String> {
        let file = |name: &str| self.folder.join(name);
        fs::write(file("in"), encoded(jobs)).map_err(|e| e.to_string())?;
        let program = file("program");
        let first = machine.runner.first().map_or(program.as_path(), Path::new);
        let mut command = Command::new(first);
        if let [_, options @ ..] = machine.runner.as_slice() {
            command.args(options).arg(&program);
        }
        command.args([file("in"), file("out")]);
        done(command.arg(machine.room.to_string()))?;
        let out = fs::read(file("out")).map_err(|e| e.to_string())?;
        let mut rest = out.as_slice();
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or("it wrote too little")?;
            rest = left;
            Ok::<&[u8], String>(taken)
        };
        let mut outcomes = Vec::new();
        for job in jobs {
            let status: [u8; 8] = take(8)?.try_into().map_err(|_| "no status")?;
            outcomes.push(match u64::from_le_bytes(status) {
                0 => {
                    let sizes = job.words.iter().filter_map(|w| match w {
                        Word::Write(bytes) => Some(bytes.len()),
                        Word::Read(_) | Word::Scratch(_) | Word::Number(_) => None,
                    });
                    let sizes: Vec<usize> = sizes.collect();
                    let written = sizes.into_iter().map(|s| take(s).map(<[u8]>::to_vec));
                    Ok(written.collect::<Result<Vec<_>, String>>()?)
                }
                status => Err(ending(status)),
            });
        }
        Ok(outcomes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What is left behind is in the folder for what may be left behind.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How a call ended that did not return.
fn ending(status: u64) -> String {
    match status {
        4 => "an instruction that this processor does not have".to_owned(),
        7 | 11 => "memory was touched outside of the buffers".to_owned(),
        14 => "it took too long".to_owned(),
        1000 => "it wrote outside of the buffers".to_owned(),
        signal => format!("signal {signal}"),
    }
}

/// Jobs as the driver reads them.
fn encoded(jobs: &[Job]) -> Vec<u8> {
    let mut file = Vec::new();
    let number = |file: &mut Vec<u8>, n: u64| file.extend(n.to_le_bytes());
    number(&mut file, jobs.len() as u64);
    for job in jobs {
        number(&mut file, job.function as u64);
        number(&mut file, job.words.len() as u64);
        for word in &job.words {
            let (kind, value, bytes): (u64, u64, &[u8]) = match word {
                Word::Number(n) => (0, *n, &[]),
                Word::Read(bytes) => (1, bytes.len() as u64, bytes),
                Word::Write(bytes) => (2, bytes.len() as u64, bytes),
                Word::Scratch(size) => (3, *size, &[]),
            };
            number(&mut file, kind);
            number(&mut file, value);
            file.extend(bytes);
        }
    }
    file
}
