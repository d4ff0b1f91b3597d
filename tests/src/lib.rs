//! Tests that span the crates of lowbit: see `tests/`. What they share is [`lowbit::check`]. The Rust code of the book is
//! run as tests of this documentation.

#[cfg(doctest)]
mod book {
    macro_rules! chapters {
        ($($name:ident: $file:literal),* $(,)?) => {
            $(#[doc = include_str!(concat!("../../book/src/", $file))] mod $name {})*
        };
    }
    chapters! {
        introduction: "introduction.md",
        ten_minutes: "ten-minutes.md",
        language: "language.md",
        compiler: "compiler.md",
        snapshots: "snapshots.md",
        add_a_format: "add-a-format.md",
        add_a_rule: "add-a-rule.md",
        add_a_target: "add-a-target.md",
        formats: "formats.md",
    }
}
