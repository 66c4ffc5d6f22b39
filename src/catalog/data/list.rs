//! Lists the files of `endpoints/` for the crate that is built: a new section of the reference is a new file, and no line of code.
#![expect(clippy::print_stdout, reason = "cargo reads it")]

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const FOLDER: &str = "src/catalog/data/endpoints";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/catalog/data/list.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    let mut files = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let file = entry?.file_name().into_string();
        files.push(file.map_err(|name| {
            let name = name.display();
            format!("`{FOLDER}` has `{name}`, which is no name of a table; take it away")
        })?);
    }
    files.sort_unstable();
    let mut tables = String::new();
    for file in files {
        let path = format!(r#"concat!(env!("CARGO_MANIFEST_DIR"), "/{FOLDER}/{file}")"#);
        writeln!(tables, "({file:?}, include_str!({path})),")?;
    }
    let list = Path::new(&env::var("OUT_DIR")?).join("endpoint_tables.rs");
    fs::write(list, format!("&[\n{tables}]"))?;
    Ok(())
}
