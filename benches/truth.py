#!/usr/bin/env python3
"""Compares self times with what the kernel samples of the same program.

What is measured:

  kernel   The module runs as it is, without hooks, under the Python package wasmtime, again and again for --seconds.
           perf samples it with call chains. A sample counts for the WebAssembly function nearest to it: page faults,
           host calls and the runtime's own functions count for the function that caused them.
  report   `wasmtrace record OPTIONS MODULE`, and of it `wasmtrace report --json`: the self time of each function,
           --runs times.

Both are distributions over the functions of the module. The wrong share is half the sum of the absolute differences:
the share of the time that a report puts on the wrong function. One Markdown row a module:

  s/run            seconds of a run without hooks and without perf, median
  samples          samples of the kernel in those runs
  perf/perf        wrong share of every second run's samples against the others'. All samples together are wrong by
                   about half of that: a smaller wrong share says nothing
  wrong share      median of the runs, and least to greatest

Below the table, for each module, the functions with the largest differences in the median run. The kernel counts CPU
time: a module that sleeps or waits has another distribution by the clock. Host code without frame pointers hides which
function called it. If more than 1 % of the samples are there, a line says so; a module that calls the host most of the
time (`writer`) cannot be compared this way.

Needs perf (Debian: linux-perf) that may sample the kernel, which root may, and a Python with the package wasmtime:
`python3 -m venv v && v/bin/pip install wasmtime`, then `v/bin/python benches/truth.py …`. Modules are WASI commands of
20 ms or more; shorter ones are skipped. Nothing else should run on the machine.
"""

import argparse
import bisect
import collections
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

SHORTEST = 0.020  # seconds of a run
FEWEST = 500  # samples
# A prime, so that no loop of the program keeps step with it. A sample costs some 25 µs where the machine is virtual:
# three times as many would slow the program down by a third.
HERTZ = 2999

# The largest number of imports that a hook set adds.
MOST_ADDED = 16

# Rows of the map that wasmtime writes for perf. Of a module without names, those of its functions have this form.
FUNCTION = re.compile(r"wasm\[0\]::function\[(\d+)\]")


# ---- The module.


def read_uleb(data, at):
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def without_custom_sections(wasm):
    """The same module without names and debug information: wasmtime then names functions by their index."""
    kept, at = [wasm[:8]], 8
    while at < len(wasm):
        size, body = read_uleb(wasm, at + 1)
        if wasm[at] != 0:
            kept.append(wasm[at : body + size])
        at = body + size
    return b"".join(kept)


# ---- What the kernel says.


def run_repeatedly(module, seconds, stdin, profiler, args):
    """The part that is a process of its own (see `run`): prints when each run began and ended."""
    import wasmtime

    config = wasmtime.Config()
    config.profiler = profiler
    try:
        config.wasm_exceptions = True
    except (AttributeError, wasmtime.WasmtimeError):
        pass  # an older package; most modules have no exceptions
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    compiled = wasmtime.Module.from_file(engine, module)
    first = time.monotonic()
    while time.monotonic() - first < seconds:
        wasi = wasmtime.WasiConfig()
        wasi.argv = ["module", *args]
        wasi.stdout_file = wasi.stderr_file = os.devnull
        wasi.stdin_file = stdin
        store = wasmtime.Store(engine)
        store.set_wasi(wasi)
        instance = linker.instantiate(store, compiled)
        began = time.monotonic()
        try:
            instance.exports(store)["_start"](store)
        except wasmtime.ExitTrap:
            pass
        print(began, time.monotonic(), flush=True)


@dataclasses.dataclass
class Sampled:
    """Samples of the kernel by function index: those of every second run, and those of the others."""

    halves: tuple
    elsewhere: int  # samples in a run that no function is known for

    def all(self):
        return self.halves[0] + self.halves[1]


