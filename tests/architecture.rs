//! What holds for the crates as source: their packages are whole, and the modules of some know each other in no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Crates whose modules know each other in no circle, as docs/architecture.md says. A module may know the one that it is in, and is
/// then no stranger to what that knows.
const WITHOUT_CIRCLES: [&str; 6] = [
    "dermafuse-backbones",
    "dermafuse-data",
    "dermafuse-init",
    "dermafuse-kernels",
    "dermafuse-settings",
    "dermafuse-synthetic",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// The folders of the published crates.
fn crates() -> Vec<PathBuf> {
    let mut crates: Vec<PathBuf> =
        fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    crates.sort();
    crates
}

/// The files below a folder whose name ends so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of_file| of_file == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

/// The texts between `start` and `end`.
fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).filter_map(move |(at, _)| {
        let rest = &text[at + start.len()..];
        Some(&rest[..rest.find(end)?])
    })
}

/// `cargo package` takes what lies in a crate's folder and nothing else.
#[test]
fn a_package_has_every_file_that_its_sources_name() {
    let licence = fs::read_to_string(root().join("LICENSE")).unwrap();
    let mut found = 0;
    for folder in crates() {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let is_cut = manifest.lines().any(|line| line.starts_with("include =") || line.starts_with("exclude ="));
        assert!(!is_cut, "{}: the package is not the whole folder; let this test know of it", folder.display());
        assert!(
            manifest.contains("readme = \"README.md\"") && folder.join("README.md").is_file(),
            "{}",
            folder.display()
        );
        assert_eq!(fs::read_to_string(folder.join("LICENSE")).unwrap(), licence, "{}", folder.display());
        for file in files(&folder, "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let here = file.parent().unwrap();
            for start in ["include_str!(\"", "include_bytes!(\"", "#[path = \""] {
                for name in between(&text, start, '"') {
                    let named = plain(&here.join(name));
                    assert!(named.is_file(), "{}: there is no {}", file.display(), named.display());
                    assert!(named.starts_with(&folder), "{}: {name} is not in the package", file.display());
                    found += 1;
                }
            }
            // What is made of the folder: to the end of the statement or function.
            for (at, _) in text.match_indices("env!(\"CARGO_MANIFEST_DIR\")") {
                let rest = &text[at..];
                let statement = &rest[..rest.find([';', '}']).unwrap_or(rest.len())];
                let is_above = ["..", ".parent()", ".ancestors()"].into_iter().find(|way| statement.contains(way));
                assert_eq!(is_above, None, "{}: {statement} is not in the package", file.display());
                for name in statement.split('"').skip(3).step_by(2).filter(|name| !name.contains('{')) {
                    let named = folder.join(name.trim_start_matches('/'));
                    assert!(named.exists(), "{}: there is no {}", file.display(), named.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found > 40, "{found}");
}

/// Names of modules from the crate's root on; the root itself has none.
type Place = Vec<String>;

/// A file's module: what it declares, what it uses under which name, and what else it names by path.
#[derive(Default)]
struct Module {
    children: Vec<String>,
    uses: Vec<(Place, String)>,
    paths: Vec<Place>,
}

fn words(path: &str) -> Place {
    path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The program of a file, without comments and tests.
fn program(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let whole = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = whole.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of a `use`, each with the name that it gets.
fn used(tree: &str, before: &[String]) -> Vec<(Place, String)> {
    if let Some((head, rest)) = tree.split_once('{') {
        let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
        let here = [before, &words(head.trim())].concat();
        let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
        for (at, letter) in inner.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(&inner[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&inner[start..]);
        return parts.into_iter().filter(|part| !part.trim().is_empty()).flat_map(|part| used(part, &here)).collect();
    }
    let (path, alias) = tree.trim().split_once(" as ").unwrap_or((tree.trim(), ""));
    let mut place = [before, &words(path)].concat();
    if place.len() > 1 && place.last().is_some_and(|last| last == "self") {
        place.pop();
    }
    let name = if alias.is_empty() { place.last().cloned().unwrap_or_default() } else { alias.trim().to_owned() };
    vec![(place, name)]
}

/// What begins a line that declares a module or uses something.
const DECLARING: [&str; 8] = [
    "mod ",
    "pub mod ",
    "pub(crate) mod ",
    "pub(super) mod ",
    "use ",
    "pub use ",
    "pub(crate) use ",
    "pub(super) use ",
];

/// The modules of a crate that are files, by place.
fn modules(source: &Path) -> BTreeMap<Place, Module> {
    let mut modules = BTreeMap::new();
    let mut open = vec![(Place::new(), source.join("lib.rs"))];
    while let Some((place, file)) = open.pop() {
        let mut module = Module::default();
        let mut rest = String::new();
        for statement in program(&file).split_inclusive(';') {
            // What begins a line: attributes, braces and other statements may stand before it.
            let keyword =
                |word: &str| statement.rfind(&format!("\n{word}")).or(statement.starts_with(word).then_some(0));
            let begun = DECLARING.into_iter().find_map(|word| keyword(word).map(|at| (at, word)));
            match begun {
                Some((at, word)) => {
                    rest.push_str(&statement[..at]);
                    let named = statement[at..].trim_start().trim_start_matches(word).trim_end_matches(';');
                    match word.ends_with("mod ") {
                        true => module.children.push(named.trim().to_owned()),
                        false => module.uses.extend(used(&named.replace('\n', " "), &[])),
                    }
                }
                None => rest.push_str(statement),
            }
        }
        module.children.retain(|child| child != "tests");
        let of_path = |letter: char| !letter.is_alphanumeric() && !"_:".contains(letter);
        module.paths = rest.split(of_path).filter(|path| path.contains("::")).map(words).collect();
        let below = match file.file_stem().is_some_and(|stem| stem == "lib" || stem == "mod") {
            true => file.parent().unwrap().to_owned(),
            false => file.with_extension(""),
        };
        for child in &module.children {
            let candidates = [below.join(format!("{child}.rs")), below.join(child).join("mod.rs")];
            let file = candidates.into_iter().find(|file| file.is_file());
            let file = file.unwrap_or_else(|| panic!("{}: there is no file of module {child}", below.display()));
            open.push(([&place[..], std::slice::from_ref(child)].concat(), file));
        }
        modules.insert(place, module);
    }
    modules
}

/// The module that a path leads to from a place: where what it names is written, through every `use`.
fn defined(modules: &BTreeMap<Place, Module>, from: &[String], path: &[String], depth: usize) -> Place {
    let Some((first, rest)) = path.split_first().filter(|_| depth < 16) else { return from.to_owned() };
    let child = [from, &path[..1]].concat();
    match first.as_str() {
        "crate" => return defined(modules, &[], rest, depth + 1),
        "self" => return defined(modules, from, rest, depth + 1),
        "super" => return defined(modules, &from[..from.len().saturating_sub(1)], rest, depth + 1),
        _ if modules.contains_key(&child) => return defined(modules, &child, rest, depth + 1),
        _ => {}
    }
    let module = &modules[from];
    let is_ours = |place: &Place| starts_here(module, place) && place.as_slice() != path;
    match module.uses.iter().find(|(place, name)| name == first && is_ours(place)) {
        Some((place, _)) => defined(modules, from, &[place, rest].concat(), depth + 1),
        None => from.to_owned(),
    }
}

/// Whether a path leads into the crate, and not to another.
fn starts_here(module: &Module, path: &[String]) -> bool {
    path.first()
        .is_some_and(|first| ["crate", "self", "super"].contains(&first.as_str()) || module.children.contains(first))
}

/// For each module with children: which of them know which of their siblings, themselves or by what is in them.
fn siblings(modules: &BTreeMap<Place, Module>) -> BTreeMap<Place, BTreeSet<(String, String)>> {
    let mut known: BTreeMap<Place, BTreeSet<(String, String)>> = BTreeMap::new();
    for (place, module) in modules {
        let paths = module.uses.iter().map(|(path, _)| path).chain(&module.paths);
        for path in paths.filter(|path| starts_here(module, path)) {
            let target = defined(modules, place, path, 0);
            let shared = place.iter().zip(&target).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (place.get(shared), target.get(shared)) {
                known.entry(place[..shared].to_owned()).or_default().insert((one.clone(), other.clone()));
            }
        }
    }
    known
}

/// What is left when those that know nobody who is left are taken away, again and again.
fn circle(mut known: BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    loop {
        let knowing: BTreeSet<String> = known.iter().map(|(one, _)| one.clone()).collect();
        let before = known.len();
        known.retain(|(_, other)| knowing.contains(other));
        if known.len() == before {
            return known;
        }
    }
}

#[test]
fn modules_of_a_crate_know_each_other_in_no_circle() {
    let mut found = 0;
    for name in WITHOUT_CIRCLES {
        for (place, known) in siblings(&modules(&root().join("crates").join(name).join("src"))) {
            found += known.len();
            let circle = circle(known);
            assert!(circle.is_empty(), "{name}, {}: {circle:?}; move what both need below both", place.join("::"));
        }
    }
    assert!(found > 150, "{found}");
}

#[test]
fn a_circle_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    write("lib.rs", "mod a;\nmod b;\nmod c;\n\npub use a::One;\npub use b::deep::{Three, Two as Second};\n");
    write("a.rs", "// use crate::c::Four;\nuse crate::{Second, c};\n\npub struct One(Second, c::Four);\n");
    write("b.rs", "pub(crate) mod deep;\n");
    write("b/deep.rs", "use super::super::c::Four;\n\npub struct Two;\npub struct Three(Four);\n");
    write("c.rs", "pub struct Four;\n\n#[cfg(test)]\nmod tests {\n    use crate::a::One;\n}\n");
    let pairs = |pairs: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    };
    let known = siblings(&modules(folder.path()));
    assert_eq!(known[&Place::new()], pairs(&[("a", "b"), ("a", "c"), ("b", "c")]));
    assert!(circle(known[&Place::new()].clone()).is_empty());

    write("c.rs", "pub struct Four(Option<Box<crate::One>>);\n");
    let known = siblings(&modules(folder.path()));
    assert_eq!(circle(known[&Place::new()].clone()).len(), 4);
}
