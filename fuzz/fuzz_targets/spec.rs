//! Any text is a module that can be printed, or a list of errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lowbit::compiler::spec::load;

fuzz_target!(|text: &str| {
    match load("fuzz", text, &|_| None) {
        Ok(module) => drop(
            module
                .kernels
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        ),
        Err(diagnostics) => drop(diagnostics.to_string()),
    }
});
