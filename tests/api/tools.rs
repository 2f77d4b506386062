//! Programs that are not ours. CI has them all; elsewhere a test without its program says so and is skipped.

use std::{env, path::PathBuf};

/// Of the PATH, or what `make tools` installed.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let own = own("bin").join(name);
    found(name, env::split_paths(&path).map(|dir| dir.join(name)).chain([own]).find(|file| file.is_file()))
}

/// The Python that has what `make tools` installed for it.
pub fn python() -> Option<PathBuf> {
    found("the Python of .tools/venv", Some(own("venv/bin/python")).filter(|file| file.is_file()))
}

/// The newest PostgreSQL there is, which `make tools` unpacked: its directory.
pub fn newest_postgres() -> Option<PathBuf> {
    let dir = own("servers/postgresql-18");
    found("PostgreSQL 18", Some(dir).filter(|dir| dir.join("bin/postgres").is_file()))
}

fn own(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), ".tools", path].iter().collect()
}

fn found(what: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    if found.is_none() {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{what} is missing: run `make tools`");
        println!("skipped: {what} is missing: run `make tools`");
    }
    found
}
