//! Columns of numbers, as the page reads them: little-endian, each beginning at a multiple of 8 bytes.

use serde_json::{Map, Value, json};

/// Columns of numbers, and where each begins.
#[derive(Default)]
pub(crate) struct Columns {
    bytes: Vec<u8>,
    index: Map<String, Value>,
}

impl Columns {
    pub(crate) fn u8(&mut self, name: &str, values: &[u8]) {
        self.column(name, "u8", values.len(), values.iter().copied());
    }

    pub(crate) fn u32(&mut self, name: &str, values: &[u32]) {
        self.column(name, "u32", values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn f64(&mut self, name: &str, values: &[f64]) {
        self.column(name, "f64", values.len(), values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn column(&mut self, name: &str, kind: &str, count: usize, bytes: impl Iterator<Item = u8>) {
        self.index.insert(name.to_owned(), json!([kind, self.bytes.len(), count]));
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// The type, the offset in bytes and the number of values of each column.
    pub(crate) fn index(&self) -> Value {
        Value::Object(self.index.clone())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
