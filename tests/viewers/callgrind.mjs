// callgrind_annotate of valgrind reads each file, for self costs with callers and callees, and for inclusive costs.
// The tool does not compare a function's costs with the file's totals, and ignores unknown positions: the end does.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArguments, Refusal, report, unusable } from "./report.mjs";

const { files, top } = parseArguments("callgrind.mjs [--top N] FILE...", { top: 200 });

/** What callgrind_annotate prints; its complaints on standard error become warnings. */
function annotate(file, entry, ...options) {
  const all = ["--threshold=100", "--show-percs=no", "--auto=no", ...options, file];
  const { status, stdout, stderr, error } = spawnSync("callgrind_annotate", all, { encoding: "utf8", maxBuffer: 2 ** 30 });
  if (error?.code === "ENOENT") unusable("callgrind_annotate is not installed: run tests/viewers/install.sh");
  const words = stderr.split("\n").filter(Boolean);
  if (status !== 0) throw new Refusal(words.join("; ") || `callgrind_annotate ends with ${status}`);
  for (const line of words) if (!entry.warnings.includes(line)) entry.warnings.push(line);
  return stdout;
}

const count = (word) => (word === "." ? 0 : Number(word.replaceAll(",", "")));

/** `file:function (Nx) [object]` as its parts. */
function named(words) {
  const [, name, calls, object] = /^(.*?)(?: \((\d+)x\))?(?: \[(.*)\])?$/.exec(words);
  const colon = name.indexOf(":");
  return { name: name.slice(colon + 1), file: name.slice(0, colon), object: object || null, calls: calls ? Number(calls) : null };
}

/** One print-out: the events, the program's totals, and rows of `mark`, costs, name. */
function parse(text) {
  const events = /^Events recorded: +(.*?) *$/m.exec(text)[1].split(" ");
  const cost = "(?:\\.|-?[\\d,]+)";
  const row = new RegExp(`^ *((?:${cost} +){${events.length}})(?:([<*>]) +)?(.*?)\\s*$`);
  const costs = (words) => Object.fromEntries(words.trim().split(/ +/).map((word, at) => [events[at], count(word)]));
  const parsed = { events, target: /^Profiled target: +(.*)$/m.exec(text)[1], totals: null, rows: [] };
  for (const line of text.split("\n")) {
    const [, words, mark, name] = row.exec(line) ?? [];
    if (!name) continue;
    if (name.startsWith("PROGRAM TOTALS")) parsed.totals = costs(words);
    else parsed.rows.push({ mark: mark ?? "*", costs: costs(words), ...named(name) });
  }
  return parsed;
}

/** Sorts rows into functions with self costs, callers and callees. In the print-out, callers come before their function. */
function functions(rows) {
  const found = new Map();
  let callers = [];
  let current = null;
  for (const { mark, costs, name, file, object, calls } of rows) {
    if (mark === "<") callers.push({ name, file, calls, costs });
    else if (mark === ">") current.callees.push({ name, file, calls, costs });
    else {
      current = { name, file, object, self: costs, inclusive: null, callers, callees: [] };
      found.set(`${file}:${name}`, current);
      callers = [];
    }
  }
  return found;
}

await report(files, (file, entry) => {
  const { events, target, totals, rows } = parse(annotate(file, entry, "--inclusive=no", "--tree=both"));
  const found = functions(rows);
  const inclusive = functions(parse(annotate(file, entry, "--inclusive=yes", "--tree=none")).rows);
  for (const [key, func] of found) func.inclusive = inclusive.get(key)?.self ?? null;
  const all = [...found.values()];
  const [first] = events;
  all.sort((a, b) => (b.inclusive?.[first] ?? 0) - (a.inclusive?.[first] ?? 0) || (a.name < b.name ? -1 : 1));
  Object.assign(entry, { events, target, totals, functionCount: all.length, functions: all.slice(0, top) });
  for (const event of events) {
    const sum = all.reduce((total, { self }) => total + self[event], 0);
    if (sum !== totals?.[event]) entry.warnings.push(`the functions cost ${sum} ${event}, the total is ${totals?.[event]}`);
  }
  const positions = /^positions:\s*(.*)$/m.exec(readFileSync(file, "latin1"))?.[1] ?? "line";
  const unknown = positions.trim().split(/\s+/).filter((word) => !["line", "instr", "addr"].includes(word));
  if (unknown.length > 0) entry.errors.push(`unknown positions: ${unknown.join(" ")}`);
});
