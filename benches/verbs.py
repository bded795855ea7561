#!/usr/bin/env python3
"""What the verbs that read modules cost, beside validation: CPU time and peak memory of whole commands.

    benches/modules.sh && cargo build --release && benches/verbs.py [--rounds N] [--hooks SET] [FILE...]

In each round each command runs once, one after the other. Validation is `wasm-tools validate --features all`, or the command of
--validator, once with the original and once with the hooked module. `verify` is in units of both together; `instrument`, `ls` and
`info` are in units of validating the original. Shown are medians of the ratios of the rounds, and the peak memory without the
files that the command reads.

Needs wasm-tools (`cargo install wasm-tools`). Modules are those of benches/modules.sh unless files are given, which may
be components.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cost(command):
    """CPU seconds and peak memory in bytes of a command, which has to succeed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def row(wasmtrace, validator, file, hooks, rounds, folder):
    hooked = folder / "hooked.wasm"
    validate = lambda module: cost([*validator, module])[0]
    ratios, peaks = {}, {}
    units = []
    for _ in range(rounds):
        instrument = cost([wasmtrace, "instrument", "-q", "--hooks", hooks, file, "-o", hooked])
        original = validate(file)
        both = original + validate(hooked)
        units.append(original)
        verbs = {
            "instrument": (instrument, original),
            "ls": (cost([wasmtrace, "ls", file]), original),
            "info": (cost([wasmtrace, "info", file]), original),
            "verify": (cost([wasmtrace, "verify", file, hooked]), both),
        }
        for verb, ((cpu, peak), unit) in verbs.items():
            ratios.setdefault(verb, []).append(cpu / unit)
            peaks.setdefault(verb, []).append(peak)
    size, hooked_size = file.stat().st_size, hooked.stat().st_size
    read = {"instrument": size, "ls": size, "info": size, "verify": size + hooked_size}
    cells = [
        f"×{statistics.median(ratios[verb]):.2f}, {(statistics.median(peaks[verb]) - read[verb]) / 1e6:+.0f} MB"
        for verb in ratios
    ]
    print(f"| {file.stem} | {size / 1e6:.1f} | {statistics.median(units):.2f} s | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wasmtrace", default=ROOT / "target/release/wasmtrace")
    parser.add_argument("--validator", default="wasm-tools validate --features all", help="default: %(default)s")
    parser.add_argument("--hooks", default="observe", help="the hook set of `instrument`; default: %(default)s")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    files = args.files or sorted((ROOT / "corpus/big/modules").glob("*.wasm"), key=lambda file: file.stat().st_size)
    print("| module | MB | validated | instrument | ls | info | verify |\n|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            row(args.wasmtrace, args.validator.split(), file, args.hooks, args.rounds, pathlib.Path(folder))


if __name__ == "__main__":
    main()
