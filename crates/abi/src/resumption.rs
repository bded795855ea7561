//! Functions that return in order to wait, and are called again to continue.

/// Why one call of a function in the source may be several calls of the WebAssembly function: to wait, the function returns,
/// and it is called again to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resumption {
    /// Go's compiler, for goroutines that wait.
    Go = 1,
    /// Binaryen's pass Asyncify. Emscripten uses it for functions that wait for JavaScript, TinyGo for goroutines.
    Asyncify = 2,
}

impl Resumption {
    /// Decodes a value that was encoded by `as u8`; `None` for 0 and for unknown values.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Resumption::Go, Resumption::Asyncify].into_iter().find(|resumption| *resumption as u8 == byte)
    }

    /// The name in JSON: `go` or `asyncify`.
    pub fn as_str(self) -> &'static str {
        match self {
            Resumption::Go => "go",
            Resumption::Asyncify => "asyncify",
        }
    }
}
