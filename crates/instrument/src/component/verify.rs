//! stub
use wasmtrace_abi::error::Result;
pub struct VerifiedComponent {
    pub hooked: usize,
}
pub fn verify(_o: &[u8], _h: &[u8]) -> Result<VerifiedComponent> {
    Ok(VerifiedComponent { hooked: 1 })
}
