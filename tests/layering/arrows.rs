//! Files below `src/` and which of them import from which; circles among them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, code, sources};

/// A module's path from the root of the crate on.
type ModulePath = Vec<String>;

/// A path that a file names.
#[derive(Clone, Debug)]
struct Named {
    path: ModulePath,
    /// As what the file knows it: the last part, or what stands after `as`; empty for `*`.
    known_as: String,
}

struct Module {
    /// From `src/` on.
    file: String,
    /// A `mod.rs` or `lib.rs`: it holds nothing of its own, so an arrow to it goes on to the file that it names.
    is_facade: bool,
    code: String,
    imports: Vec<Named>,
    /// Paths amid the code.
    inline: Vec<Named>,
}

struct Graph(BTreeMap<ModulePath, Module>);

/// From each file to the files that it imports from, with the path by which it does.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The word that the text begins with.
fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_ident(c)).unwrap_or(text.len())]
}

/// Reads one path, or a tree of paths in braces, off the front of the text; returns what follows it.
fn read_tree<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Named>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let after = read_tree(rest, prefix, found);
            if after.len() == rest.len() {
                return after;
            }
            rest = after;
        }
    }
    if let Some(rest) = text.strip_prefix('*') {
        found.push(Named { path: prefix.to_vec(), known_as: String::new() });
        return rest;
    }
    let first = word(text);
    if first.is_empty() {
        return text;
    }
    let mut path = prefix.to_vec();
    if first != "self" || prefix.is_empty() {
        path.push(first.to_owned());
    }
    let rest = &text[first.len()..];
    match rest.strip_prefix("::") {
        Some(more) if more.starts_with(|c| is_ident(c) || c == '{' || c == '*') => read_tree(more, &path, found),
        _ => {
            let renamed = rest.strip_prefix(" as ").map(word);
            let known_as = renamed.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
            found.push(Named { path, known_as });
            &rest[renamed.map_or(0, |name| " as ".len() + name.len())..]
        }
    }
}

/// Where the modules that stand within a file begin and end, by the offsets of their lines.
fn modules_within(code: &str) -> Vec<(usize, Vec<&str>)> {
    let (mut open, mut changes, mut offset) = (Vec::<(&str, &str)>::new(), Vec::new(), 0);
    for line in code.split_inclusive('\n') {
        let item = line.trim();
        let indent = &line[..line.len() - line.trim_start().len()];
        let name = item.split("mod ").nth(1).and_then(|name| name.strip_suffix(" {"));
        if let Some(name) = name.filter(|name| name.chars().all(is_ident) && !item.contains('"')) {
            open.push((indent, name));
        } else if item == "}" && open.last().is_some_and(|(of, _)| *of == indent) {
            open.pop();
        } else {
            offset += line.len();
            continue;
        }
        changes.push((offset, open.iter().map(|(_, name)| *name).collect()));
        offset += line.len();
    }
    changes
}

impl Graph {
    fn of(sources: &[Source]) -> Self {
        let mut modules = BTreeMap::new();
        for Source { path, code, .. } in sources {
            let file = path.to_string_lossy().replace('\\', "/");
            let mut at: ModulePath = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            let is_facade = at.last().is_some_and(|last| last == "mod" || last == "lib");
            if is_facade {
                at.pop();
            }
            let code = code.clone();
            modules.insert(at, Module { file, is_facade, code, imports: Vec::new(), inline: Vec::new() });
        }
        let known: BTreeSet<_> = modules.keys().cloned().collect();
        for (at, module) in &mut modules {
            read_module(at, module, &known);
        }
        Self(modules)
    }

    /// The module that defines what the path names, or the facade that it names.
    fn resolve(&self, path: &[String], depth: usize) -> Option<ModulePath> {
        let mut at = ModulePath::new();
        for (i, name) in path.iter().enumerate() {
            let mut below = at.clone();
            below.push(name.clone());
            if self.0.contains_key(&below) {
                at = below;
                continue;
            }
            let module = self.0.get(&at)?;
            if !module.is_facade {
                return Some(at);
            }
            if depth == 0 {
                return None;
            }
            let mut target = module.imports.iter().find_map(|import| self.exported(import, name, depth - 1))?;
            if !self.0[&target].is_facade {
                return Some(target);
            }
            target.extend_from_slice(&path[i + 1..]);
            return self.resolve(&target, depth - 1);
        }
        Some(at)
    }

