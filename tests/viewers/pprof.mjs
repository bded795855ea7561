// Go's pprof reads each file, and the npm package pprof-format decodes it as a second opinion.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { gunzipSync } from "node:zlib";
import { installed, load, parseArguments, Refusal, report } from "./report.mjs";

const { files, top } = parseArguments("pprof.mjs [--top N] FILE...", { top: 200 });
const program = installed("bin", "pprof");
const { Profile } = load("pprof-format");

/** What pprof prints; its complaints on standard error become warnings. */
function pprof(file, entry, ...options) {
  const { status, stdout, stderr } = spawnSync(program, ["-symbolize=none", ...options, file], {
    encoding: "utf8",
    maxBuffer: 2 ** 30,
    env: { ...process.env, PPROF_TMPDIR: os.tmpdir(), PPROF_BINARY_PATH: "" },
  });
  // The first of these lines is about disassembly, for which a profile of wasm has no program.
  const words = stderr.split("\n").filter((line) => line && !/^Main binary filename not available/.test(line));
  if (status !== 0) throw new Refusal(words.join("; ") || `pprof ends with ${status}`);
  for (const line of words) if (!entry.warnings.includes(line)) entry.warnings.push(line);
  return stdout;
}

/** `-raw`: sample types with units, the header's times, and the lines of samples, locations, mappings. */
function raw(text) {
  const sections = { header: [] };
  let section = sections.header;
  for (const line of text.split("\n")) {
    if (/^(Samples|Locations|Mappings):?$/.test(line)) section = sections[line.replace(":", "").toLowerCase()] = [];
    else if (line) section.push(line);
  }
  const field = (name) => sections.header.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim() ?? null;
  const samples = sections.samples ?? [];
  const types = (samples.shift() ?? "").trim().split(/\s+/).filter(Boolean);
  return {
    sampleTypes: types.map((word) => {
      const [, type, unit, isDefault] = /^(.*?)\/(.*?)(\[dflt\])?$/.exec(word);
      return { type, unit, default: !!isDefault };
    }),
    time: field("Time"),
    duration: field("Duration"),
    comments: sections.header.filter((line) => line.startsWith("Comment: ")).map((line) => line.slice(9)),
    samples: samples.filter((line) => /^\s*-?\d.*:/.test(line)).length,
    locations: (sections.locations ?? []).filter((line) => /^\s*\d+: 0x/.test(line)).length,
    mappings: (sections.mappings ?? []).length,
  };
}

/** A value of `-top` in the unit of its sample type. */
const number = (word) => Number(/^-?[\d.]+(e[+-]?\d+)?/.exec(word)?.[0]);

/** `-top`: the total, and each entry's flat and cumulated values. */
function topTable(text) {
  const [, total] = /^Showing nodes accounting for .* of (\S+) total$/m.exec(text) ?? [];
  const entries = [];
  for (const line of text.split("\n")) {
    const row = /^\s*(-?[\d.]\S*)\s+\S+%\s+\S+%\s+(-?[\d.]\S*)\s+\S+%\s\s(.*)$/.exec(line);
    const zeros = row ?? /^\s*(0)\s+0%\s+\S+%\s+(-?[\d.]\S*)\s+\S+%\s\s(.*)$/.exec(line);
    if (zeros) entries.push({ name: zeros[3], flat: number(zeros[1]), cum: number(zeros[2]) });
  }
  return { total: number(total ?? "0"), entries };
}

/** Splits `name file:line` of `-lines`. */
function withLine({ name, flat, cum }) {
  const [, func, file, line] = /^(.*) (\S+):(\d+)(?: \(inline\))?$/.exec(name) ?? [null, name, null, null];
  return { name: func, file, line: line === null ? null : Number(line), flat, cum };
}

/** The same file through pprof-format, with a check of what its strings and ids refer to. */
function decode(file) {
  const bytes = readFileSync(file);
  const profile = Profile.decode(bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes);
  const { strings } = profile.stringTable;
  const string = (index) => {
    if (strings[Number(index)] === undefined) throw new Refusal(`pprof-format: there is no string ${index}`);
    return strings[Number(index)];
  };
  if (strings[0] !== "") throw new Refusal("pprof-format: string 0 is not empty");
  const functions = new Map(profile.function.map((func) => [Number(func.id), func]));
  const locations = new Set(profile.location.map(({ id }) => Number(id)));
  for (const { line } of profile.location) {
    for (const { functionId } of line) {
      if (!functions.has(Number(functionId))) throw new Refusal(`pprof-format: there is no function ${functionId}`);
    }
  }
  const totals = profile.sampleType.map(() => 0n);
  for (const { locationId, value, label } of profile.sample) {
    for (const id of locationId) if (!locations.has(Number(id))) throw new Refusal(`pprof-format: there is no location ${id}`);
    value.forEach((each, at) => (totals[at] += BigInt(each)));
    for (const { key, str, numUnit } of label) [key, str, numUnit].forEach(string);
  }
  return {
    sampleTypes: profile.sampleType.map(({ type, unit }, at) => ({ type: string(type), unit: string(unit), total: Number(totals[at]) })),
    periodType: profile.periodType ? { type: string(profile.periodType.type), unit: string(profile.periodType.unit) } : null,
    period: Number(profile.period),
    defaultSampleType: string(profile.defaultSampleType),
    timeNanos: String(profile.timeNanos),
    durationNanos: Number(profile.durationNanos),
    samples: profile.sample.length,
    locations: profile.location.length,
    maxDepth: Math.max(0, ...profile.sample.map(({ locationId }) => locationId.length)),
    functions: profile.function.slice(0, top).map(({ name, systemName, filename, startLine }) => ({
      name: string(name),
      systemName: string(systemName),
      file: string(filename),
      startLine: Number(startLine),
    })),
    comments: profile.comment.map(string),
  };
}

await report(files, (file, entry) => {
  Object.assign(entry, raw(pprof(file, entry, "-raw")));
  const all = ["-nodecount=1000000", "-nodefraction=0", "-edgefraction=0"];
  for (const type of entry.sampleTypes) {
    const table = (...options) => topTable(pprof(file, entry, "-top", `-sample_index=${type.type}`, `-unit=${type.unit}`, ...all, ...options));
    const functions = table("-functions");
    type.total = functions.total;
    type.functions = functions.entries.slice(0, top);
    type.lines = table("-lines").entries.slice(0, top).map(withLine);
  }
  entry.decoded = decode(file);
  entry.sampleTypes.forEach(({ type, unit, total }, at) => {
    const other = entry.decoded.sampleTypes[at];
    const same = other?.type === type && other.unit === unit && other.total === total;
    if (!same) entry.warnings.push(`pprof reads ${type}/${unit} = ${total}, pprof-format ${JSON.stringify(other)}`);
  });
});
