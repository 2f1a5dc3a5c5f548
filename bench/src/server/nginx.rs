//! nginx with the nchan module, if it is installed. It is published to through HTTP, which is its only way; what that costs
//! is in its CPU time, and makes its events dearer than a publish inside the process.

use std::{io, path::Path};

use super::Settings;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub fn is_there() -> bool {
    Path::new(MODULE).exists()
}

pub fn run(_: Settings) -> io::Result<()> {
    Err(io::Error::other("not written yet"))
}
