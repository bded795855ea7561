// speedscope's own importer: the app of its npm package runs in headless Chromium and opens each file.
// The report is read from the profile objects that the app then shows.
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { withBrowser, withPage } from "./browser.mjs";
import { installed, load, parseArguments, Refusal, report } from "./report.mjs";

const { files, shot, view, top } = parseArguments(
  "speedscope.mjs [--top N] [--view time-ordered|left-heavy|sandwich] [--shot OUT.png] FILE...",
  { shot: "", view: "time-ordered", top: 200 },
);
const release = installed("node_modules", "speedscope", "dist", "release");
const app = pathToFileURL(path.join(release, "index.html")).href;

// strict: false, since the schema has the keyword `defaultSnippets` of an editor.
const Ajv = load("ajv");
const schemaFile = path.join(release, "file-format-schema.json");
const validate = new Ajv({ strict: false, allErrors: true }).compile(JSON.parse(readFileSync(schemaFile, "utf8")));

/** The schema's complaints about a speedscope file. */
function schemaErrors(file) {
  const bytes = readFileSync(file);
  const text = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
  if (validate(JSON.parse(text.toString("utf8")))) return [];
  return validate.errors.slice(0, 20).map((error) => `schema: ${error.instancePath || "/"} ${error.message}`);
}

/** Runs in the page before the app: keeps the roots that Preact renders, which it sets as a property of a DOM node. */
function keepRoots() {
  window.roots = [];
  Object.defineProperty(Node.prototype, "__k", {
    set(root) {
      window.roots.push(root);
      Object.defineProperty(this, "__k", { value: root, writable: true });
    },
  });
}

/** Runs in the page: finds the app's profile group among the props of its Preact components. */
function findGroup() {
  const nodes = [...window.roots];
  while (nodes.length > 0) {
    const node = nodes.pop();
    if (!node || typeof node !== "object") continue;
    if (node.props?.profileGroup) return node.props.profileGroup;
    nodes.push(...(Array.isArray(node.__k) ? node.__k : [node.__k]));
  }
  return null;
}

/** Runs in the page: turns the profile group into plain data. */
function describe([find, top]) {
  const group = new Function(`return (${find})()`)();
  const profiles = group.profiles.map(({ profile }) => {
    const calls = new Map();
    let depth = 0;
    let maxDepth = 0;
    let callCount = 0;
    profile.forEachCall(
      (node) => {
        calls.set(node.frame, (calls.get(node.frame) ?? 0) + 1);
        callCount += 1;
        depth += 1;
        maxDepth = Math.max(maxDepth, depth);
      },
      () => (depth -= 1),
    );
    const functions = [];
    profile.forEachFrame((frame) =>
      functions.push({
        name: frame.name,
        file: frame.file ?? null,
        line: frame.line ?? null,
        calls: calls.get(frame) ?? 0,
        self: frame.getSelfWeight(),
        total: frame.getTotalWeight(),
      }),
    );
    functions.sort((a, b) => b.total - a.total || b.self - a.self || (a.name < b.name ? -1 : 1));
    return {
      name: profile.getName(),
      unit: profile.getWeightUnit(),
      totalWeight: profile.getTotalWeight(),
      frames: functions.length,
      calls: callCount,
      maxDepth,
      functions: functions.slice(0, top),
    };
  });
  return { name: group.name, indexToView: group.indexToView, profiles };
}

async function open(browser, file, entry) {
  entry.importer = null;
  const refusals = [];
  const heard = (kind, words) => {
    if (words.startsWith("Importing as ")) entry.importer = words.slice("Importing as ".length);
    else if (kind === "dialog" || kind === "pageerror" || words.startsWith("Failed to load format")) refusals.push(words.split("\n")[0]);
    else if (kind === "error") entry.errors.push(words);
    // Chromium warns about its own software WebGL, and the app about nothing but the profile.
    else if (kind === "warning" && !/GPU stall|GL Driver|WebGL/.test(words)) entry.warnings.push(words);
    else if (/^(Ignoring|Tried to leave)/.test(words)) entry.warnings.push(words);
  };
  await withPage(browser, { origin: "file:", heard, picture: shot !== "" }, async (page) => {
    await page.addInitScript(keepRoots);
    await page.goto(`${app}#view=${view}`);
    await page.locator("input[type=file]").first().setInputFiles(file);
    const limit = Date.now() + 120_000;
    while (refusals.length === 0 && !(await page.evaluate(`!!(${findGroup})()`))) {
      if (Date.now() > limit) throw new Refusal("speedscope shows no profile after 120 s");
      await page.waitForTimeout(20);
    }
    if (refusals.length > 0) throw new Refusal(refusals.join("; "));
    Object.assign(entry, await page.evaluate(describe, [String(findGroup), top]));
    if (shot) {
      await page.waitForTimeout(500);
      await page.screenshot({ path: shot });
    }
  });
  if (entry.importer?.startsWith("speedscope")) entry.errors.push(...schemaErrors(file));
}

await withBrowser((browser) => report(files, (file, entry) => open(browser, file, entry)));