    /// Where a name comes from that this line of a facade may have brought in.
    fn exported(&self, import: &Named, name: &str, depth: usize) -> Option<ModulePath> {
        if import.known_as == name {
            return self.resolve(&import.path, depth);
        }
        let target = import.known_as.is_empty().then(|| self.resolve(&import.path, depth))??;
        let module = &self.0[&target];
        if module.is_facade {
            return module.imports.iter().find_map(|import| self.exported(import, name, depth.checked_sub(1)?));
        }
        let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static"];
        let defines = |kind: &str| {
            module.code.match_indices(&format!("{kind} {name}")).any(|(i, found)| {
                let rest = &module.code[i + found.len()..];
                !rest.starts_with(is_ident)
            })
        };
        kinds.iter().any(|kind| defines(kind)).then_some(target)
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for module in self.0.values().filter(|module| !module.is_facade) {
            let from = arrows.entry(module.file.clone()).or_default();
            let mut add = |path: &[String]| {
                let target = self.resolve(path, 16).map(|target| &self.0[&target]);
                if let Some(target) = target.filter(|target| !target.is_facade && target.file != module.file) {
                    from.entry(target.file.clone()).or_insert_with(|| path.join("::"));
                }
            };
            for named in module.imports.iter().chain(&module.inline) {
                add(&named.path);
                let Some(at) = self.resolve(&named.path, 16).filter(|at| self.0[at].is_facade) else {
                    continue;
                };
                // A whole facade: what counts is what the file names of it.
                if named.known_as.is_empty() {
                    for export in &self.0[&at].imports {
                        if words(&module.code).any(|word| word == export.known_as) {
                            add(&export.path);
                        }
                    }
                } else {
                    for item in below(&module.code, &named.known_as) {
                        add(&[&at[..], &item.path[1..]].concat());
                    }
                }
            }
        }
        arrows
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_ident(c)).filter(|word| !word.is_empty())
}

/// The paths amid the code that begin with this word.
fn below(code: &str, root: &str) -> Vec<Named> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        if !code[..at].ends_with(|c| is_ident(c) || c == ':' || c == '$') {
            read_tree(&code[at..], &[], &mut found);
        }
    }
    found
}

fn read_module(at: &[String], module: &mut Module, known: &BTreeSet<ModulePath>) {
    let within = modules_within(&module.code);
    // Says where a path leads that stands at this offset; `None`: out of the crate.
    let absolute = |offset: usize, named: Named| -> Option<Named> {
        let inner = within.partition_point(|(begin, _)| *begin <= offset).checked_sub(1).map(|i| &within[i].1);
        let mut here = at.to_vec();
        here.extend(inner.into_iter().flatten().map(|name| (*name).to_owned()));
        let mut rest = &named.path[..];
        match rest.first().map(String::as_str) {
            Some("crate") => {
                here.clear();
                rest = &rest[1..];
            }
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while let Some((_, more)) = rest.split_first().filter(|(first, _)| *first == "super") {
                    here.pop();
                    rest = more;
                }
            }
            Some(child) => {
                let below = [&here[..], &[child.to_owned()]].concat();
                known.contains(&below).then_some(())?;
            }
            None => return None,
        }
        Some(Named { path: [&here[..], rest].concat(), known_as: named.known_as })
    };
    let mut offset = 0;
    for line in module.code.split_inclusive('\n') {
        let item = line.trim_start();
        let import = item.strip_prefix("pub").map_or(item, |rest| {
            let within = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            within.map_or(rest, |(_, rest)| rest).trim_start()
        });
        if let Some(tree) = import.strip_prefix("use ") {
            let start = offset + line.len() - tree.len();
            let mut found = Vec::new();
            read_tree(&module.code[start..], &[], &mut found);
            module.imports.extend(found.into_iter().filter_map(|named| absolute(offset, named)));
        }
        offset += line.len();
    }
    for root in ["crate", "super", "self"] {
        for (at, _) in module.code.match_indices(&format!("{root}::")) {
            if !module.code[..at].ends_with(|c| is_ident(c) || c == ':' || c == '$') {
                let mut found = Vec::new();
                read_tree(&module.code[at..], &[], &mut found);
                module.inline.extend(found.into_iter().filter_map(|named| absolute(at, named)));
            }
        }
    }
}

