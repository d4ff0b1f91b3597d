//! Peers: other implementations, each in a process of its own, which says on its standard output what it is told to measure on
//! its standard input, a line of JSON each. `benches/README.md` has the protocol.

use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a peer may take for an answer; making copies of weights takes longest.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a peer is to get ready: a linear layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Order {
    pub(crate) format: String,
    pub(crate) n: u64,
    pub(crate) k: u64,
    pub(crate) rows: u64,
    pub(crate) threads: usize,
    /// Copies of the weights that calls take turns on.
    pub(crate) copies: usize,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Order {
            format,
            n,
            k,
            rows,
            threads,
            ..
        } = self;
        write!(f, "{format}, {n} × {k}, {rows} rows, {threads} threads")
    }
}

/// What the driver says.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Request<'a> {
    Prepare(&'a Order),
    Run { handle: u64, calls: u64 },
    Drop(u64),
}

/// What a peer says of itself when it starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Greeting {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) formats: Vec<String>,
}

/// What a peer has got ready.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    pub(crate) handle: u64,
    /// Its kernel, in words.
    pub(crate) what: String,
    /// Bits of a weight, with its share of scales.
    pub(crate) bits: f64,
    /// The accuracy class of activations: `f32`, `bf16`, `int8`.
    pub(crate) activations: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Ready(Ready),
    Seconds { seconds: Vec<f64> },
    Unsupported { unsupported: String },
    Error { error: String },
}

/// A process that measures something else.
pub(crate) struct Peer {
    pub(crate) greeting: Greeting,
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Result<Peer, String> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().map_err(|e| e.to_string())?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("it has no standard input and output".into());
        };
        let (sender, lines) = channel();
        // Ends with the output, or when nobody waits for lines any more.
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let nobody = Greeting {
            name: String::new(),
            version: String::new(),
            formats: Vec::new(),
        };
        let mut peer = Peer {
            greeting: nobody,
            process,
            input,
            lines,
        };
        peer.greeting = peer.hear()?;
        Ok(peer)
    }

    /// The next line.
    fn hear<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.map_err(|_| "it does not answer".to_owned())?;
        serde_json::from_str(&line).map_err(|e| format!("it says `{line}`: {e}"))
    }

    fn say(&mut self, request: &Request<'_>) -> Result<(), String> {
        let line = serde_json::to_string(request).map_err(|e| e.to_string())?;
        let sent = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        sent.map_err(|e| e.to_string())
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, String> {
        self.say(request)?;
        match self.hear()? {
            Answer::Error { error } => Err(error),
            answer => Ok(answer),
        }
    }

    /// Gets something ready; the inner error is why it cannot.
    pub(crate) fn prepare(&mut self, order: &Order) -> Result<Result<Ready, String>, String> {
        match self.ask(&Request::Prepare(order))? {
            Answer::Ready(ready) => Ok(Ok(ready)),
            Answer::Unsupported { unsupported } => Ok(Err(unsupported)),
            other => Err(format!("it answers {other:?}")),
        }
    }

    /// Seconds of so many calls, each on the next copy of the weights.
    pub(crate) fn run(&mut self, handle: u64, calls: u64) -> Result<Vec<f64>, String> {
        match self.ask(&Request::Run { handle, calls })? {
            Answer::Seconds { seconds } if seconds.len() as u64 == calls => Ok(seconds),
            other => Err(format!("it answers {other:?}")),
        }
    }

    /// Frees what was got ready; there is no answer.
    pub(crate) fn drop_handle(&mut self, handle: u64) -> Result<(), String> {
        self.say(&Request::Drop(handle))
    }
}

impl Peer {
    /// Ends a peer that does not keep the protocol: it is asked for nothing more.
    pub(crate) fn give_up(&mut self) {
        self.greeting.formats.clear();
        // It may have ended already.
        let _ = self.process.kill();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.give_up();
        let _ = self.process.wait();
    }
}

/// The peers that are installed: scripts `NAME_peer.py` with a virtual environment `target/peers/NAME`, and programs
/// `target/peers/NAME/peer`.
pub(crate) fn installed(repository: &Path) -> Vec<(String, Command)> {
    let places = repository.join("target/peers");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&places)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    names.sort();
    let found = names.into_iter().filter_map(|place| {
        let name = place.file_name()?.to_string_lossy().into_owned();
        let program = place.join("peer");
        if program.is_file() {
            return Some((name, Command::new(program)));
        }
        let (python, script) = (
            place.join("bin/python"),
            repository.join(format!("benches/peers/{name}_peer.py")),
        );
        if !python.is_file() || !script.is_file() {
            return None;
        }
        let mut command = Command::new(python);
        command.arg(script);
        Some((name, command))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::{Order, Peer};
    use std::process::Command;

    /// A peer that says the same lines, whatever it hears.
    fn peer(lines: &[&str]) -> Result<Peer, String> {
        let script = format!("printf '%s\\n' {}; cat >/dev/null", lines.join(" "));
        Peer::start(Command::new("sh").args(["-c", &script]))
    }

    fn order() -> Order {
        Order {
            format: "q4_0".into(),
            n: 8,
            k: 32,
            rows: 1,
            threads: 1,
            copies: 2,
        }
    }

    const GREETING: &str = r#"'{"name": "p", "version": "1", "formats": ["q4_0"]}'"#;

    #[test]
    fn what_a_peer_says_is_understood() {
        let mut peer = peer(&[
            GREETING,
            r#"'{"unsupported": "no such format"}'"#,
            r#"'{"handle": 3, "what": "k", "bits": 4.5, "activations": "int8"}'"#,
            r#"'{"seconds": [0.5, 0.25]}'"#,
            r#"'{"error": "lost it"}'"#,
        ])
        .expect("it starts");
        assert_eq!(peer.greeting.formats, ["q4_0"]);
        let unsupported = peer.prepare(&order()).expect("an answer");
        assert_eq!(unsupported.err().as_deref(), Some("no such format"));
        let ready = peer
            .prepare(&order())
            .expect("an answer")
            .expect("a handle");
        assert_eq!((ready.handle, ready.bits), (3, 4.5));
        assert_eq!(peer.run(3, 2).expect("times"), [0.5, 0.25]);
        assert_eq!(peer.run(3, 2).err().as_deref(), Some("lost it"));
        peer.drop_handle(3).expect("it listens");
    }

    #[test]
    fn peers_that_keep_no_protocol_are_refused() {
        assert!(Peer::start(&mut Command::new("no/such/program")).is_err());
        let error = peer(&["hello"]).err().expect("no greeting");
        assert!(error.contains("`hello`"), "{error}");
        let ended = Peer::start(&mut Command::new("true")).err();
        assert!(ended.is_some_and(|e| e.contains("does not answer")));
    }
}
