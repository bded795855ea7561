// The form of every reader's report: {"files": [{"file", "warnings", "errors", ...}]} on standard output.
// The reader's own words about a file are also on standard error. The exit code is 1 if there are any.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The folder that install.sh filled: VIEWERS_DIR, by default target/readers of this repository. */
export const DIR = path.resolve(
  process.env.VIEWERS_DIR ?? fileURLToPath(new URL("../../target/readers", import.meta.url)),
);

/** Ends the script with exit code 2: the reader itself is not usable. */
export function unusable(message) {
  process.stderr.write(`${path.basename(process.argv[1])}: ${message}\n`);
  process.exit(2);
}

/** The path of something that install.sh installs into its folder. */
export function installed(...parts) {
  const file = path.join(DIR, ...parts);
  if (!existsSync(file)) unusable(`${file} does not exist: run tests/viewers/install.sh`);
  return file;
}

/** Loads an npm package from the folder. */
export function load(name) {
  installed("node_modules", ...name.split("/").slice(0, name.startsWith("@") ? 2 : 1));
  return createRequire(path.join(DIR, "package.json"))(name);
}

/** The arguments: files, and the named options, each with one value. */
export function parseArguments(usage, options = {}) {
  const files = [];
  const values = { ...options };
  const words = process.argv.slice(2);
  while (words.length > 0) {
    const word = words.shift();
    const name = word.slice(2);
    if (!word.startsWith("--")) files.push(word);
    else if (!(name in options) || words.length === 0) unusable(`usage: ${usage}`);
    else values[name] = typeof options[name] === "number" ? Number(words.shift()) : words.shift();
  }
  if (files.length === 0) unusable(`usage: ${usage}`);
  for (const file of files) if (!existsSync(file)) unusable(`${file} does not exist`);
  if (values.shot && files.length > 1) unusable("--shot needs exactly one file");
  return { files, ...values };
}

/** How many warnings, and how many errors, a report has of one file. */
const MOST = 100;

/** Reads each file with `read(file, entry)`, which fills the entry, and prints the report. */
export async function report(files, read) {
  const entries = [];
  for (const file of files) {
    const entry = { file, warnings: [], errors: [] };
    try {
      await read(file, entry);
    } catch (error) {
      entry.errors.push(error instanceof Refusal ? error.message : String(error?.stack ?? error).split("\n    at ")[0]);
    }
    entries.push(entry);
    for (const kind of ["warnings", "errors"]) {
      const more = entry[kind].length - MOST;
      if (more > 0) entry[kind].splice(MOST, more, `… and ${more} more`);
      for (const words of entry[kind]) process.stderr.write(`${file}: ${kind.slice(0, -1)}: ${words}\n`);
    }
  }
  const told = entries.some((entry) => entry.warnings.length + entry.errors.length > 0);
  process.exitCode = told ? 1 : 0;
  process.stdout.write(`${JSON.stringify({ files: entries }, null, 1)}\n`);
}

/** What a reader says when it does not accept a file. */
export class Refusal extends Error {}
