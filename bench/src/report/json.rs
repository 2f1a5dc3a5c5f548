//! Results as a JSON file.

use std::{fs, io, path::Path};

use super::Results;

const FILE: &str = "results.json";

pub fn write(results: &Results, out: &Path) -> io::Result<()> {
    fs::write(out.join(FILE), serde_json::to_string_pretty(results)?)
}

pub fn read(out: &Path) -> io::Result<Results> {
    Ok(serde_json::from_str(&fs::read_to_string(out.join(FILE))?)?)
}
