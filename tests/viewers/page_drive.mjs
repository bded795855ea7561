// The command `drive` of `page.mjs`: uses every control of the page and asserts that it has its effect.

import { assert, clean, flame, picture, rows, show } from './page_session.mjs';

/** A point in the middle of a wide box of the main lane, in pixels of the window. */
function boxPoint(tab, id, least = 60) {
  return tab.evaluate(([id, least]) => {
    const f = page.byId(id);
    const { rows, top } = f.main;
    const place = f.canvas.getBoundingClientRect();
    const scale = f.pixels / (f.view.x1 - f.view.x0);
    let other = null;
    for (let p = 0; p < rows.item.length; p++) {
      const width = rows.width[p] * scale;
      const x = (rows.start[p] + rows.width[p] / 2 - f.view.x0) * scale;
      const y = f.top + top + rows.row(p) * 18 - f.scroll + 9;
      if (width <= least || x <= 0 || x >= f.pixels || y >= f.height) continue;
      const box = { x: place.left + x, y: place.top + y, p, row: rows.row(p), from: rows.start[p], to: rows.start[p] + rows.width[p], name: page.model.label(f.main.fn(rows.item[p])) };
      if (box.row > 1 && width < f.pixels * 0.8) return box;
      if (!other || box.row <= 2) other = box;
    }
    return other;
  }, [id, least]);
}

