//! Sidecar files of a module, which describe its code: a source map, and separated debug information.
//!
//! A module links to them in the custom sections `sourceMappingURL` (ECMA-426, "Linking generated code to source maps")
//! and `external_debug_info` (tool-conventions, "DWARF for WebAssembly"), each with a URL. The library opens no files:
//! the caller passes [`SidecarFiles`] and gets those of the output in [`Rewritten`](crate::rewrite::Rewritten). A
//! source map in a `data:` URL needs no file.
//!
//! If a file is not given, the link to it is removed from the output, with a warning. A file that describes the
//! original would be wrong for the instrumented module, and no reader could detect that.

use crate::warning::{Warned, Warning, WarningKind};
use std::borrow::Cow;

pub use crate::relocate::sourcemap::url::{file_of_url, is_data, url_of_file};

use crate::links::{DEBUG_FILE, LINK_LEFT_OUT, Link, Links, SOURCE_MAP, build_id, named_by};
use crate::module::{Module, id, parse};
use crate::relocate::sourcemap::{SourceMap, url};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::text::{hex, printable};

/// The sidecar files of a module.
#[derive(Debug, Clone, Default)]
pub struct SidecarFiles {
    /// A source map, version 3.
    pub source_map: Option<SidecarFile>,
    /// A module with the debug information and names of this one. It has the same code or, without code, the same
    /// `build_id`.
    pub debug_file: Option<SidecarFile>,
}

/// A sidecar file.
#[derive(Debug, Clone, Default)]
pub struct SidecarFile {
    /// The contents of the file.
    pub bytes: Vec<u8>,
    /// The URL that the output links to. `None` uses the file for labels only, and writes no new file.
    pub new_url: Option<String>,
    /// Whether to ignore a debug file of another module, with a warning instead of an error. For files that the user
    /// did not name.
    pub if_it_fits: bool,
}

/// The parsed sidecar files of a module.
#[derive(Debug, Default)]
pub struct Sidecars<'c> {
    pub(crate) source_map: Option<SourceMap<'c>>,
    source_map_link: Option<Link>,
    pub(crate) debug_file: Option<Module<'c>>,
    debug_file_link: Option<Link>,
    /// One warning for each file that could not be read.
    pub warnings: Vec<Warning>,
}

impl SidecarFiles {
    /// Parses the files. A damaged source map only causes a warning.
    ///
    /// # Errors
    /// [`ErrorKind::Sidecar`] if the debug file does not belong to the module.
    pub fn read(&self, module: &Module<'_>) -> Result<Sidecars<'_>> {
        let mut sidecars = Sidecars::default();
        let length = module.bytes().len();
        let url = named_by(module, SOURCE_MAP);
        let read = match (&self.source_map, url) {
            (Some(given), _) => {
                sidecars.source_map_link = given.new_url.clone().map(Link::Named);
                Some(SourceMap::read(Cow::Borrowed(&given.bytes), length))
            }
            (None, Some(url)) if url::is_data(url) => {
                sidecars.source_map_link = Some(Link::Within);
                Some(SourceMap::read_data(url, length))
            }
            (None, _) => None,
        };
        match read {
            Some(Ok(map)) => sidecars.source_map = Some(map),
            Some(Err(e)) => {
                sidecars.source_map_link = Some(Link::Gone);
                let name = url.map_or_else(String::new, |url| format!(" {}", shown(url)));
                sidecars.warnings.push(Warning::new(
                    WarningKind::Sidecar,
                    format!(
                        "the source map{name} cannot be read ({e}): {LINK_LEFT_OUT}, and lines are not taken from it"
                    ),
                ));
            }
            None => {}
        }
        if let Some(given) = &self.debug_file {
            sidecars.debug_file_link = given.new_url.clone().map(Link::Named);
            let file = parse(&given.bytes).map_err(foreign);
            let file = match file.and_then(|file| belongs(module, &file).map(|()| file)) {
                Err(e) if given.if_it_fits => {
                    sidecars.debug_file_link = Some(Link::Gone);
                    sidecars
                        .warnings
                        .push(Warning::new(WarningKind::Sidecar, format!("{e}: {LINK_LEFT_OUT}, and it is not used")));
                    return Ok(sidecars);
                }
                file => file?,
            };
            if !file.sections().iter().any(|s| s.name.is_some_and(|name| name == "name" || name.starts_with(".debug_")))
            {
                sidecars.warnings.push(Warning::new(
                    WarningKind::Sidecar,
                    "the debug file contains neither debug information nor names".to_owned(),
                ));
            }
            sidecars.debug_file = Some(file);
        }
        Ok(sidecars)
    }
}

impl Sidecars<'_> {
    /// The links of the output.
    pub(crate) fn links(&self, module: &Module<'_>) -> Warned<Links> {
        let mut warnings = Vec::new();
        let mut link = |section, what: &str, given: bool, link: &Option<Link>| {
            if let Some(link) = link {
                return link.clone();
            }
            if module.custom(section).is_some() {
                let url = named_by(module, section).map_or_else(String::new, |url| format!(" {}", shown(url)));
                let why = if given { "is not written to a file" } else { "is not available" };
                warnings.push(Warning::new(WarningKind::Link, format!("the {what}{url} {why}; {LINK_LEFT_OUT}")));
            }
            Link::Gone
        };
        let links = Links {
            source_map: link(SOURCE_MAP, "source map", self.source_map.is_some(), &self.source_map_link),
            debug_file: link(DEBUG_FILE, "debug file", self.debug_file.is_some(), &self.debug_file_link),
        };
        Warned { value: links, warnings }
    }
}

