// A session of `page.mjs`: the HTML page in a headless Chromium, and how one reads it.
// install.sh installs playwright-core; the browser is that of $CHROMIUM or /usr/bin/chromium.

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import process from 'node:process';
import { load } from './report.mjs';

const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

export class Failed extends Error {}

export function assert(condition, message, ...values) {
  if (!condition) throw new Failed([message, ...values.map(value => JSON.stringify(value))].join(' '));
}

/** The page in a browser of its own. `faults` collects errors and requests. */
export async function open(file, { width = 1280, height = 800, theme = 'light' } = {}) {
  assert(file && existsSync(file), 'There is no file', file);
  const browser = await load('playwright-core').chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ARGUMENTS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  const tab = await context.newPage();
  const address = pathToFileURL(resolve(file)).href;
  const faults = [];
  tab.on('console', message => {
    if (['error', 'warning'].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  tab.on('pageerror', error => faults.push(`error: ${error.message}`));
  tab.on('dialog', dialog => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  tab.on('request', request => {
    if (request.url().split('#')[0] !== address) faults.push(`request: ${request.url()}`);
  });
  const begun = Date.now();
  await tab.goto(address);
  await tab.waitForFunction(() => document.documentElement.dataset.state, null, { timeout: 120000 });
  const state = await tab.evaluate(() => document.documentElement.dataset.state);
  assert(state === 'ready', 'The page is not ready:', await tab.locator('body').innerText(), faults);
  // The page scripts of a hostile module would run with the page. A moment lets them.
  await tab.waitForTimeout(50);
  return { browser, tab, faults, seconds: (Date.now() - begun) / 1000 };
}

export async function show(tab, view) {
  await tab.click(`#tab-${view}`);
  await tab.waitForTimeout(60);
}

/** Cells of the visible rows of a grid, read from the document. */
export function rows(tab, view, most) {
  return tab.$$eval(`#view-${view} .rows .row:not([hidden])`, (all, most) => all
    .map(row => [Number(row.dataset.index), [...row.children].map(cell => (cell.querySelector('.name') || cell).textContent)])
    .sort((a, b) => a[0] - b[0]).slice(0, most).map(([, cells]) => cells), most);
}

/** Fails on what a page must never do: errors, requests, elements that came from text of a module. */
export async function clean(session) {
  const { tab, faults } = session;
  assert(faults.length === 0, 'The page made errors or requests:', faults);
  const foreign = await tab.$$eval('img, iframe, object, embed, link, base, svg, a', all => all.length);
  assert(foreign === 0, 'The page has elements that it never makes:', foreign);
  assert(await tab.evaluate(() => document.scripts.length) === 1, 'The page has another script than its own.');
}

/** A fingerprint of what a canvas shows. */
export function picture(tab, selector) {
  return tab.$eval(selector, canvas => {
    const text = canvas.toDataURL();
    let hash = 0;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619) >>> 0;
    return hash;
  });
}

export function flame(tab, id) {
  return tab.evaluate(id => {
    const f = page.byId(id);
    return { x0: f.view.x0, x1: f.view.x1, scroll: f.scroll, extent: f.extent, begin: f.begin, top: f.top, selected: f.selected ? f.selected.p : -1, name: f.selected ? page.model.label(f.selected.lane.fn(f.selected.item)) : null };
  }, id);
}
