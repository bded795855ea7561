// Drives the HTML page of `wasmtrace report --html` in headless Chromium.
//
//   node page.mjs check FILE                       what the page shows, as JSON
//   node page.mjs drive FILE                       uses every control and asserts its effect
//   node page.mjs frames FILE                      pans and zooms for 3 s; frame times
//   node page.mjs shot FILE OUT.png [light|dark] [view] [width height]
//
// All commands fail if the page logs an error or asks any network for anything.
// install.sh installs playwright-core; the browser is that of $CHROMIUM or /usr/bin/chromium.

import process from 'node:process';
import { Failed, clean, open, rows, show } from './page_session.mjs';
import { drive } from './page_drive.mjs';

/** What the page holds and shows. Sums come from the model that all views read. */
async function facts(tab) {
  return tab.evaluate(() => {
    const { model } = page;
    const add = column => column.reduce((a, b) => a + b, 0);
    return {
      title: document.title,
      summary: document.getElementById('summary').textContent,
      kind: model.diff ? 'diff' : 'run',
      view: page.view.id,
      tabs: [...document.querySelectorAll('#tabs button')].map(tab => tab.textContent),
      facts: [...document.querySelectorAll('#view-about .facts dt')].map(label => [label.textContent, label.nextSibling.textContent]),
      notes: [...document.querySelectorAll('#notes span')].map(note => note.textContent),
      messages: [...document.querySelectorAll('.message:not([hidden])')].map(message => message.textContent),
      functions: model.functions.length,
      treeNodes: model.tree.count,
      timeEntries: model.time ? model.time.count : 0,
      manualSpans: model.manual ? model.manual.count : 0,
      marks: model.marks.length,
      samples: model.samples,
      depth: { tree: model.tree.count ? Math.max(...page.views.filter(v => v.id === 'tree').map(v => (v.prepare(), v.main ? v.main.rows.count : 0))) : 0 },
      selfSums: model.tree.sides.map(side => add(side.self)),
      callSums: model.tree.sides.map(side => add(side.calls)),
      totalSums: model.grand,
      loadMs: Math.round(page.loaded),
      elements: document.querySelectorAll('*').length,
      scripts: document.scripts.length,
      images: document.images.length,
    };
  });
}

async function check(session) {
  const { tab } = session;
  const first = await tab.evaluate(() => page.view.id);
  const shown = await facts(tab);
  await show(tab, 'functions');
  const flat = await rows(tab, 'functions', 10);
  await show(tab, 'calls');
  const tree = await rows(tab, 'calls', 10);
  await show(tab, first);
  await clean(session);
  return { ...shown, flat, tree, secondsToReady: session.seconds };
}

function quantile(sorted, q) {
  return sorted.length ? Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))].toFixed(2)) : null;
}

async function frames(session) {
  const { tab } = session;
  const result = {};
  for (const id of await tab.evaluate(() => page.views.filter(view => view.frames).map(view => view.id))) {
    await show(tab, id);
    if (await tab.evaluate(id => !page.byId(id).main, id)) continue;
    const times = await tab.evaluate(id => new Promise(finish => {
      const f = page.byId(id);
      f.frames.length = 0;
      const gaps = [];
      const begun = performance.now();
      let last = begun;
      const turn = now => {
        gaps.push(now - last);
        last = now;
        const t = (performance.now() - begun) / 3000;
        if (t >= 1) {
          const draws = f.frames.slice();
          f.reset();
          finish({ draws, gaps: gaps.slice(1) });
          return;
        }
        // In and out three times, while the view moves along.
        const depth = 1 - Math.abs(1 - (t * 3 % 1) * 2);
        const span = f.extent * Math.pow(1e-4, depth);
        const at = t * (f.extent - span);
        f.move(at, at + span, (f.contentHeight - f.height) * depth);
        requestAnimationFrame(turn);
      };
      requestAnimationFrame(turn);
    }), id);
    const draws = times.draws.sort((a, b) => a - b);
    const gaps = times.gaps.sort((a, b) => a - b);
    result[id] = { frames: draws.length, drawMs: { median: quantile(draws, 0.5), p95: quantile(draws, 0.95), worst: quantile(draws, 1) }, frameMs: { median: quantile(gaps, 0.5), p95: quantile(gaps, 0.95), worst: quantile(gaps, 1) } };
  }
  const { loadMs, treeNodes, timeEntries } = await facts(tab);
  await clean(session);
  return { treeNodes, timeEntries, loadMs, ...result };
}

async function shot(session, out, view) {
  const { tab } = session;
  if (view) await show(tab, view);
  await tab.mouse.move(0, 0);
  if (process.env.EVALUATE) await tab.evaluate(process.env.EVALUATE);
  await tab.waitForTimeout(200);
  await tab.screenshot({ path: out });
  await clean(session);
  return { out };
}

async function main([command, file, ...rest]) {
  const commands = { check, drive, frames, shot };
  if (!commands[command] || !file) throw new Failed('usage: page.mjs check|drive|frames|shot FILE [OUT.png [light|dark] [view] [width height]]');
  const [out, theme = 'light', view, width, height] = rest;
  const session = await open(file, command === 'shot' ? { theme, width: Number(width) || 1280, height: Number(height) || 800 } : {});
  try {
    console.log(JSON.stringify(await (command === 'shot' ? shot(session, out, view) : commands[command](session)), null, 1));
  } finally {
    await session.browser.close();
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(error instanceof Failed ? `page.mjs: ${error.message}` : error);
  process.exitCode = 1;
});
