//! The hash that identifies a module.

/// The SHA-256 of a module, as a Manifest and a recording identify it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