class PerfMap:
    """Which function an address is in: /tmp/perf-PID.map, which wasmtime writes."""

    def __init__(self, pid):
        self.rows = []
        path = pathlib.Path(f"/tmp/perf-{pid}.map")
        if path.exists():
            for line in path.read_text().splitlines():
                start, size, name = line.split(" ", 2)
                function = FUNCTION.match(name)
                self.rows.append((int(start, 16), int(size, 16), int(function[1]) if function else None))
            self.rows.sort()
            path.unlink()
        self.starts = [row[0] for row in self.rows]

    def function(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        if at >= 0:
            start, size, function = self.rows[at]
            if address < start + size:
                return function
        return None


def run(module, seconds, options, before=()):
    """When each run of the module began and ended; `before` is the command that runs this one."""
    profiler = "perfmap" if before else "none"
    runner = [sys.executable, __file__, "--run-repeatedly", str(seconds), str(options.stdin or os.devnull), profiler]
    command = [*before, *runner, str(module), *options.arg]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    if done.returncode != 0 or not runs:
        sys.exit(f"truth.py: {module}: {done.stderr.strip()}")
    return runs


def run_seconds(bare, options):
    return statistics.median(end - began for began, end in run(bare, 1, options))


def sample(bare, options, data):
    event = "cpu-clock/max-stack=64/"
    perf = ["perf", "record", "-q", "-k", "mono", "-g", "-e", event, "-F", str(HERTZ), "-o", str(data), "--"]
    return attribute(data, run(bare, options.seconds, options, before=perf))


def attribute(data, runs):
    script = ["perf", "script", "-i", str(data), "-F", "pid,time,ip"]
    text = subprocess.run(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    begins = [began for began, _ in runs]
    halves, elsewhere, maps = (collections.Counter(), collections.Counter()), 0, {}
    for stack in text.split("\n\n"):
        head, *frames = stack.strip("\n").split("\n")
        if not head:
            continue
        pid, when = head.split()[:2]
        nth = bisect.bisect_right(begins, float(when.rstrip(":"))) - 1
        if nth < 0 or float(when.rstrip(":")) > runs[nth][1]:
            continue  # compilation, or between two runs
        if pid not in maps:
            maps[pid] = PerfMap(pid)
        functions = (maps[pid].function(int(frame.split()[0], 16)) for frame in frames if frame.strip())
        nearest = next((function for function in functions if function is not None), None)
        if nearest is None:
            elsewhere += 1
        else:
            halves[nth % 2][nearest] += 1
    return Sampled(halves, elsewhere)


# ---- What wasmtrace says.


def tell(command, **more):
    """The JSON that a command of wasmtrace prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"truth.py: {' '.join(map(str, command))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def names_of(tool, module):
    functions = tell([tool, "ls", "--json", str(module)])["functions"]
    return {f["index"]: f["name"] for f in functions if f.get("rule") != "imported"}


def added_imports(rows, names):
    """A report numbers the functions of the hooked module, where the imports of the hooks stand before the module's own
    functions. So many fit the names best."""
    return max(range(MOST_ADDED), key=lambda added: sum(names.get(r["function"] - added) == r["name"] for r in rows))


def record(tool, module, options, names, folder):
    """Self times in nanoseconds, by function index of the module as it is."""
    trace = folder / "recording.wtrace"
    how = ["--hooks", "none", "--sample"] if options.unhooked else []
    command = [tool, "record", "-o", str(trace), *how, *options.option, str(module), *options.arg]
    with open(options.stdin or os.devnull, "rb") as stdin:
        done = subprocess.run(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode in (2, 125, 134):
        sys.exit(f"truth.py: {' '.join(command)}: {done.stderr.strip()}")
    rows = [row for row in tell([tool, "report", "--json", str(trace)])["functions"] if row.get("function") is not None]
    added = 0 if options.unhooked else added_imports(rows, names)
    times = collections.Counter()
    for row in rows:
        times[row["function"] - added] += row["self_nanos"]
    return times


# ---- Both together.


def shares(counts):
    total = sum(counts.values())
    return {key: count / total for key, count in counts.items()} if total else {}


def differences(ours, truth):
    """Of each function, how much greater its share is in `ours`."""
    ours, truth = shares(ours), shares(truth)
    return {key: ours.get(key, 0) - truth.get(key, 0) for key in ours.keys() | truth.keys()}


def wrong_share(ours, truth):
    return sum(map(abs, differences(ours, truth).values())) / 2


def percent(share):
    return f"{100 * share:.1f} %"


def compare(module, options, folder):
    """The row of a module, and what is said of it below the table. None: it is too short."""
    bare = folder / "bare.wasm"
    bare.write_bytes(without_custom_sections(module.read_bytes()))
    seconds = run_seconds(bare, options)
    if seconds < SHORTEST:
        print(f"truth.py: {module} is skipped: {1000 * seconds:.1f} ms a run", file=sys.stderr)
        return None
    sampled = sample(bare, options, folder / "perf.data")
    truth = sampled.all()
    total = sum(truth.values())
    if total < FEWEST:
        sys.exit(f"truth.py: {module}: {total} samples: may perf sample here?")
    names = names_of(options.wasmtrace, module)
    runs = [record(options.wasmtrace, module, options, names, folder) for _ in range(options.runs)]
    runs.sort(key=lambda times: wrong_share(times, truth))
    wrong = [wrong_share(times, truth) for times in runs]
    median = runs[(len(runs) - 1) // 2]  # a run that was, not the mean of two
    cells = [
        module.stem,
        f"{seconds:.3f}",
        str(total),
        percent(wrong_share(*sampled.halves)),
        f"{percent(wrong_share(median, truth))} ({percent(wrong[0])} to {percent(wrong[-1])})",
    ]
    below = [f"{module.stem}:"]
    if sampled.elsewhere > total / 100:
        share = percent(sampled.elsewhere / (total + sampled.elsewhere))
        below.append(f"- {share} of the samples are left out: host code whose caller is not known")
    ours, kernel = shares(median), shares(truth)
    ranked = sorted(differences(median, truth).items(), key=lambda item: -abs(item[1]))
    for index, difference in ranked[:5]:
        name = names.get(index, f"function {index}")
        pair = f"{percent(ours.get(index, 0))}, kernel {percent(kernel.get(index, 0))}"
        below.append(f"- {100 * difference:+.1f} points: `{name[:90]}`: {pair}")
    return cells, below


def main():
    if sys.argv[1:2] == ["--run-repeatedly"]:
        seconds, stdin, profiler, module, *args = sys.argv[2:]
        run_repeatedly(module, float(seconds), stdin, profiler, args)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wasmtrace", help="the binary")
    parser.add_argument("modules", nargs="+", type=pathlib.Path, metavar="MODULE")
    parser.add_argument("--arg", action="append", default=[], help="an argument of the modules, repeatable")
    parser.add_argument("--stdin", type=pathlib.Path, metavar="FILE", help="standard input of the modules")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="recordings of each module [default: 5]")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="how long perf samples [default: 20]")
    parser.add_argument("--option", action="append", default=[], metavar="OPT", help="an option of record, repeatable")
    parser.add_argument("--unhooked", action="store_true", help="record with --hooks none --sample")
    options = parser.parse_args()
    header = ["module", "s/run", "samples", "perf/perf", f"wrong share of {options.runs} runs"]
    print(f"| {' | '.join(header)} |\n|---|--:|--:|--:|--:|", flush=True)
    notes = []
    for module in options.modules:
        with tempfile.TemporaryDirectory() as folder:
            compared = compare(module, options, pathlib.Path(folder))
        if compared:
            cells, below = compared
            print(f"| {' | '.join(cells)} |", flush=True)
            notes.append("\n".join(below))
    print("\n" + "\n\n".join(notes))


if __name__ == "__main__":
    main()
