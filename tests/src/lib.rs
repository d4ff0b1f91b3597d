//! Tests that span the crates of lowbit: see `tests/`. What they share is [`lowbit::check`].