async function driveFlame(tab, id, done) {
  await show(tab, id);
  const canvas = `#view-${id} canvas.flame`;
  const before = await flame(tab, id);
  const isWhole = before.x0 === before.begin && Math.abs(before.x1 - before.extent) < 1e-6 * before.extent;
  assert(isWhole, 'does not begin with everything', id, before);
  const drawn = await picture(tab, canvas);

  let box = await boxPoint(tab, id);
  assert(box, 'has no wide box to click', id);
  await tab.mouse.move(box.x, box.y);
  await tab.waitForTimeout(60);
  const tip = await tab.$eval('#tip', element => (element.hidden ? '' : element.innerText));
  assert(tip.includes(box.name.slice(0, 40)), 'tooltip lacks the name', id, tip, box.name);
  done.push(`${id}: tooltip`);

  await tab.mouse.click(box.x, box.y);
  await tab.waitForTimeout(60);
  const zoomed = await flame(tab, id);
  const near = (a, b) => Math.abs(a - b) <= 0.02 * (box.to - box.from) + 1;
  assert(zoomed.selected === box.p && near(zoomed.x0, box.from) && near(zoomed.x1, box.to), 'click does not zoom', id, zoomed, box);
  assert(await picture(tab, canvas) !== drawn, 'zoom does not change the picture', id);
  const crumbs = await tab.$$eval(`#view-${id} .crumb`, all => all.length);
  assert(crumbs > 0, 'no path of the selected call', id);
  done.push(`${id}: click zooms, path of ${crumbs}`);

  await tab.keyboard.press('Escape');
  assert((await flame(tab, id)).x1 === before.x1, 'Escape does not reset', id);
  done.push(`${id}: Escape resets`);

  await tab.mouse.move(box.x, box.y);
  await tab.mouse.wheel(0, -400);
  await tab.waitForTimeout(60);
  const wheeled = await flame(tab, id);
  assert(wheeled.x1 - wheeled.x0 < before.extent * 0.7, 'wheel does not zoom', id, wheeled);
  const place = await tab.$eval(canvas, element => element.getBoundingClientRect().left);
  const width = await tab.evaluate(id => page.byId(id).pixels, id);
  const under = view => view.x0 + (view.x1 - view.x0) * (box.x - place) / width;
  assert(Math.abs(under(wheeled) - under(before)) < before.extent * 0.01, 'wheel does not zoom around the pointer', id, under(wheeled), under(before));
  done.push(`${id}: wheel zooms around the pointer`);

  await tab.mouse.down();
  await tab.mouse.move(box.x - 80, box.y, { steps: 4 });
  await tab.mouse.up();
  await tab.waitForTimeout(60);
  const dragged = await flame(tab, id);
  const wanted = Math.min(wheeled.x0 + 80 * (wheeled.x1 - wheeled.x0) / width, before.extent - (wheeled.x1 - wheeled.x0));
  assert(Math.abs(dragged.x0 - wanted) < before.extent * 0.01, 'drag does not pan', id, dragged, wanted);
  assert(dragged.selected === zoomed.selected, 'drag selects', id);
  done.push(`${id}: drag pans`);

  await tab.mouse.dblclick(box.x, box.y);
  await tab.waitForTimeout(60);
  assert((await flame(tab, id)).x1 === before.x1, 'double click does not reset', id);
  done.push(`${id}: double click resets`);

  for (const [key, test] of [
    ['+', (a, b) => b.x1 - b.x0 < a.x1 - a.x0],
    ['d', (a, b) => b.x0 > a.x0],
    ['a', (a, b) => b.x0 < a.x0],
    ['w', (a, b) => b.x1 - b.x0 < a.x1 - a.x0],
    ['s', (a, b) => b.x1 - b.x0 > a.x1 - a.x0],
    ['-', (a, b) => b.x1 - b.x0 > a.x1 - a.x0],
  ]) {
    const from = await flame(tab, id);
    await tab.keyboard.press(key);
    const to = await flame(tab, id);
    assert(test(from, to), `key ${key} has no effect`, id, from, to);
  }
  await tab.keyboard.press('Escape');
  done.push(`${id}: keys + - w a s d`);

  const start = await flame(tab, id);
  await tab.keyboard.press('ArrowUp');
  const up = await flame(tab, id);
  assert(box.row === 0 || (up.selected !== start.selected && up.selected >= 0), 'up does not select the caller', id, start, up);
  await tab.keyboard.press('ArrowDown');
  const down = await flame(tab, id);
  assert(box.row === 0 || down.selected !== up.selected, 'down does not select a callee', id, up, down);
  await tab.keyboard.press('ArrowRight');
  const right = await flame(tab, id);
  await tab.keyboard.press('ArrowLeft');
  const left = await flame(tab, id);
  assert(right.selected === down.selected || left.selected === down.selected, 'right and left do not move beside', id, down, right, left);
  await tab.keyboard.press('Enter');
  const entered = await flame(tab, id);
  const width2 = await tab.evaluate(id => { const s = page.byId(id).selected; return s.lane.rows.width[s.p]; }, id);
  assert(Math.abs(entered.x1 - entered.x0 - width2) < width2 * 0.01 + 1, 'Enter does not zoom', id, entered, width2);
  await tab.keyboard.press('Escape');
  done.push(`${id}: arrows select, Enter zooms`);

  const overview = await tab.locator(`#view-${id} .overview`).boundingBox();
  await tab.mouse.move(overview.x + overview.width * 0.25, overview.y + 10);
  await tab.mouse.down();
  await tab.mouse.move(overview.x + overview.width * 0.5, overview.y + 10, { steps: 4 });
  await tab.mouse.up();
  const part = await flame(tab, id);
  assert(Math.abs(part.x0 / part.extent - 0.25) < 0.02 && Math.abs(part.x1 / part.extent - 0.5) < 0.02, 'overview does not choose a part', id, part);
  await tab.evaluate(id => page.byId(id).reset(), id);
  done.push(`${id}: overview chooses a part`);
}

