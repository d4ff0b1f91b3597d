//! The standard library: formats that others have defined, written in the language itself. A new one is a text file.

/// The modules, in alphabetical order.
const MODULES: [(&str, &str); 11] = [
    ("std/bnb", include_str!("std/bnb.lowbit")),
    ("std/floats", include_str!("std/floats.lowbit")),
    ("std/ggml", include_str!("std/ggml.lowbit")),
    ("std/ggml_iq", include_str!("std/ggml_iq.lowbit")),
    ("std/ggml_k", include_str!("std/ggml_k.lowbit")),
    ("std/gptq", include_str!("std/gptq.lowbit")),
    ("std/ints", include_str!("std/ints.lowbit")),
    ("std/mx", include_str!("std/mx.lowbit")),
    ("std/nf4", include_str!("std/nf4.lowbit")),
    ("std/onnx", include_str!("std/onnx.lowbit")),
    ("std/ternary", include_str!("std/ternary.lowbit")),
];

/// The names of all modules.
pub const NAMES: [&str; MODULES.len()] = {
    let mut names = [""; MODULES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = MODULES[i].0;
        i += 1;
    }
    names
};

/// The text of a module.
pub fn source(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|m| m.0 == name).map(|m| m.1)
}

/// The module that defines a format of that name.
pub fn module_of(format: &str) -> Option<&'static str> {
    let defines = |text: &str| {
        text.lines().any(|l| {
            l.strip_prefix("format ")
                .and_then(|r| r.strip_prefix(format))
                .is_some_and(|r| r.starts_with(" ="))
        })
    };
    MODULES.iter().find(|m| defines(m.1)).map(|m| m.0)
}