/// The groups of files that all lead to one another.
fn circles(arrows: &Arrows) -> Vec<Vec<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|start| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start.as_str()]);
            while let Some(file) = next.pop() {
                next.extend(arrows[file].keys().map(String::as_str).filter(|to| seen.insert(*to)));
            }
            (start.as_str(), seen)
        })
        .collect();
    let circle = |file: &str| -> Vec<&str> {
        let back = |other: &&str| reached[*other].contains(file);
        reached[file].iter().copied().filter(back).collect()
    };
    let circles = arrows.keys().map(|file| circle(file)).filter(|circle| circle.len() > 1);
    circles.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The circle with its arrows, a line for each.
fn describe(circle: &[&str], arrows: &Arrows) -> String {
    let mut text = format!("{} files import from one another:\n", circle.len());
    for from in circle {
        for (to, path) in arrows[*from].iter().filter(|(to, _)| circle.contains(&to.as_str())) {
            text += &format!("  {from} -> {to} ({path})\n");
        }
    }
    text
}

#[test]
fn no_files_import_from_one_another_in_a_circle() {
    let arrows = Graph::of(&sources()).arrows();
    let report: String = circles(&arrows).iter().map(|circle| describe(circle, &arrows)).collect();
    assert!(report.is_empty(), "{report}");
}

fn made_up(files: &[(&str, &str)]) -> Arrows {
    let source = |(path, text): &(&str, &str)| Source { path: path.into(), module: String::new(), code: code(text) };
    Graph::of(&files.iter().map(source).collect::<Vec<_>>()).arrows()
}

#[test]
fn a_circle_through_a_facade_is_found() {
    let files = [
        ("lib.rs", "mod low;\nmod high;\npub use high::Handle;\n"),
        (
            "low/mod.rs",
            "mod cell;\nmod word;\n\npub(crate) use cell::{Cell, Info as Known};\npub(in crate::low) use word::*;\n",
        ),
        ("low/cell.rs", "use super::word::Word;\npub(crate) struct Cell;\npub(crate) struct Info;\n"),
        ("low/word.rs", "pub(crate) struct Word;\nfn f() {\n    crate::high::upgrade();\n}\n"),
        ("high/mod.rs", "mod handle;\nmod other;\npub use handle::{\n    Handle,\n    upgrade,\n};\n"),
        ("high/handle.rs", "use crate::low::{Known, Word};\npub struct Handle;\npub fn upgrade() {}\n"),
        ("high/other.rs", "use super::handle;\nuse crate::low;\nfn f() -> low::Cell {\n    handle::upgrade()\n}\n"),
    ];
    let arrows = made_up(&files);
    assert_eq!(circles(&arrows), [["high/handle.rs", "low/cell.rs", "low/word.rs"]]);
    assert_eq!(arrows["high/other.rs"].keys().collect::<Vec<_>>(), ["high/handle.rs", "low/cell.rs"]);
    assert!(describe(&["low/word.rs", "high/handle.rs"], &arrows).contains("low/word.rs -> high/handle.rs"));
}

#[test]
fn comments_inner_modules_and_tests_at_the_end_make_no_circle() {
    let files = [
        ("a.rs", "use crate::b::B;\nmod sealed {\n    use super::A;\n}\nstruct A;\n"),
        ("b.rs", "// crate::a::A\nstruct B;\n\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
        ("lib.rs", "mod a;\nmod b;\n"),
    ];
    assert!(circles(&made_up(&files)).is_empty());
}
