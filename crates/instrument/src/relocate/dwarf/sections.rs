//! The debug sections that are read, by name.

/// The debug sections that are read.
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

/// Sections without addresses and without offsets that move.
pub(super) const STILL: [&str; 2] = [".debug_macinfo", ".debug_gdb_scripts"];

/// Indexes of entries by name, which contain no addresses. They would still refer to dropped units.
pub(super) const INDEXES: [&str; 5] =
    [".debug_names", ".debug_pubnames", ".debug_pubtypes", ".debug_gnu_pubnames", ".debug_gnu_pubtypes"];

impl Name {
    pub(super) fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The index of a section of lists among the four.
    pub(super) fn list(self) -> usize {
        self as usize - Name::Ranges as usize
    }
}

/// The data of the sections; empty if missing.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    pub(super) data: [&'a [u8]; NAMES.len()],
}

impl<'a> Sections<'a> {
    pub(super) fn get(&self, name: Name) -> &'a [u8] {
        self.data[name as usize]
    }
}

/// Whether a section with that name is known. Others are copied.
pub(crate) fn is_known(name: &str) -> bool {
    NAMES.iter().any(|(_, known)| *known == name) || STILL.contains(&name) || INDEXES.contains(&name)
}
