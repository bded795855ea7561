//! The sections that are read, by name.

/// The sections that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(super) enum Name {
    Info,
    Types,
    Abbrev,
    Addr,
    Line,
    Ranges,
    Rnglists,
    Loc,
    Loclists,
    Aranges,
    Frame,
    Macro,
    Str,
    LineStr,
    StrOffsets,
}

pub(super) const NAMES: [(Name, &str); 15] = [
    (Name::Info, ".debug_info"),
    (Name::Types, ".debug_types"),
    (Name::Abbrev, ".debug_abbrev"),
    (Name::Addr, ".debug_addr"),
    (Name::Line, ".debug_line"),
    (Name::Ranges, ".debug_ranges"),
    (Name::Rnglists, ".debug_rnglists"),
    (Name::Loc, ".debug_loc"),
    (Name::Loclists, ".debug_loclists"),
    (Name::Aranges, ".debug_aranges"),
    (Name::Frame, ".debug_frame"),
    (Name::Macro, ".debug_macro"),
    (Name::Str, ".debug_str"),
    (Name::LineStr, ".debug_line_str"),
    (Name::StrOffsets, ".debug_str_offsets"),
];

/// Sections that hold no address and no offset that moves.
pub(super) const STILL: [&str; 2] = [".debug_macinfo", ".debug_gdb_scripts"];

/// The same: where entries of units stand, by name. What is left out of a unit they would still lead to.
pub(super) const INDEXES: [&str; 5] =
    [".debug_names", ".debug_pubnames", ".debug_pubtypes", ".debug_gnu_pubnames", ".debug_gnu_pubtypes"];

impl Name {
    pub(super) fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The place of a section of lists among those.
    pub(super) fn list(self) -> usize {
        self as usize - Name::Ranges as usize
    }
}

/// The sections' data; empty where there is none.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    pub(super) data: [&'a [u8]; NAMES.len()],
}

impl<'a> Sections<'a> {
    pub(super) fn get(&self, name: Name) -> &'a [u8] {
        self.data[name as usize]
    }
}

/// Whether a section of that name is known here; others are copied.
pub(crate) fn is_known(name: &str) -> bool {
    NAMES.iter().any(|(_, known)| *known == name) || STILL.contains(&name) || INDEXES.contains(&name)
}
