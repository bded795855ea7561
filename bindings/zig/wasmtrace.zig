//! Spans, tags, metrics and logs from inside a WebAssembly module, over the
//! Observe API (`dylibso:observe/api`).
//!
//!     const wasmtrace = @import("wasmtrace.zig");
//!
//!     fn load(path: []const u8) !void {
//!         const span = wasmtrace.span("load");
//!         defer span.end();
//!         span.tag("path", path);
//!         if (path.len == 0) return error.NoPath;
//!         wasmtrace.count("files.loaded", 1);
//!     }
//!
//! Anywhere but on wasm, or with `pub const wasmtrace_off = true;` in the root
//! source file, everything is a no-op. A module imports only the functions it
//! uses, and then its host must have them. Text is UTF-8 (some hosts trap on
//! anything else). Tags and metrics are written into a buffer of `max_line`
//! bytes on the stack: what does not fit is cut off, at a whole character.
//!
//! Licence: MIT OR Apache-2.0

const builtin = @import("builtin");
const root = @import("root");
const wasmtrace = @This();

/// Whether the calls reach a host.
pub const on = builtin.target.cpu.arch.isWasm() and !(@hasDecl(root, "wasmtrace_off") and root.wasmtrace_off);

/// Bytes of one line of tags or of statsd.
pub const max_line = 512;

const api = struct {
    extern "dylibso:observe/api" fn @"span-enter"(name: [*]const u8, len: u32) void;
    extern "dylibso:observe/api" fn @"span-exit"() void;
    extern "dylibso:observe/api" fn @"span-tags"(tags: [*]const u8, len: u32) void;
    extern "dylibso:observe/api" fn metric(format: u32, line: [*]const u8, len: u32) void;
    extern "dylibso:observe/api" fn log(level: u32, message: [*]const u8, len: u32) void;
};

/// An open span; `end` it in the reverse order of opening, best by `defer`.
pub const Span = struct {
    /// Closes the innermost open span: this one, if those inside have ended.
    pub inline fn end(_: Span) void {
        if (on) api.@"span-exit"();
    }

    /// Tags the innermost open span: this one, if those inside have ended.
    pub inline fn tag(_: Span, key: []const u8, value: anytype) void {
        wasmtrace.tag(key, value);
    }
};

/// Opens a span. Nothing that opens or closes one is a function of its own:
/// automatic instrumentation would make it a span too.
pub inline fn span(name: []const u8) Span {
    if (on) api.@"span-enter"(name.ptr, @intCast(name.len));
    return .{};
}

/// One tag of the innermost open span: text, a whole number or a bool. A `,`,
/// and a `:` in the key, becomes `_`.
pub inline fn tag(key: []const u8, value: anytype) void {
    if (!on) return;
    switch (@typeInfo(@TypeOf(value))) {
        .bool => tagText(key, if (value) "true" else "false"),
        .int, .comptime_int => tagInt(key, value),
        else => tagText(key, value),
    }
}

/// Several tags, ready to send: `key:value,key:value`.
pub inline fn tags(text: []const u8) void {
    if (on) api.@"span-tags"(text.ptr, @intCast(text.len));
}

/// One line of statsd as it is: `load:0.75|g`.
pub inline fn metric(line: []const u8) void {
    if (on) api.metric(1, line.ptr, @intCast(line.len));
}

/// Adds to a counter.
pub inline fn count(name: []const u8, by: i64) void {
    if (on) metricInt(name, by, "c");
}

/// Sets a gauge; statsd reads a negative value as a change of it.
pub inline fn gauge(name: []const u8, value: i64) void {
    if (on) metricInt(name, value, "g");
}

/// Adds a value to a distribution.
pub inline fn histogram(name: []const u8, value: i64) void {
    if (on) metricInt(name, value, "h");
}

/// Adds a duration in milliseconds to a distribution.
pub inline fn timing(name: []const u8, milliseconds: i64) void {
    if (on) metricInt(name, milliseconds, "ms");
}

/// The hosts of the Observe SDK know no `trace`; the Rust one traps.
pub const Level = enum { err, warn, info, debug, trace };

pub inline fn log(level: Level, message: []const u8) void {
    const number: u32 = switch (level) {
        .err => 1,
        .warn => 2,
        .info => 3,
        .debug => 4,
        .trace => 5,
    };
    if (on) api.log(number, message.ptr, @intCast(message.len));
}

pub inline fn err(message: []const u8) void {
    log(.err, message);
}
pub inline fn warn(message: []const u8) void {
    log(.warn, message);
}
pub inline fn info(message: []const u8) void {
    log(.info, message);
}
pub inline fn debug(message: []const u8) void {
    log(.debug, message);
}
pub inline fn trace(message: []const u8) void {
    log(.trace, message);
}

fn tagText(key: []const u8, value: []const u8) void {
    var line: Line = .{};
    line.add(key, max_line / 2, ",:");
    line.add(":", max_line, "");
    line.add(value, max_line, ",");
    tags(line.text());
}

fn tagInt(key: []const u8, value: i64) void {
    var line: Line = .{};
    line.addInt(value);
    tagText(key, line.text());
}

fn metricInt(name: []const u8, value: i64, kind: []const u8) void {
    var line: Line = .{};
    line.add(name, max_line - 32, ":|\n");
    line.add(":", max_line, "");
    line.addInt(value);
    line.add("|", max_line, "");
    line.add(kind, max_line, "");
    metric(line.text());
}

/// Where a line is put together.
const Line = struct {
    buffer: [max_line]u8 = undefined,
    len: usize = 0,

    fn text(self: *const Line) []const u8 {
        return self.buffer[0..self.len];
    }

    /// Appends a text, up to the length `end` of the whole line; the characters
    /// of `not_in_it` become `_`.
    fn add(self: *Line, from: []const u8, end: usize, not_in_it: []const u8) void {
        var n = @min(from.len, end - self.len);
        // not within a UTF-8 character
        while (n > 0 and n < from.len and from[n] & 0xC0 == 0x80) n -= 1;
        for (from[0..n]) |c| {
            self.buffer[self.len] = for (not_in_it) |bad| {
                if (c == bad) break '_';
            } else c;
            self.len += 1;
        }
    }

    fn addInt(self: *Line, value: i64) void {
        var digits: [20]u8 = undefined;
        var at = digits.len;
        var rest = @abs(value);
        while (true) {
            at -= 1;
            digits[at] = '0' + @as(u8, @intCast(rest % 10));
            rest /= 10;
            if (rest == 0) break;
        }
        if (value < 0) self.add("-", max_line, "");
        self.add(digits[at..], max_line, "");
    }
};
