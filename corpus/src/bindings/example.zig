//! A till that reads five orders, in Zig; the other examples here are the same
//! program, with the same output and the same calls of the Observe API.
const std = @import("std");
const wasi = std.os.wasi;
const wasmtrace = @import("wasmtrace");

// Says what failed, without the standard library's stack traces.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(message: []const u8, _: ?usize) noreturn {
    print(&.{ message, "\n" });
    @trap();
}

fn print(texts: []const []const u8) void {
    for (texts) |text| {
        const iov = [_]wasi.ciovec_t{.{ .base = text.ptr, .len = text.len }};
        var n: usize = 0;
        _ = wasi.fd_write(1, &iov, 1, &n);
    }
}

const Decimal = struct {
    buffer: [10]u8 = undefined,

    fn text(self: *Decimal, value: usize) []const u8 {
        var at = self.buffer.len;
        var rest: u32 = @intCast(value);
        while (true) {
            at -= 1;
            self.buffer[at] = '0' + @as(u8, @intCast(rest % 10));
            rest /= 10;
            if (rest == 0) return self.buffer[at..];
        }
    }
};

const Problem = error{ @"no quantity", @"not a number", nothing };

/// The quantity after the '='. The span closes at each return.
noinline fn quantity(text: []const u8) Problem!u32 {
    const span = wasmtrace.span("quantity");
    defer span.end();
    const equals = std.mem.indexOfScalar(u8, text, '=') orelse {
        wasmtrace.err("an order without a quantity");
        return error.@"no quantity";
    };
    var n: u32 = 0;
    for (text[equals + 1 ..]) |c| {
        if (c < '0' or c > '9') {
            wasmtrace.warn("a quantity that is not a number");
            return error.@"not a number";
        }
        n = n * 10 + (c - '0');
    }
    return n;
}

const Till = struct {
    total: u32 = 0,

    noinline fn order(self: *Till, text: []const u8) Problem!u32 {
        const span = wasmtrace.span("order");
        defer span.end();
        span.tag("text", text);
        const n = try quantity(text);
        if (n == 0) {
            wasmtrace.info("nothing to sell");
            return error.nothing;
        }
        self.sell(n);
        wasmtrace.count("orders.sold", 1);
        return n;
    }

    noinline fn sell(self: *Till, n: u32) void {
        const span = wasmtrace.span("sell");
        defer span.end();
        self.total += n;
        wasmtrace.histogram("order.quantity", n);
        wasmtrace.trace("sold");
    }

    /// The span is still open when this returns.
    noinline fn openReport(_: *const Till, orders: usize) wasmtrace.Span {
        const span = wasmtrace.span("report");
        span.tag("orders", orders);
        return span;
    }

    noinline fn closeReport(self: *const Till, report: wasmtrace.Span) void {
        wasmtrace.gauge("till.total", self.total);
        report.end();
    }
};

pub fn main() void {
    const orders = [_][]const u8{ "bread=3", "milk", "cake=x", "tea=0", "egg=12" };
    var till: Till = .{};
    var decimal: [2]Decimal = .{ .{}, .{} };

    const day = wasmtrace.span("day");
    defer day.end();
    wasmtrace.tags("app:till,version:1");
    day.tag("opens, at:", "09:30, UTC");
    wasmtrace.debug("open");
    for (orders) |text| {
        const result = if (till.order(text)) |n| decimal[0].text(n) else |problem| @errorName(problem);
        const item = text[0 .. std.mem.indexOfScalar(u8, text, '=') orelse text.len];
        print(&.{ item, ": ", result, "\n" });
    }
    const report = till.openReport(orders.len);
    print(&.{ "total ", decimal[0].text(till.total), " of ", decimal[1].text(orders.len), " orders\n" });
    till.closeReport(report);
}