/** Sorts by each column, twice, and reads the order from the rows. */
async function driveSort(tab, view, done) {
  await show(tab, view);
  const keys = await tab.$$eval(`#view-${view} [role=columnheader]`, all => all.map(head => head.dataset.key));
  const seen = {};
  for (const key of keys) {
    const button = tab.locator(`#view-${view} [role=columnheader][data-key="${key}"] button`);
    const orders = [];
    for (let turn = 0; turn < 2; turn++) {
      await button.click();
      await tab.waitForTimeout(40);
      const state = await tab.evaluate(([view, key]) => {
        const table = page.byId(view);
        const head = document.querySelector(`#view-${view} [data-key="${key}"]`);
        const value = key === 'name' || key === 'place' ? null : id => {
          const from = table.from;
          const column = key.replace('%', '');
          if (from.length === 1) return from[0][column][id];
          const [a, b] = [from[0][table.metric][id], from[1][table.metric][id]];
          return { before: a, after: b, change: Math.abs(b - a), ratio: a === 0 ? (b === 0 ? 0 : Infinity) : Math.abs(b / a - 1) }[key];
        };
        // In a tree only brothers and sisters are in order: those at the top.
        const ids = Array.from(table.grid.ids).filter(id => view !== 'calls' || page.model.tree.depth[id] === 0);
        const values = ids.map(id => (value ? value(id) : key === 'name' ? page.model.label(view === 'calls' ? page.model.tree.fn[id] : id) : page.model.functions[id].file || ''));
        return { sort: head.getAttribute('aria-sort'), values, first: ids[0] };
      }, [view, key]);
      assert(state.sort, 'no sort order is told', view, key);
      const sign = state.sort === 'descending' ? 1 : -1;
      if (key !== 'place') {
        for (let i = 1; i < state.values.length; i++) {
          const [a, b] = [state.values[i - 1], state.values[i]];
          assert(sign > 0 ? a >= b : a <= b, 'rows are not in order', view, key, state.sort, a, b);
        }
      }
      orders.push(state.sort);
    }
    assert(orders[0] !== orders[1], 'a second click does not turn the order', view, key, orders);
    seen[key] = orders;
  }
  done.push(`${view}: sorts by ${keys.join(', ')}`);
}

async function driveTables(tab, done) {
  await show(tab, 'calls');
  const ids = () => tab.evaluate(() => page.byId('calls').grid.ids.length);
  await tab.keyboard.press('Home');
  await tab.keyboard.press('ArrowLeft');
  const closed = await ids();
  await tab.keyboard.press('ArrowRight');
  const opened = await ids();
  await tab.keyboard.press('ArrowLeft');
  const again = await ids();
  await tab.keyboard.press('ArrowRight');
  assert(closed < opened && again === closed && await ids() === opened, 'left and right do not close and open a row', opened, closed, again);
  await tab.locator('#view-calls .row[aria-expanded] .twist').first().click();
  assert(await ids() !== opened, 'a click on the triangle does nothing');
  await tab.locator('#view-calls .row[aria-expanded] .twist').first().click();
  done.push('calls: rows open and close');

  await show(tab, 'functions');
  const all = await ids2(tab);
  const name = (await rows(tab, 'functions', 1))[0][0];
  await tab.fill('#view-functions input', name.slice(0, 12));
  await tab.waitForTimeout(80);
  const filtered = await ids2(tab);
  assert(filtered >= 1 && (filtered < all || all === 1), 'filter has no effect', all, filtered);
  await tab.fill('#view-functions input', '');
  await tab.waitForTimeout(80);
  assert(await ids2(tab) === all, 'an empty filter does not show all', all);
  done.push(`functions: filter ${filtered} of ${all}`);

  await tab.locator('#view-functions .grid').focus();
  await tab.keyboard.press('Home');
  await tab.keyboard.press('ArrowDown');
  const at = await tab.evaluate(() => page.byId('functions').grid.current);
  assert(at === Math.min(1, all - 1), 'arrow keys do not move the current row', at);
  await tab.keyboard.press('End');
  const last = await tab.evaluate(() => page.byId('functions').grid.current);
  const visible = await tab.$eval(`#view-functions .row[aria-selected="true"]`, row => row.getBoundingClientRect().bottom <= innerHeight);
  assert(last === all - 1 && visible, 'End does not show the last row', last, all);
  await tab.keyboard.press('Home');
  done.push('functions: keys move the current row');
}

function ids2(tab) {
  return tab.evaluate(() => page.byId('functions').grid.ids.length);
}

