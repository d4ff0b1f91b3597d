//! One file a command.

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod convert;
pub(crate) mod emit;
pub(crate) mod explain;
pub(crate) mod pack;
pub(crate) mod quantize;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod source;
pub(crate) mod tune;
