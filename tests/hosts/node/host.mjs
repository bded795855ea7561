// A host of hooked modules that is not ours: V8's WebAssembly, Node's WASI, and the contract of docs/abi.md.
//
//   node host.mjs [--report FILE] [--env NAME=VALUE] [--dir HOST=GUEST] [--invoke FUNCTION [--arg NUMBER]] MODULE [ARG …]
//   node host.mjs --report FILE --each MODULE …    calls each export `run…` without arguments, on an instance of its own
//
// The program has our standard input and output, and its exit code is ours (134 if it traps). Its call tree goes to standard
// error, or, with all else that was seen, as JSON to a file.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { WASI } from "node:wasi";

import { Buffer as Recorded, manualApi, observe } from "./hooks.mjs";
import { functionNames } from "./sections.mjs";
import { Tree } from "./tree.mjs";

const EXIT_CODE_OF_A_TRAP = 134;

/**
 * Ends the guest. What JavaScript throws, a guest's `catch_all` catches, so `proc_exit` must not throw; a trap is not caught.
 * (module (func (export "end") unreachable))
 */
const end = new WebAssembly.Instance(
  new WebAssembly.Module(
    Uint8Array.of(
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 7, 1, 3, 0x65, 0x6e, 0x64, 0, 0, 10, 5, 1, 3, 0, 0, 0x0b,
    ),
  ),
).exports.end;

Error.stackTraceLimit = Infinity;

/** The WebAssembly frames of an error, innermost first: `[function, place in the file]`. */
function frames(error) {
  const found = [];
  Error.prepareStackTrace = (_, sites) => sites.map(String);
  const sites = Array.isArray(error.stack) ? error.stack : [];
  Error.prepareStackTrace = undefined;
  for (const site of sites) {
    const frame = /:wasm-function\[(\d+)\]:0x([0-9a-f]+)\)?$/.exec(site);
    if (frame) found.push([Number(frame[1]), parseInt(frame[2], 16)]);
  }
  return found;
}

/** A value by its bits, as far as JavaScript shows them. */
function show(value) {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (value === null) return "null";
  return typeof value === "function" ? "function" : "reference";
}

/** One instance, what it did, and how that ended. */
class Run {
  constructor(module, options) {
    this.module = module;
    this.tree = new Tree(functionNames(module));
    if (options.each) this.tree.events = [];
    this.recorded = new Recorded(module, this.tree);
    this.wasi = new WASI({ version: "preview1", args: options.args, env: options.env, preopens: options.preopens });
    this.exitCode = undefined;
    this.instance = undefined;
  }

  imports() {
    const exports = () => this.instance.exports;
    // The tests' own imports, which shapes may have.
    const thrown = new WebAssembly.Tag({ parameters: ["i32"] });
    const env = {
      ping: (n) => n + 1,
      call_table: (at) => exports().table.get(at)(),
      thrown,
      throw: (n) => {
        throw new WebAssembly.Exception(thrown, [n]);
      },
    };
    const proc_exit = (code) => {
      this.exitCode = code;
      end();
    };
    // Of several vectors the first that is not empty, as wasmtime does it: WASI leaves that to the host, and what is left over
    // makes a libc call again.
    const first = (call) => (fd, vectors, count, done) => {
      const view = new DataView(exports().memory.buffer);
      while (count > 1 && view.getUint32((vectors >>> 0) + 4, true) === 0) {
        vectors += 8;
        count--;
      }
      return call(fd, vectors, Math.min(count, 1), done);
    };
    const { wasiImport } = this.wasi;
    const [fd_read, fd_write] = [first(wasiImport.fd_read), first(wasiImport.fd_write)];
    return {
      env,
      wasi_snapshot_preview1: { ...wasiImport, fd_read, fd_write, proc_exit },
      ...observe(this.tree),
      ...manualApi(this.tree, () => exports().memory),
      ...this.recorded.imports(),
    };
  }