/** Selects functions until one has callers, callees and, if any function has them, source lines. */
async function driveDetails(tab, done) {
  await show(tab, 'functions');
  const wanted = await tab.evaluate(() => {
    const { model } = page;
    const best = (test) => Array.from(page.byId('functions').grid.ids).find(test);
    const linked = f => { const n = neighbours(model, f); return n.callers.some(c => c.f !== null) && n.callees.length > 0; };
    const lined = f => (model.functions[f].lines || []).length > 0;
    const f = best(f => linked(f) && lined(f)) ?? best(linked) ?? best(() => true);
    page.byId('functions').showMatch(f);
    // By another way than the page's: over all nodes, not over the nodes of the function.
    const { tree } = model;
    const [callers, callees] = [new Map(), new Map()];
    const last = tree.sides[tree.sides.length - 1].total;
    const add = (map, g, node) => map.set(g, (map.get(g) || 0) + last[node]);
    for (let i = 0; i < tree.count; i++) {
      const up = tree.parent[i];
      if (tree.fn[i] === f) add(callers, up < tree.count ? tree.fn[up] : null, i);
      if (up < tree.count && tree.fn[up] === f) add(callees, tree.fn[i], i);
    }
    const shown = neighbours(model, f);
    const wrong = [[shown.callers, callers], [shown.callees, callees]].flatMap(([list, map]) => list
      .filter(entry => !(Math.abs((map.get(entry.f) ?? NaN) - entry.total[entry.total.length - 1]) < 1e-9 * model.grand[model.grand.length - 1] + 1e-6))
      .map(entry => entry.f));
    return { name: model.label(f), callers: callers.size, callees: callees.size, wrong, lines: model.functions[f].lines.length };
  });
  await tab.waitForTimeout(60);
  const panel = await tab.evaluate(() => {
    const box = document.getElementById('details');
    const tables = [...box.querySelectorAll('section')].map(section => [section.querySelector('h3').textContent, section.querySelectorAll('tbody tr').length, section.querySelector('tbody tr') ? section.querySelector('tbody tr').innerText.split('\t') : []]);
    return { hidden: box.hidden, name: box.querySelector('h2').textContent, place: (box.querySelector('.place') || {}).textContent, figures: box.querySelector('dl').innerText.split('\n'), tables };
  });
  assert(!panel.hidden && panel.name === wanted.name, 'the panel shows another function', panel.name, wanted.name);
  const size = title => (panel.tables.find(([t]) => t === title) || [0, 0])[1];
  assert(wanted.wrong.length === 0, 'times of callers or callees are wrong', wanted);
  assert(size('Callers') === Math.min(40, wanted.callers), 'callers differ', panel.tables, wanted);
  assert(size('Callees') === Math.min(40, wanted.callees), 'callees differ', panel.tables, wanted);
  assert(size('Hot source lines') === Math.min(40, wanted.lines), 'source lines differ', panel.tables, wanted);
  const link = tab.locator('#details .link:not(:disabled)').first();
  if (await link.count()) {
    const name = await link.textContent();
    await link.click();
    const now = await tab.$eval('#details h2', head => head.textContent);
    assert(now.startsWith(name.replace(/…$/, '')), 'a click on a neighbour does not select it', now, name);
  }
  done.push(`details: ${panel.name.slice(0, 60)}: ${panel.tables.map(([title, n]) => `${title} ${n}`).join(', ')}`);
  await show(tab, await tab.evaluate(() => page.views[0].id));
  await tab.keyboard.press('i');
  assert(await tab.$eval('#details', box => !box.hidden), 'key i does not open the panel');
  await tab.click('#details .close');
  assert(await tab.$eval('#details', box => box.hidden), 'the panel does not close');
  await tab.evaluate(() => { page.panelOpen = null; });
  done.push('details: opens and closes');
  return panel;
}

