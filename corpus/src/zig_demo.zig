// Shortest paths in a generated graph (Dijkstra with a binary heap), a generic
// comptime sort, tagged unions, error unions with defer and errdefer, optionals
// and a recursive expression tree. Prints with its own small writer.
const std = @import("std");
const wasi = std.os.wasi;

// Says what failed, without the standard library's stack traces.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(message: []const u8, _: ?usize) noreturn {
    print(message);
    print("\n");
    @trap();
}

fn print(text: []const u8) void {
    var done: usize = 0;
    while (done < text.len) {
        const iov = [_]wasi.ciovec_t{.{ .base = text.ptr + done, .len = text.len - done }};
        var n: usize = 0;
        if (wasi.fd_write(1, &iov, 1, &n) != .SUCCESS) return;
        done += n;
    }
}

noinline fn printInt(value: i32) void {
    var buffer: [24]u8 = undefined;
    var at: usize = buffer.len;
    var rest: u32 = @abs(value);
    while (true) {
        at -= 1;
        buffer[at] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) break;
    }
    if (value < 0) {
        at -= 1;
        buffer[at] = '-';
    }
    print(buffer[at..]);
}

fn line(label: []const u8, values: []const i32) void {
    print(label);
    for (values) |v| {
        print(" ");
        printInt(v);
    }
    print("\n");
}

fn Heap(comptime T: type, comptime capacity: usize, comptime less: fn (T, T) bool) type {
    return struct {
        const Self = @This();
        items: [capacity]T = undefined,
        len: usize = 0,

        noinline fn push(self: *Self, item: T) error{Full}!void {
            if (self.len == capacity) return error.Full;
            var i = self.len;
            self.len += 1;
            self.items[i] = item;
            while (i > 0 and less(self.items[i], self.items[(i - 1) / 2])) : (i = (i - 1) / 2) {
                std.mem.swap(T, &self.items[i], &self.items[(i - 1) / 2]);
            }
        }

        noinline fn pop(self: *Self) ?T {
            if (self.len == 0) return null;
            const top = self.items[0];
            self.len -= 1;
            self.items[0] = self.items[self.len];
            var i: usize = 0;
            while (true) {
                var child = 2 * i + 1;
                if (child >= self.len) break;
                if (child + 1 < self.len and less(self.items[child + 1], self.items[child])) child += 1;
                if (!less(self.items[child], self.items[i])) break;
                std.mem.swap(T, &self.items[i], &self.items[child]);
                i = child;
            }
            return top;
        }
    };
}

const nodes = 40;
const Step = struct { node: usize, cost: i32 };

fn cheaper(a: Step, b: Step) bool {
    return if (a.cost != b.cost) a.cost < b.cost else a.node < b.node;
}

const Graph = struct {
    weight: [nodes][nodes]i32,

    fn generate(seed: u32) Graph {
        var g: Graph = .{ .weight = @splat(@splat(0)) };
        var s = seed;
        for (0..nodes) |a| for (0..nodes) |b| {
            s = s *% 1664525 +% 1013904223;
            if (a != b and (s >> 24) % 8 == 0) g.weight[a][b] = @intCast(1 + (s >> 16) % 97);
        };
        return g;
    }

    noinline fn distances(self: *const Graph, from: usize, out: *[nodes]?i32) !usize {
        var heap: Heap(Step, 256, cheaper) = .{};
        var settled: usize = 0;
        out.* = @splat(null);
        try heap.push(.{ .node = from, .cost = 0 });
        while (heap.pop()) |step| {
            if (out[step.node] != null) continue;
            out[step.node] = step.cost;
            settled += 1;
            for (self.weight[step.node], 0..) |w, next| {
                if (w != 0 and out[next] == null) try heap.push(.{ .node = next, .cost = step.cost + w });
            }
        }
        return settled;
    }
};

const Tree = union(enum) {
    number: i32,
    negate: *const Tree,
    pair: struct { op: u8, left: *const Tree, right: *const Tree },

    noinline fn eval(self: *const Tree) error{ DivisionByZero, UnknownOperator }!i32 {
        return switch (self.*) {
            .number => |n| n,
            .negate => |t| -(try t.eval()),
            .pair => |p| {
                const l = try p.left.eval();
                const r = try p.right.eval();
                return switch (p.op) {
                    '+' => l + r,
                    '*' => l * r,
                    '/' => if (r == 0) error.DivisionByZero else @divTrunc(l, r),
                    else => error.UnknownOperator,
                };
            },
        };
    }
};

fn report(label: []const u8, tree: *const Tree) void {
    defer print("\n");
    print(label);
    print(" ");
    if (tree.eval()) |v| printInt(v) else |e| print(@errorName(e));
}

noinline fn sortBy(comptime T: type, items: []T, comptime less: fn (T, T) bool) void {
    if (items.len < 2) return;
    const pivot = items[items.len / 2];
    var i: usize = 0;
    var j: usize = items.len - 1;
    while (true) {
        while (less(items[i], pivot)) i += 1;
        while (less(pivot, items[j])) j -= 1;
        if (i >= j) break;
        std.mem.swap(T, &items[i], &items[j]);
        i += 1;
        j -= 1;
    }
    sortBy(T, items[0..i], less);
    sortBy(T, items[i..], less);
}

fn descending(a: i32, b: i32) bool {
    return a > b;
}

noinline fn fib(n: i32) i32 {
    return if (n < 2) n else fib(n - 1) + fib(n - 2);
}

pub fn main() void {
    run() catch |e| {
        print(@errorName(e));
        wasi.proc_exit(1);
    };
}

noinline fn run() !void {
    const graph = Graph.generate(7);
    var out: [nodes]?i32 = undefined;
    const settled = try graph.distances(0, &out);
    var known: [nodes]i32 = undefined;
    var n: usize = 0;
    for (out) |d| if (d) |v| {
        known[n] = v;
        n += 1;
    };
    line("settled", &.{@intCast(settled)});
    line("distances", known[0..10]);
    sortBy(i32, known[0..n], descending);
    line("furthest", known[0..5]);

    const two: Tree = .{ .number = 2 };
    const seven: Tree = .{ .number = 7 };
    const minus: Tree = .{ .negate = &seven };
    const sum: Tree = .{ .pair = .{ .op = '+', .left = &two, .right = &minus } };
    const product: Tree = .{ .pair = .{ .op = '*', .left = &sum, .right = &sum } };
    const zero: Tree = .{ .number = 0 };
    const bad: Tree = .{ .pair = .{ .op = '/', .left = &product, .right = &zero } };
    const odd: Tree = .{ .pair = .{ .op = '?', .left = &two, .right = &two } };
    report("sum", &sum);
    report("product", &product);
    report("bad", &bad);
    report("odd", &odd);
    line("fib", &.{ fib(10), fib(16) });
}