  /** Runs the module: a command's `_start`, or an export of a reactor, or one of anything else. */
  run(name, args) {
    let outcome;
    try {
      this.instance = new WebAssembly.Instance(this.module, this.imports());
      this.recorded.found(this.instance);
      const { exports } = this.instance;
      if (name === undefined) {
        this.wasi.start(this.instance);
        outcome = { returned: [] };
      } else {
        if (exports._initialize) this.wasi.initialize(this.instance);
        const returned = exports[name](...args);
        const values = returned === undefined ? [] : Array.isArray(returned) ? returned : [returned];
        outcome = { returned: values.map(show), state: this.state() };
      }
    } catch (error) {
      outcome = this.ended(error);
    }
    this.recorded.take();
    return { ...outcome, ...this.seen() };
  }

  ended(error) {
    // The innermost frame is that of `end`.
    if (this.exitCode !== undefined) return { exited: this.exitCode, frames: frames(error).slice(1), state: this.state() };
    // Running out of stack is a RangeError of JavaScript's.
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
      return { trapped: error.message, frames: frames(error), state: this.state() };
    }
    if (error instanceof WebAssembly.Exception) return { trapped: "exception", frames: [], state: this.state() };
    return { refused: String(error) };
  }

  /** What is exported besides functions and the buffer. */
  state() {
    const show_all = ([name, item]) => {
      if (name === this.recorded.place?.export) return [];
      if (item instanceof WebAssembly.Global) {
        try {
          return [`${name}: ${show(item.value)}`];
        } catch {
          return []; // of a type that JavaScript has no values for
        }
      }
      if (item instanceof WebAssembly.Memory) {
        return [`${name}: ${createHash("sha256").update(new Uint8Array(item.buffer)).digest("hex")}`];
      }
      return item instanceof WebAssembly.Table ? [`${name}: ${item.length} elements`] : [];
    };
    return this.instance ? Object.entries(this.instance.exports).flatMap(show_all) : [];
  }

  seen() {
    const { open, strayExits, withoutExit, grows, said, events } = this.tree;
    return { tree: [...this.tree.nodes()], open, strayExits, withoutExit, grows, said, events };
  }
}

const { values: given, positionals } = (() => {
  // What stands behind the module is the program's.
  const text = { type: "string" };
  const list = { type: "string", multiple: true };
  const options = { report: text, each: { type: "boolean" }, env: list, dir: list, invoke: text, arg: list };
  const argv = process.argv.slice(2);
  let module = 0;
  while (argv[module]?.startsWith("--")) module += argv[module] === "--each" ? 1 : 2;
  const { values } = parseArgs({ args: argv.slice(0, module), options });
  return { values, positionals: argv.slice(module) };
})();
const [file, ...args] = positionals;
const pairs = (list) => Object.fromEntries((list ?? []).map((pair) => /^([^=]*)=(.*)$/s.exec(pair).slice(1)));
const options = { each: given.each, args: ["program", ...args], env: pairs(given.env), preopens: {} };
for (const [host, guest] of Object.entries(pairs(given.dir))) options.preopens[guest] = host;

/** A number of the type that the exported function takes: `27n` for an i64. */
const argument = (text) => (text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text));

/** What a module comes to, or why it is refused. */
function reported(file, run) {
  try {
    return run(new WebAssembly.Module(readFileSync(file)));
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    return { refused: String(error) };
  }
}

/** Calls each export that is to be run. */
function each(module) {
  const exports = WebAssembly.Module.exports(module).filter((e) => e.kind === "function" && e.name.startsWith("run"));
  return { runs: exports.map(({ name }) => ({ export: name, ...new Run(module, options).run(name, []) })) };
}

if (given.each) {
  writeFileSync(given.report, JSON.stringify(positionals.map((file) => reported(file, each))));
} else {
  const report = reported(file, (module) => {
    const run = new Run(module, options);
    const outcome = run.run(given.invoke, (given.arg ?? []).map(argument));
    if (!given.report) console.error(run.tree.text());
    return outcome;
  });
  if (given.report) {
    writeFileSync(given.report, JSON.stringify(report));
  } else if (report.refused || report.trapped) {
    console.error(report.refused ?? report.trapped);
  }
  process.exitCode = report.refused ? 125 : report.trapped ? EXIT_CODE_OF_A_TRAP : (report.exited ?? 0);
}
