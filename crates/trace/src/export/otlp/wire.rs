//! Encodings of OTLP messages. Messages are described once (`otlp.rs`) and written as protobuf or JSON: each field has
//! a number for protobuf and a name for JSON.
//!
//! In OTLP's JSON, ids are lower-case hex, 64-bit integers are strings, and enums are numbers.

use std::io::Write;

use crate::export::json;

/// A field: its protobuf number and its JSON name.
#[derive(Clone, Copy)]
pub(in crate::export) struct Field(pub(in crate::export) u32, pub(in crate::export) &'static str);

/// An encoding of messages. Fields are written in the order of calls. A field with its default value is omitted by not
/// writing it.
pub(in crate::export) trait Wire {
    fn empty() -> Self;
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut Vec<u8>;
    /// Writes a message field.
    fn message(&mut self, field: Field, fill: impl FnOnce(&mut Self));
    /// Writes a repeated message field; `fill` adds elements with [`Wire::item`].
    fn list(&mut self, field: Field, fill: impl FnOnce(&mut Self));
    fn item(&mut self, field: Field, fill: impl FnOnce(&mut Self));
    fn string(&mut self, field: Field, text: &str);
    fn id(&mut self, field: Field, id: &[u8]);
    fn fixed64(&mut self, field: Field, number: u64);
    fn fixed32(&mut self, field: Field, number: u32);
    /// Writes a 64-bit varint.
    fn int64(&mut self, field: Field, number: i64);
    /// Writes a varint of at most 32 bits, an enum or a boolean.
    fn int32(&mut self, field: Field, number: u32);
    fn boolean(&mut self, field: Field, value: bool);
    fn double(&mut self, field: Field, number: f64);
    fn fixed64s(&mut self, field: Field, numbers: &[u64]);
    fn doubles(&mut self, field: Field, numbers: &[f64]);
    /// Writes the outermost message.
    fn whole(&mut self, fill: impl FnOnce(&mut Self));
    /// Adds complete fields or items that another writer of the same encoding wrote.
    fn embed(&mut self, written: &[u8]);
}

/// The protobuf encoding.
pub(in crate::export) struct Proto(Vec<u8>);

const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH: u32 = 2;
const FOUR_BYTES: u32 = 5;

impl Proto {
    #[inline]
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    #[inline]
    fn tag(&mut self, field: Field, kind: u32) {
        self.varint(u64::from(field.0 << 3 | kind));
    }

    fn counted(&mut self, field: Field, bytes: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

impl Wire for Proto {
    fn empty() -> Self {
        Proto(Vec::new())
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn message(&mut self, field: Field, fill: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        // The length is only known afterwards; most messages are shorter than 128 bytes.
        let at = self.0.len();
        self.0.push(0);
        fill(self);
        let length = self.0.len() - at - 1;
        if length < 0x80 {
            self.0[at] = length as u8;
            return;
        }
        let mut prefix = Proto(Vec::with_capacity(5));
        prefix.varint(length as u64);
        self.0.splice(at..=at, prefix.0);
    }

    fn list(&mut self, _: Field, fill: impl FnOnce(&mut Self)) {
        fill(self);
    }

    fn item(&mut self, field: Field, fill: impl FnOnce(&mut Self)) {
        self.message(field, fill);
    }

    fn string(&mut self, field: Field, text: &str) {
        self.counted(field, text.as_bytes());
    }

    fn id(&mut self, field: Field, id: &[u8]) {
        self.counted(field, id);
    }

    fn fixed64(&mut self, field: Field, number: u64) {
        self.tag(field, EIGHT_BYTES);
        self.0.extend(number.to_le_bytes());
    }

    fn fixed32(&mut self, field: Field, number: u32) {
        self.tag(field, FOUR_BYTES);
        self.0.extend(number.to_le_bytes());
    }

    fn int64(&mut self, field: Field, number: i64) {
        self.tag(field, VARINT);
        self.varint(number as u64);
    }

    fn int32(&mut self, field: Field, number: u32) {
        self.tag(field, VARINT);
        self.varint(number.into());
    }

    fn boolean(&mut self, field: Field, value: bool) {
        self.int32(field, value.into());
    }

    fn double(&mut self, field: Field, number: f64) {
        self.fixed64(field, number.to_bits());
    }

    fn fixed64s(&mut self, field: Field, numbers: &[u64]) {
        let packed: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.counted(field, &packed);
    }

    fn doubles(&mut self, field: Field, numbers: &[f64]) {
        let packed: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.counted(field, &packed);
    }

    fn whole(&mut self, fill: impl FnOnce(&mut Self)) {
        fill(self);
    }

    fn embed(&mut self, written: &[u8]) {
        self.0.extend_from_slice(written);
    }
}

/// The JSON encoding.
pub(in crate::export) struct Json(Vec<u8>);

impl Json {
    /// Writes a comma, except before the first field or item.
    fn separate(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[')) {
            self.0.push(b',');
        }
    }

    fn name(&mut self, field: Field) {
        self.separate();
        self.0.push(b'"');
        self.0.extend_from_slice(field.1.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn write(&mut self, field: Field, value: std::fmt::Arguments<'_>) {
        self.name(field);
        self.0.write_fmt(value).expect("writing to memory");
    }

    /// Writes a decimal number without a formatter: this runs twice for each span.
    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
    }

    fn array(&mut self, field: Field, items: impl Iterator<Item = String>) {
        self.write(field, format_args!("[{}]", items.collect::<Vec<_>>().join(",")));
    }
}

impl Wire for Json {
    fn empty() -> Self {
        Json(Vec::new())
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn message(&mut self, field: Field, fill: impl FnOnce(&mut Self)) {
        self.name(field);
        self.0.push(b'{');
        fill(self);
        self.0.push(b'}');
    }

    fn list(&mut self, field: Field, fill: impl FnOnce(&mut Self)) {
        self.name(field);
        self.0.push(b'[');
        fill(self);
        self.0.push(b']');
    }

    fn item(&mut self, _: Field, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.0.push(b'{');
        fill(self);
        self.0.push(b'}');
    }

    fn string(&mut self, field: Field, text: &str) {
        self.write(field, format_args!("{}", json::string(text)));
    }

    fn id(&mut self, field: Field, id: &[u8]) {
        self.name(field);
        self.0.push(b'"');
        // Each span has three ids, and formatting them would take most of the time.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0.extend(id.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
        self.0.push(b'"');
    }

    fn fixed64(&mut self, field: Field, number: u64) {
        self.name(field);
        self.0.push(b'"');
        self.number(number);
        self.0.push(b'"');
    }

    fn fixed32(&mut self, field: Field, number: u32) {
        self.name(field);
        self.number(number.into());
    }

    fn int64(&mut self, field: Field, number: i64) {
        self.write(field, format_args!("\"{number}\""));
    }

    fn int32(&mut self, field: Field, number: u32) {
        self.fixed32(field, number);
    }

    fn boolean(&mut self, field: Field, value: bool) {
        self.write(field, format_args!("{value}"));
    }

    fn double(&mut self, field: Field, number: f64) {
        self.write(field, format_args!("{}", double(number)));
    }

    fn fixed64s(&mut self, field: Field, numbers: &[u64]) {
        self.array(field, numbers.iter().map(|n| format!("\"{n}\"")));
    }

    fn doubles(&mut self, field: Field, numbers: &[f64]) {
        self.array(field, numbers.iter().map(|n| double(*n)));
    }

    fn whole(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.push(b'{');
        fill(self);
        self.0.push(b'}');
    }

    fn embed(&mut self, written: &[u8]) {
        if !written.is_empty() {
            self.separate();
            self.0.extend_from_slice(written);
        }
    }
}

/// NaN and infinities have names in protobuf's JSON.
fn double(number: f64) -> String {
    match number {
        n if n.is_nan() => "\"NaN\"".to_owned(),
        n if n.is_infinite() => format!("\"{}Infinity\"", if n < 0.0 { "-" } else { "" }),
        n => serde_json::Value::from(n).to_string(),
    }
}