async function driveSearch(tab, done) {
  const view = await tab.evaluate(() => (page.model.time ? 'time' : page.model.hasTimes ? 'tree' : 'calls'));
  await show(tab, view);
  const isFlame = view !== 'calls';
  const before = isFlame ? await picture(tab, `#view-${view} canvas.flame`) : 0;
  // A function of middling time: its share is neither nothing nor all.
  const query = await tab.evaluate(() => {
    const { flat: { seen, sides }, label, grand } = page.model;
    const [last] = sides.slice(-1);
    const fns = Array.from(seen.keys()).filter(f => seen[f] && label(f));
    return label(fns.find(f => last.total[f] > grand[0] * 0.02 && last.total[f] < grand[0] * 0.6) ?? fns[0]);
  });
  await tab.keyboard.press('/');
  await tab.keyboard.type(query.slice(0, 60));
  await tab.waitForFunction(() => document.getElementById('matches').textContent !== '');
  await tab.waitForTimeout(100);
  const said = await tab.textContent('#matches');
  assert(/\d+ function/.test(said), 'the search says nothing', said);
  if (isFlame) assert(await picture(tab, `#view-${view} canvas.flame`) !== before, 'the search does not change the flame graph');
  // The share, by another way than the page's: each match whose callers are no matches, up to the top.
  const shares = await tab.evaluate(() => {
    const { tree, grand, shown } = page.model;
    let all = 0;
    for (let i = 0; i < tree.count; i++) {
      if (!page.match.fns[tree.fn[i]]) continue;
      let up = tree.parent[i];
      while (up < tree.count && !page.match.fns[tree.fn[up]]) up = tree.parent[up];
      if (up >= tree.count) all += tree.sides[shown].total[i];
    }
    return [all, page.match.times[shown], grand[shown]];
  });
  assert(Math.abs(shares[0] - shares[1]) <= 1e-9 * shares[2] + 1e-6, 'the matched share is wrong', shares);
  await tab.keyboard.press('Enter');
  await tab.waitForTimeout(60);
  const first = await tab.textContent('#matches');
  await tab.keyboard.press('Enter');
  const second = await tab.textContent('#matches');
  assert(/^1 of /.test(first), 'Enter does not go to the first match', first);
  assert(/^1 of 1 /.test(first) || /^2 of /.test(second), 'Enter does not go to the next match', second);
  await tab.click('#previous');
  assert(/^1 of /.test(await tab.textContent('#matches')), 'previous does not go back');
  if (isFlame) {
    const at = await flame(tab, view);
    assert(at.name.toLowerCase().includes(query.slice(0, 60).toLowerCase()), 'the selected box is no match', at.name, query);
  }
  await show(tab, 'functions');
  const names = (await rows(tab, 'functions', 100)).map(row => row[0]);
  assert(names.length > 0 && names.every(name => name.toLowerCase().includes(query.slice(0, 60).toLowerCase())), 'the table shows what does not match', names);
  await show(tab, 'calls');
  const hits = await tab.$$eval('#view-calls .row:not([hidden]) .name.hit', all => all.length);
  assert(hits > 0, 'the tree shows no match');
  await tab.keyboard.press('/');
  await tab.keyboard.press('Escape');
  assert(await tab.inputValue('#search') === '' && await tab.textContent('#matches') === '', 'Escape does not end the search');
  done.push(`search: ${said} for ${JSON.stringify(query.slice(0, 60))}`);
}

/** Ratio of contrast of two colours, as in WCAG 2. */
function contrast(a, b) {
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
}

async function driveTheme(tab, done) {
  const first = await tab.evaluate(() => page.palette.theme);
  const themes = {};
  for (let turn = 0; turn < 2; turn++) {
    await tab.click('#theme');
    await tab.waitForTimeout(60);
    const now = await tab.evaluate(() => {
      const { palette } = page;
      const canvas = document.createElement('canvas');
      const ctx = canvas.getContext('2d', { willReadFrequently: true });
      const rgb = colour => {
        ctx.fillStyle = colour;
        ctx.fillRect(0, 0, 1, 1);
        return [...ctx.getImageData(0, 0, 1, 1).data].slice(0, 3);
      };
      return {
        theme: palette.theme, kept: (() => { try { return localStorage.getItem('wasmtrace.theme'); } catch (_) { return 'none'; } })(),
        page: getComputedStyle(document.body).backgroundColor, text: rgb(palette.text), dim: rgb(palette.dim), dimText: rgb(palette.dimText), fills: palette.fills.map(rgb), css: rgb(getComputedStyle(document.body).color), back: rgb(getComputedStyle(document.body).backgroundColor), quiet: rgb(getComputedStyle(document.getElementById('notes')).color), bar: rgb(getComputedStyle(document.getElementById('notes')).backgroundColor),
      };
    });
    const least = Math.min(...now.fills.map(fill => contrast(fill, now.text)), contrast(now.css, now.back), contrast(now.quiet, now.bar), contrast(now.dim, now.dimText));
    assert(least >= 4.5, 'text is hard to read', now.theme, least, now.fills.map(fill => contrast(fill, now.text).toFixed(2)));
    assert(now.kept === now.theme || now.kept === 'none', 'the theme is not kept', now);
    themes[now.theme] = { page: now.page, leastContrast: Number(least.toFixed(2)) };
  }
  assert(themes.light && themes.dark && themes.light.page !== themes.dark.page, 'the theme does not change', themes);
  assert(await tab.evaluate(() => page.palette.theme) === first, 'two clicks do not lead back', first);
  done.push('theme: light and dark');
  return themes;
}

