//! The order of the house: what the README says of imports is so.

use std::fs;
use std::path::{Path, PathBuf};

// What the linker is told of all tests (`build.rs`) is in it.
use adit as _;

/// The modules of the library in the order of the README's map, the program's
/// own left out.
fn map(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("src/"));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(|place| {
            place
                .trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
        .filter(|name| !["main", "cli", "lib"].contains(&name.as_str()))
        .collect()
}

fn files_below(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(place).expect("a folder") {
        found.extend(files_below(&entry.expect("an entry").path()));
    }
    found
}

/// The modules that a file of this text imports, but for its unit tests.
fn imports(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let name = |text: &str| -> String {
        let text = text.trim_start().chars();
        text.take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // A list of them, which no file of ours nests.
            Some(list) => {
                let list = list.split('}').next().unwrap_or_default();
                found.extend(list.split(',').map(name));
            }
            None => found.push(name(rest)),
        }
    }
    found
}

#[test]
fn imports_run_downwards_in_the_readmes_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    let map = map(&readme);
    let mut missing = Vec::new();
    let mut upward = Vec::new();
    for entry in fs::read_dir(root.join("src")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("text");
        // The last is the benchmarks' way in.
        if ["main", "cli", "lib", "bench_parts"].contains(&name) {
            continue;
        }
        let Some(place) = map.iter().position(|module| module == name) else {
            missing.push(name.to_owned());
            continue;
        };
        for file in files_below(&path) {
            if file.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("text");
            for import in imports(&text) {
                if map.iter().position(|module| *module == import) < Some(place)
                    && map.contains(&import)
                {
                    upward.push(format!("{} imports {import}", file.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in the map: {missing:?}");
    assert!(upward.is_empty(), "{upward:#?}");
    assert!(map.len() > 20, "{map:?}");
}
