//! The one direction of imports: a module of src/ uses only modules that src/lib.rs lists before it, or beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Groups of `pub mod` lines between blank lines, lowest first.
fn layers() -> BTreeMap<String, usize> {
    let lib = fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let mut layers = BTreeMap::new();
    for (layer, group) in lib.split("\n\n").enumerate() {
        let modules = group.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        layers.extend(modules.map(|module| (module.to_owned(), layer)));
    }
    layers
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules of this crate that a source names: `crate::x` and the first names of `crate::{…}`. Tests may use what
/// they like.
fn used(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(rest.chars().take_while(|c| is_name(*c)).collect());
            continue;
        };
        let (mut depth, mut at_start, mut name) = (1, true, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && is_name(c) && at_start {
                name.push(c);
            } else if !name.is_empty() {
                names.insert(std::mem::take(&mut name));
                at_start = false;
            }
            if depth == 1 && c == ',' {
                at_start = true;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn no_module_uses_one_that_stands_above_it() {
    let layers = layers();
    assert!(layers.len() > 15, "the groups of lib.rs are found: {layers:?}");
    let mut checked = 0;
    for file in files(Path::new(SRC)) {
        let inside = file.strip_prefix(SRC).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let Some(layer) = layers.get(module) else { continue };
        for name in used(&fs::read_to_string(&file).unwrap()) {
            let Some(other) = layers.get(&name) else { continue };
            assert!(other <= layer, "{}: {module} must not use {name}, which stands above it", inside.display());
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} imports found");
}

#[test]
fn sql_redis_http_and_protobuf_stay_in_their_modules() {
    let homes: [(&str, &[&str]); 5] = [
        ("sqlx::", &["counting", "demo"]),
        ("redis::", &["redis_link", "lease", "board", "demo", "app", "cli"]),
        ("proto::v1", &["grpc", "cli", "demo", "proto"]),
        ("std::env", &["config", "demo"]),
        ("reqwest::", &["prometheus"]),
    ];
    for file in files(Path::new(SRC)) {
        let inside = file.strip_prefix(SRC).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let source = fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap();
        for (what, homes) in homes {
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(what));
            assert!(!code || homes.contains(&module), "{}: {what} does not belong here", inside.display());
        }
    }
}