export async function drive(session) {
  const { tab } = session;
  const done = [];
  const model = await tab.evaluate(() => ({ diff: page.model.diff, empty: page.model.empty, time: Boolean(page.model.time), times: page.model.hasTimes, nodes: page.model.tree.count, ids: page.views.map(view => view.id) }));
  for (const [i, id] of model.ids.entries()) {
    await tab.keyboard.press(String(i + 1));
    await tab.waitForTimeout(40);
    assert(await tab.evaluate(() => page.view.id) === id && await tab.isVisible(`#view-${id}`), 'a number key does not switch to the view', id);
  }
  for (const id of model.ids.slice().reverse()) {
    await show(tab, id);
    assert(await tab.isVisible(`#view-${id}`) && await tab.$$eval('.view:not([hidden])', all => all.length) === 1, 'a tab does not switch to the view', id);
  }
  done.push(`views: ${model.ids.join(', ')}`);
  await tab.keyboard.press('?');
  assert(await tab.isVisible('#keys'), 'no help');
  await tab.keyboard.press('Escape');
  assert(!await tab.isVisible('#keys'), 'help does not close');
  done.push('help: opens and closes');
  const themes = await driveTheme(tab, done);
  let details = null;
  if (!model.empty && model.nodes > 0) {
    if (model.time) await driveFlame(tab, 'time', done);
    if (model.times) await driveFlame(tab, 'tree', done);
    if (model.diff) {
      await show(tab, 'tree');
      const after = await picture(tab, '#view-tree canvas.flame');
      await tab.click('#view-tree .choice [data-value="0"]');
      await tab.waitForTimeout(80);
      assert(await picture(tab, '#view-tree canvas.flame') !== after, 'widths before and after look the same');
      await tab.click('#view-tree .choice [data-value="1"]');
      await show(tab, 'functions');
      for (const metric of ['calls', 'total', 'self']) {
        await tab.click(`#view-functions .choice [data-value="${metric}"]`);
        assert(await tab.evaluate(() => page.byId('functions').metric) === metric, 'the choice of a metric has no effect', metric);
      }
      done.push('diff: widths and metrics');
    }
    await driveSort(tab, 'functions', done);
    await driveSort(tab, 'calls', done);
    await driveTables(tab, done);
    details = await driveDetails(tab, done);
    await driveSearch(tab, done);
  } else {
    const text = await tab.innerText('#views');
    await show(tab, model.ids[0]);
    assert((await tab.innerText('#views')).includes('No calls were recorded.'), 'an empty run does not say so', text);
    done.push('empty: says so');
  }
  await tab.evaluate(() => window.dispatchEvent(new Event('beforeprint')));
  const paper = await tab.$eval('#print', box => ({ rows: box.querySelectorAll('tbody tr').length, canvas: box.querySelectorAll('canvas').length, facts: box.querySelectorAll('dt').length }));
  assert(model.empty || paper.rows > 0, 'nothing to print', paper);
  done.push(`print: ${paper.facts} facts, ${paper.rows} functions, ${paper.canvas} flame graph`);
  for (const [width, height] of [[800, 600], [2000, 1100]]) {
    await tab.setViewportSize({ width, height });
    for (const id of model.ids) {
      await show(tab, id);
      const wide = await tab.evaluate(() => [document.documentElement.scrollWidth, innerWidth, document.querySelector('.view:not([hidden])').clientHeight]);
      assert(wide[0] <= wide[1] && wide[2] > 150, 'the layout does not hold', width, id, wide);
    }
  }
  done.push('layout: holds at 800 and 2000 pixels');
  await clean(session);
  return { done, themes, details };
}
