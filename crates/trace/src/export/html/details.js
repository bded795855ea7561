// The panel about the selected function: figures, callers, callees and hot source lines.

const LONGEST_LIST = 40;

/** Adds up figures by another function: `add(f, node)` for each node that counts for `f`. */
class Sums {
  constructor(sides) {
    this.sides = sides;
    this.by = new Map();
  }

  add(f, node) {
    let entry = this.by.get(f);
    if (!entry) this.by.set(f, entry = { f, total: this.sides.map(() => 0), calls: this.sides.map(() => 0) });
    this.sides.forEach((side, s) => {
      entry.total[s] += side.total[node];
      entry.calls[s] += side.calls[node];
    });
  }

  /** Largest time first; without times, most calls first. */
  list() {
    const most = numbers => Math.max(...numbers);
    return [...this.by.values()].sort((a, b) => most(b.total) - most(a.total) || most(b.calls) - most(a.calls));
  }
}

/** Callers and callees of a function. The caller of a top node is null. */
function neighbours(model, f) {
  const { tree } = model;
  const callers = new Sums(tree.sides);
  const callees = new Sums(tree.sides);
  for (const node of nodesOf(model, f)) {
    const up = tree.parent[node];
    callers.add(up < node ? tree.fn[up] : null, node);
    for (let k = tree.start[node]; k < tree.start[node + 1]; k++) callees.add(tree.fn[tree.children[k]], tree.children[k]);
  }
  return { callers: callers.list(), callees: callees.list() };
}

function manualTotal(model, f) {
  const { manual } = model;
  if (!manual) return null;
  let [n, total] = [0, 0];
  for (let i = 0; i < manual.count; i++) {
    if (manual.fn[i] !== f) continue;
    n++;
    total += manual.duration[i];
  }
  return n ? [['Spans', count(n)], ['Total', time(total)], ['Mean', time(total / n)]] : null;
}

/** Label and texts of the figures at the top of the panel. */
function detailFigures(model, f) {
  if (model.diff) return figures(model, model.flat.sides, f, model.flat.flags[f]);
  return (model.flat.seen[f] ? null : manualTotal(model, f)) || figures(model, model.flat.sides, f, model.flat.flags[f]);
}

function neighbourTable(app, title, list, none) {
  const { model } = app;
  const section = make('section', {}, make('h3', {}, title));
  if (list.length === 0) {
    section.append(make('p.quiet', {}, none));
    return section;
  }
  const heads = model.diff ? ['Function', 'Before', 'After', 'Difference'] : ['Function', 'Time', 'Calls'];
  const head = make('tr', {}, ...heads.map((text, i) => make(i ? 'th.number' : 'th', { scope: 'col' }, text)));
  const rows = list.slice(0, LONGEST_LIST).map(({ f, total, calls }) => {
    const name = f === null ? 'top of the run' : model.label(f);
    // The path of modules gives way first, as in the tables.
    const tail = lastSegment(cut(name, 300));
    const button = make('button.link.name', { type: 'button', title: cut(name, 600) }, make('span.front', {}, name.slice(0, tail)), make('span.tail', {}, cut(name.slice(tail), 300)));
    if (f === null) button.disabled = true;
    else button.addEventListener('click', () => app.select(f));
    const figures = model.diff
      ? [time(total[0]), time(total[1]), timeChange(total[1] - total[0])]
      : [time(total[0]), model.hasCalls ? count(calls[0]) : '–'];
    return make('tr', {}, make('td', {}, button), ...figures.map(text => make('td.number', {}, text)));
  });
  section.append(make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows)));
  if (list.length > LONGEST_LIST) section.append(make('p.quiet', {}, `and ${count(list.length - LONGEST_LIST)} more`));
  return section;
}

/** Source lines by samples. The share is of the samples in this function. */
function lineTable(lines) {
  const all = lines.reduce((n, [, , samples]) => n + samples, 0);
  const sorted = lines.slice().sort((a, b) => b[2] - a[2]);
  const section = make('section.lines', {}, make('h3', {}, 'Hot source lines'));
  const rows = sorted.slice(0, LONGEST_LIST).map(([file, line, samples]) => {
    const place = visible(`${file || '?'}:${line}`);
    const bar = make('span.bar', { 'aria-hidden': 'true' });
    bar.style.width = `${100 * samples / all}%`;
    return make('tr', {}, make('td.source', { title: cut(place, 600) }, make('bdi', {}, cut(place, 300))), make('td.number', {}, count(samples)), make('td.number.part', {}, bar, make('span', {}, share(samples, all))));
  });
  section.append(make('table', {}, make('thead', {}, make('tr', {}, make('th', { scope: 'col' }, 'Line'), make('th.number', { scope: 'col' }, 'Samples'), make('th.number', { scope: 'col' }, 'Share'))), make('tbody', {}, ...rows)));
  if (sorted.length > LONGEST_LIST) section.append(make('p.quiet', {}, `and ${plural(sorted.length - LONGEST_LIST, 'more line')}`));
  return section;
}

/** Fills the panel for function `f`, or says how to select one. */
function showDetails(app, panel, f) {
  const { model } = app;
  const close = make('button.close', { type: 'button', 'aria-label': 'Close the panel', title: 'Close (I)' }, '×');
  close.addEventListener('click', () => app.showPanel(false));
  if (f === null) {
    panel.replaceChildren(close, make('p.quiet', {}, 'Select a function to see its callers, callees and source lines.'));
    return;
  }
  const name = model.label(f);
  const dot = make('span.dot');
  dot.style.background = app.palette.fill(f);
  const kind = make('p.kind', {}, model.diff ? null : dot, KIND_NAMES[model.kind(f)] || model.kind(f));
  const place = model.place(f);
  const { index, lines } = model.functions[f] || {};
  if (typeof index === 'number') kind.append(` · function ${index}`);
  const tall = name.length > 200;
  panel.replaceChildren(close,
    make(tall ? 'h2.name.long' : 'h2.name', { title: tall ? cut(name, 1200) : null }, name),
    kind,
    ...(place ? [make('p.place', {}, place)] : []),
    make('dl', {}, ...detailFigures(model, f).flatMap(([label, value, part]) => [make('dt', {}, label), make('dd', {}, value), make('dd.part', {}, part || '')])),
    make('p.note', {}, ...flagNotes(model.flat.flags[f]).flatMap(note => [note, ' '])),
    make('p.actions', {}, ...app.jumps(f).map(([text, go]) => make('button', { type: 'button', onclick: go }, text))));
  if (model.flat.seen[f]) {
    const { callers, callees } = neighbours(model, f);
    panel.append(neighbourTable(app, 'Callers', callers, 'No caller was recorded.'), neighbourTable(app, 'Callees', callees, 'It calls no recorded function.'));
  }
  if (lines && lines.length) panel.append(lineTable(lines));
}