/// A URL for display, truncated to 80 characters: it may contain a whole file.
fn shown(url: &str) -> String {
    let short: String = url.chars().take(80).collect();
    let more = if short.len() < url.len() { "…" } else { "" };
    format!("{}{more}", printable(&short))
}

/// The error for a file that is not this module's debug file.
fn foreign(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Sidecar, format!("the debug file does not belong to the module: {why}"))
}

/// Checks that `file` describes the code of `module`. Its addresses are offsets in that code, so the file of another
/// build would be wrong for every function.
///
/// # Errors
/// [`ErrorKind::Sidecar`] if it does not, or if that cannot be shown.
fn belongs(module: &Module<'_>, file: &Module<'_>) -> Result<()> {
    let ids = (build_id(module), build_id(file));
    if let (Some(id), Some(other)) = ids
        && id != other
    {
        return Err(foreign(format!("its build_id is {}, not {}", hex(other), hex(id))));
    }
    let bodies = |module: &Module<'_>| {
        let start = module.section(id::CODE).map_or(0, |code| code.contents.start);
        module
            .defined_funcs()
            .map(|func| (module.body(func).start - start, module.body(func).len()))
            .collect::<Vec<_>>()
    };
    match (module.section(id::CODE), file.section(id::CODE)) {
        (_, None) if matches!(ids, (Some(_), Some(_))) => Ok(()),
        (_, None) => Err(foreign("it has no code, and the two do not share a build_id")),
        (Some(_), Some(_)) => {
            let (own, other) = (bodies(module), bodies(file));
            if own.len() != other.len() {
                return Err(foreign(format!("it has {} functions, not {}", other.len(), own.len())));
            }
            if let Some(first) = own.iter().zip(&other).position(|(own, other)| own != other) {
                return Err(foreign(format!("function {first} of its code differs in offset or size")));
            }
            // Another build may have functions of the same sizes at the same offsets.
            let mut funcs = module.defined_funcs().zip(file.defined_funcs());
            let same = |own, other| module.bytes()[module.body(own)] == file.bytes()[file.body(other)];
            match funcs.position(|(own, other)| !same(own, other)) {
                Some(first) => Err(foreign(format!("function {first} of its code has other instructions"))),
                None => Ok(()),
            }
        }
        (None, Some(_)) => Err(foreign("the module has no code")),
    }
}
