// Firefox Profiler's own code, through its command line @firefox-devtools/profiler-cli. Its daemon loads one file
// and answers commands as lines of JSON on a Unix socket; it needs Node 24, which install.sh installs.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { wrongIndices } from "./firefox_tables.mjs";
import { installed, parseArguments, Refusal, report } from "./report.mjs";

const { files, top } = parseArguments("firefox.mjs [--top N] FILE...", { top: 200 });
const node = installed("bin", "node");
const program = installed("node_modules", "@firefox-devtools", "profiler-cli", "dist", "profiler-cli.js");
const LIMIT_MS = 60_000;

/** Sends one message to the daemon and returns its answer. */
function send(socket, message) {
  return new Promise((resolve, reject) => {
    let text = "";
    const connection = net.connect(socket, () => connection.write(`${JSON.stringify(message)}\n`));
    connection.setTimeout(LIMIT_MS, () => connection.destroy(new Refusal(`no answer after ${LIMIT_MS / 1000} s`)));
    connection.on("error", reject);
    connection.on("data", (chunk) => {
      text += chunk;
      if (!text.endsWith("\n")) return;
      connection.end();
      resolve(JSON.parse(text));
    });
  });
}

/** Starts the daemon for a file, calls `use(ask)` once the file is loaded, and ends the daemon. */
async function withDaemon(file, entry, use) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "firefox-"));
  const daemon = spawn(node, [program, "--daemon", path.resolve(file), "--session", "s"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, PROFILER_CLI_SESSION_DIR: folder, PROFILER_CLI_NO_SYMBOLICATE: "1" },
  });
  let words = "";
  daemon.stderr.on("data", (chunk) => (words += chunk));
  const socket = path.join(folder, "s.sock");
  try {
    const limit = Date.now() + LIMIT_MS;
    for (;;) {
      if (daemon.exitCode !== null) throw new Refusal(words || `profiler-cli ends with ${daemon.exitCode}`);
      if (Date.now() > limit) throw new Refusal(`the file is not loaded after ${LIMIT_MS / 1000} s`);
      const { type, error } = existsSync(socket) ? await send(socket, { type: "status" }).catch(() => ({})) : {};
      if (type === "ready") break;
      if (type === "error") throw new Refusal(error);
      await sleep(20);
    }
    await use(async (command, subcommand, options = {}) => {
      const answer = await send(socket, { type: "command", command: { command, subcommand, ...options } });
      if (answer.type !== "success") throw new Refusal(`${command} ${subcommand}: ${answer.error}`);
      return answer.result;
    });
    const log = readFileSync(path.join(folder, "s.log"), "utf8").split("\n");
    const complaints = log.filter((line) => /^\[(WARN|ERROR)\]/.test(line));
    entry.warnings.push(...complaints.map((line) => line.replace(/^(\[\w+\]) \S+/, "$1")));
  } finally {
    daemon.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The depth of a call tree, and whether the reader left out some of it. */
function measure(root) {
  let maxDepth = 0;
  let nodes = 0;
  const open = [root];
  while (open.length > 0) {
    const each = open.pop();
    maxDepth = Math.max(maxDepth, each.originalDepth + 1);
    nodes += 1;
    open.push(...(each.children ?? []));
  }
  return { maxDepth, treeNodes: nodes - 1 };
}

async function describe(ask, { threadHandle: thread, name, processName, pid, tid }) {
  const info = await ask("thread", "info", { thread });
  const functions = await ask("thread", "functions", { thread, includeIdle: true });
  const tree = await ask("thread", "samples-top-down", { thread, includeIdle: true, callTreeOptions: { maxNodes: 100_000 } });
  const markers = await ask("thread", "markers", { thread, markerFilters: { topN: 1 } });
  const named = functions.functions.map(({ name, selfSamples, totalSamples }) => ({ name, self: selfSamples, total: totalSamples }));
  for (const each of named) if (each.name === undefined) throw new Refusal("a function has no name");
  named.sort((a, b) => b.total - a.total || b.self - a.self || (a.name < b.name ? -1 : 1));
  const kinds = [];
  for (const { markerName, count, durationStats, topMarkers } of markers.byType) {
    // What the tooltip of one marker shows.
    const first = kinds.length < 50 ? await ask("marker", "info", { marker: topMarkers[0].handle }) : {};
    kinds.push({
      name: markerName,
      count,
      durationMs: durationStats ? { min: durationStats.min, max: durationStats.max, avg: durationStats.avg } : null,
      category: first.category?.name ?? null,
      label: first.tooltipLabel ?? null,
      fields: Object.fromEntries((first.fields ?? []).map(({ key, value }) => [key, value])),
    });
  }
  return {
    name,
    process: processName,
    pid,
    tid,
    samples: info.sampleCount,
    weightType: functions.weightType,
    totalWeight: tree.regularCallTree.totalSamples,
    ...measure(tree.regularCallTree),
    functionCount: functions.totalFunctionCount,
    functions: named.slice(0, top),
    markerCount: markers.totalMarkerCount,
    markers: kinds,
  };
}

await report(files, async (file, entry) => {
  const bytes = readFileSync(file);
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString("utf8");
  // The profiler ignores samples with a wrong index, or never ends; so the check comes first.
  const wrong = wrongIndices(text);
  entry.errors.push(...wrong.map((words) => `tables: ${words}`));
  if (wrong.length > 0) return;
  await withDaemon(file, entry, async (ask) => {
    const meta = await ask("profile", "meta");
    Object.assign(entry, { product: meta.product, importedFrom: meta.importedFrom ?? null, intervalMs: meta.interval, threads: [] });
    const list = await ask("thread", "list", { threadListOptions: { sort: "index" } });
    if (list.hiddenByLimit > 0) throw new Refusal(`${list.hiddenByLimit} threads are not listed`);
    for (const thread of list.threads) entry.threads.push(await describe(ask, thread));
  });
});
