// The call tree and the flat table of functions.

const WIDE = { name: 'minmax(180px, 1fr)', time: '84px', part: '92px', calls: '92px', place: 'minmax(0, 220px)' };

/** A name with its colour, twist and indentation. Parts are made once a row and then changed. */
function fillName(app, cell, f, { depth = -1, twist = '', flags = 0 } = {}) {
  if (!cell.parts) {
    const parts = { deep: make('span.deep'), twist: make('span.twist', { 'aria-hidden': 'true' }), dot: make('span.dot'), name: make('span.name', {}, make('span.front'), make('span.tail')), badge: make('span.badge') };
    cell.classList.add('function');
    cell.append(parts.deep, parts.twist, parts.dot, parts.name, parts.badge);
    cell.parts = parts;
  }
  const { parts } = cell;
  const name = app.model.label(f);
  // If the room is short the path of modules is cut first: the last segment says most.
  const tail = lastSegment(name.length > 400 ? name.slice(0, 400) : name);
  parts.name.firstChild.textContent = name.slice(0, tail);
  parts.name.lastChild.textContent = name.slice(tail);
  parts.name.classList.toggle('hit', Boolean(app.match && app.match.fns[f]));
  cell.title = cut(name, 1200);
  parts.dot.hidden = app.model.diff;
  if (!app.model.diff) parts.dot.style.background = app.palette.fill(f);
  parts.twist.textContent = twist;
  parts.twist.hidden = depth < 0;
  // Deep rows must stay readable: beyond 30 levels the depth is a number.
  parts.deep.style.width = depth > 0 ? `${Math.min(depth, 30) * 12}px` : '0';
  parts.deep.textContent = depth > 30 ? String(depth) : '';
  const badge = badgeOf(flags);
  parts.badge.textContent = badge;
  parts.badge.className = `badge ${badge.split(' ')[0]}`;
}

function badgeOf(flags) {
  if (flags & FLAG.trapped) return 'trapped';
  if (flags & FLAG.added) return 'new';
  if (flags & FLAG.gone) return 'gone';
  if (flags & FLAG.noise) return 'within spread';
  if (flags & FLAG.recursive) return 'recursive';
  if (flags & FLAG.open) return 'open';
  return '';
}

/** A share as text over a bar of that length. */
function fillPart(cell, part, whole) {
  if (!cell.bar) {
    cell.bar = make('span.bar', { 'aria-hidden': 'true' });
    cell.value = make('span');
    cell.classList.add('part');
    cell.append(cell.bar, cell.value);
  }
  cell.value.textContent = share(part, whole);
  cell.bar.style.width = `${whole > 0 ? Math.min(100, Math.max(0, 100 * part / whole)) : 0}%`;
}

/** Columns of figures. `from` has one side for a run, two for a comparison; `flagsOf(id)` has the estimated bit. */
function figureColumns(app, from, flagsOf, order, metric) {
  const { model } = app;
  const text = (key, cell, text) => { cell.textContent = text; };
  if (model.diff) {
    const [a, b] = from;
    const show = metric === 'calls' ? count : time;
    const change = metric === 'calls' ? countChange : timeChange;
    const shade = (cell, id) => { cell.dataset.change = flagsOf(id) & FLAG.noise ? 'noise' : Math.sign(b[metric][id] - a[metric][id]); };
    return [
      { key: 'before', label: 'Before', number: true, width: WIDE.time, fill: (cell, id) => text('', cell, show(a[metric][id])) },
      { key: 'after', label: 'After', number: true, width: WIDE.time, fill: (cell, id) => text('', cell, show(b[metric][id])) },
      { key: 'change', label: 'Difference', title: 'Sort by the size of the difference', number: true, width: '112px', fill: (cell, id) => { shade(cell, id); cell.textContent = change(b[metric][id] - a[metric][id]); } },
      { key: 'ratio', label: 'Change', title: 'Sort by the relative change', number: true, width: WIDE.time, fill: (cell, id) => { shade(cell, id); cell.textContent = ratio(a[metric][id], b[metric][id]); } },
    ];
  }
  const { total, self, calls } = from[0];
  const about = id => (flagsOf(id) & FLAG.estimated ? '≈ ' : '');
  const pair = (key, label, column) => [
    { key, label, number: true, width: WIDE.time, fill: (cell, id) => text('', cell, about(id) + time(column[id])) },
    { key: `${key}%`, label: `${label} %`, title: `${label}: share of all recorded time`, number: true, width: WIDE.part, fill: (cell, id) => fillPart(cell, column[id], model.grand[0]) },
  ];
  const pairs = { total: pair('total', 'Total', total), self: pair('self', 'Self', self) };
  return [
    ...order.flatMap(key => pairs[key]),
    { key: 'calls', label: 'Calls', number: true, width: WIDE.calls, fill: (cell, id) => text('', cell, model.hasCalls ? count(calls[id]) : '–') },
  ];
}

/** The number by which a column sorts. */
function sortValue(model, from, key, metric) {
  if (!model.diff) {
    const column = from[0][key.replace('%', '')];
    return id => column[id];
  }
  const [a, b] = from;
  return {
    before: id => a[metric][id],
    after: id => b[metric][id],
    change: id => Math.abs(b[metric][id] - a[metric][id]),
    ratio: id => (a[metric][id] === 0 ? (b[metric][id] === 0 ? 0 : Infinity) : Math.abs(b[metric][id] / a[metric][id] - 1)),
  }[key];
}

/** What both tables share: a grid, a sort order, and for comparisons the choice of what is compared. */
class TableView {
  constructor(app, { id, title, role, about, metric, from, flagsOf, order, events }) {
    Object.assign(this, { app, id, title, from, flagsOf, order, metric });
    this.sort = { key: app.model.diff ? 'change' : order[0], down: true };
    this.grid = new Grid({
      label: title,
      role,
      columns: this.columns(),
      empty: () => app.nothing(),
      events: { sort: key => this.sortBy(key), row: () => {}, ...events },
    });
    this.controls = make('div.controls');
    this.element = make('section.view.table', { id: `view-${id}`, 'aria-label': title }, make('div.toolbar', {}, make('span.about', {}, about), this.controls), this.grid.element);
    if (app.model.diff) {
      this.controls.append(choice('Compare', [['total', 'Total'], ['self', 'Self'], ['calls', 'Calls']], metric, value => {
        this.metric = value;
        this.grid.setColumns(this.columns());
        this.resort();
      }));
    }
    this.grid.showSort(this.sort.key, this.sort.down);
  }

  columns() {
    const name = { key: 'name', label: 'Function', width: WIDE.name, fill: (cell, id) => this.fillFunction(cell, id) };
    return [name, ...figureColumns(this.app, this.from, this.flagsOf, this.order, this.metric), ...this.moreColumns()];
  }

  moreColumns() {
    return [];
  }

  sortBy(key) {
    // Numbers begin with the largest, names with A.
    this.sort = { key, down: this.sort.key === key ? !this.sort.down : key !== 'name' };
    this.resort();
  }

  resort() {
    this.grid.showSort(this.sort.key, this.sort.down);
    this.refresh();
  }

  /** Sorts ids by the current column; equal ones keep their order. */
  sorted(ids, functionOf) {
    const { model } = this.app;
    const sign = this.sort.down ? -1 : 1;
    if (this.sort.key === 'name') {
      return ids.sort((a, b) => {
        const [x, y] = [model.label(functionOf(a)), model.label(functionOf(b))];
        return x < y ? -sign : x > y ? sign : a - b;
      });
    }
    const value = sortValue(model, this.from, this.sort.key, this.metric);
    return ids.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x < y ? -sign : x > y ? sign : a - b;
    });
  }

  show() {
    if (!this.shown) {
      this.shown = true;
      this.refresh();
    }
    // A hidden element cannot scroll, so what was chosen meanwhile is shown now.
    if (this.grid.current >= 0) this.grid.moveTo(this.grid.current, false);
    else this.grid.draw();
  }

  focus() {
    this.grid.element.focus({ preventScroll: true });
  }

  resize() {
    this.grid.draw();
  }
}

class TreeView extends TableView {
  constructor(app) {
    const { tree } = app.model;
    super(app, {
      id: 'calls',
      title: 'Call tree',
      role: 'treegrid',
      about: app.model.diff ? 'Before and after for each path. Most changed first.' : 'Each path from the top. The path that took most time is open.',
      metric: 'total',
      from: tree.sides,
      flagsOf: i => tree.flags[i],
      order: ['total', 'self'],
      events: {
        select: i => app.select(tree.fn[i]),
        open: i => app.showNode(i),
        toggle: i => this.toggle(i),
        key: (event, i) => this.treeKey(event, i),
        row: (row, i) => this.describeRow(row, i),
      },
    });
    this.tree = tree;
    this.open = new Uint8Array(tree.count + 1);
    this.cache = new Map();
  }

  fillFunction(cell, i) {
    const { tree, app } = this;
    const leaf = tree.start[i] === tree.start[i + 1];
    fillName(app, cell, tree.fn[i], { depth: tree.depth[i], twist: leaf ? '' : this.opened[i] ? '▾' : '▸', flags: tree.flags[i] });
  }

  describeRow(row, i) {
    row.setAttribute('aria-level', this.tree.depth[i] + 1);
    if (this.tree.start[i] === this.tree.start[i + 1]) row.removeAttribute('aria-expanded');
    else row.setAttribute('aria-expanded', Boolean(this.opened[i]));
  }

  /** Opens the heaviest path until it is a small part of the whole. */
  openHeavyPath() {
    const { tree } = this;
    const value = sortValue(this.app.model, this.from, this.app.model.diff ? 'change' : 'total', this.metric);
    let node = tree.root;
    let least = 0;
    for (let level = 0; level < 40; level++) {
      let heaviest = -1;
      for (let k = tree.start[node]; k < tree.start[node + 1]; k++) {
        const child = tree.children[k];
        if (heaviest < 0 || value(child) > value(heaviest)) heaviest = child;
      }
      if (heaviest < 0 || value(heaviest) < least) return;
      least = Math.max(least, value(heaviest) * 0.05);
      this.open[heaviest] = 1;
      node = heaviest;
    }
  }

  refresh() {
    this.cache.clear();
    if (!this.begun) {
      this.begun = true;
      this.openHeavyPath();
    }
    const { match } = this.app;
    const changed = this.matchFor !== match;
    if (changed) {
      this.matchFor = match;
      this.kept = match ? this.keep(match) : null;
    }
    this.opened = match ? this.kept.open : this.open;
    this.list();
    // A match can be far below the top of a deep tree.
    if (changed && match) {
      const first = this.grid.ids.findIndex(i => match.fns[this.tree.fn[i]]);
      if (first >= 0) this.grid.moveTo(first, false);
    }
  }

  /** Nodes to show for a search: matches, all below them, and the paths to them, which are opened. */
  keep(match) {
    const { tree } = this;
    const shown = new Uint8Array(tree.count);
    const open = new Uint8Array(tree.count + 1);
    for (let i = 0; i < tree.count; i++) {
      const up = tree.parent[i];
      if (match.fns[tree.fn[i]] || (up < i && shown[up])) shown[i] = 1;
    }
    let opened = 0;
    for (const i of this.matchList(match)) {
      for (let up = tree.parent[i]; up < tree.count && shown[up] === 0; up = tree.parent[up]) {
        shown[up] = 2;
        // Opening thousands of paths would hide the heavy ones.
        if (opened++ < 2000) open[up] = 1;
      }
    }
    return { shown, open };
  }

  children(node) {
    if (!this.cache.has(node)) {
      const { tree } = this;
      let list = Array.from(tree.children.subarray(tree.start[node], tree.start[node + 1]));
      if (this.kept) list = list.filter(i => this.kept.shown[i]);
      this.cache.set(node, this.sorted(list, i => tree.fn[i]));
    }
    return this.cache.get(node);
  }

  /** The rows of all open nodes. A stack, because trees can be deeper than calls of functions may be. */
  list() {
    const ids = [];
    const stack = [this.tree.root];
    while (stack.length) {
      const node = stack.pop();
      if (node !== this.tree.root) ids.push(node);
      if (node === this.tree.root || this.opened[node]) {
        const children = this.children(node);
        for (let k = children.length - 1; k >= 0; k--) stack.push(children[k]);
      }
    }
    this.grid.setIds(ids);
  }

  toggle(i) {
    if (this.tree.start[i] === this.tree.start[i + 1]) return;
    this.opened[i] ^= 1;
    this.list();
  }

  treeKey(event, i) {
    const leaf = this.tree.start[i] === this.tree.start[i + 1];
    if (event.key === ' ') this.toggle(i);
    else if (event.key === 'ArrowRight') {
      if (!leaf && !this.opened[i]) this.toggle(i);
      else if (!leaf) this.grid.moveTo(this.grid.current + 1);
    } else if (event.key === 'ArrowLeft') {
      if (!leaf && this.opened[i]) this.toggle(i);
      else if (this.tree.parent[i] < i) this.grid.moveTo(this.grid.ids.indexOf(this.tree.parent[i]));
    } else return false;
    return true;
  }

  matchList(match) {
    const weight = this.tree.sides[this.app.model.shown].total;
    return match.topmost.slice().sort((a, b) => weight[b] - weight[a]);
  }

  /** Opens the path to a node and makes it current. */
  showMatch(i) {
    for (let up = this.tree.parent[i]; up < this.tree.count; up = this.tree.parent[up]) this.opened[up] = 1;
    this.list();
    this.grid.moveTo(this.grid.ids.indexOf(i));
  }
}

class FunctionsView extends TableView {
  constructor(app) {
    const { flat } = app.model;
    super(app, {
      id: 'functions',
      title: 'Functions',
      role: 'grid',
      about: app.model.diff ? 'Before and after for each function. Most changed first.' : 'Sums over all calls of each function.',
      metric: 'self',
      from: flat.sides,
      flagsOf: f => flat.flags[f],
      order: ['self', 'total'],
      events: { select: f => app.select(f), open: f => app.showFunction(f) },
    });
    this.filter = make('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter functions', spellcheck: 'false', autocomplete: 'off' });
    this.filter.addEventListener('input', () => this.refresh());
    this.shownCount = make('span.shown', { role: 'status' });
    this.controls.prepend(this.filter);
    this.controls.append(this.shownCount);
    const kinds = KINDS.filter(kind => app.kinds.has(kind) && kind !== 'manual');
    this.kind = '';
    if (kinds.length > 1) {
      const select = make('select', { 'aria-label': 'Kind of function' }, make('option', { value: '' }, 'All kinds'), ...kinds.map(kind => make('option', { value: kind }, KIND_NAMES[kind])));
      select.addEventListener('change', () => {
        this.kind = select.value;
        this.refresh();
      });
      this.filter.after(select);
    }
  }

  moreColumns() {
    const { model } = this.app;
    if (!model.functions.some(f => f.file)) return [];
    return [{ key: 'place', label: 'Source', width: WIDE.place, least: 860, fill: (cell, f) => {
      cell.textContent = model.place(f) || '';
      cell.title = cut(cell.textContent, 600);
      cell.classList.add('source');
    } }];
  }

  sorted(ids) {
    if (this.sort.key !== 'place') return super.sorted(ids, f => f);
    const sign = this.sort.down ? 1 : -1;
    const { functions } = this.app.model;
    return ids.sort((a, b) => {
      const [x, y] = [functions[a], functions[b]];
      if ((x.file || '') !== (y.file || '')) return (x.file || '') < (y.file || '') ? -sign : sign;
      return sign * ((x.line || 0) - (y.line || 0)) || a - b;
    });
  }

  fillFunction(cell, f) {
    fillName(this.app, cell, f, { flags: this.flagsOf(f) });
  }

  refresh() {
    const { model, match } = this.app;
    // Sorting a million functions takes a second; filtering them does not.
    const key = `${this.sort.key} ${this.sort.down} ${this.metric}`;
    if (this.sortedFor !== key) {
      const all = [];
      for (let f = 0; f < model.flat.seen.length; f++) if (model.flat.seen[f]) all.push(f);
      this.all = this.sorted(Uint32Array.from(all));
      this.sortedFor = key;
    }
    const words = this.filter ? this.filter.value.trim() : '';
    const filter = words ? matchFunctions(model, words) : null;
    let ids = this.all;
    if (match) ids = ids.filter(f => match.fns[f]);
    if (filter) ids = ids.filter(f => filter.fns[f]);
    if (this.kind) ids = ids.filter(f => model.kind(f) === this.kind);
    this.grid.setIds(ids);
    this.shownCount.textContent = ids.length === this.all.length ? plural(ids.length, 'function') : `${count(ids.length)} of ${plural(this.all.length, 'function')}`;
  }

  matchList() {
    return Array.from(this.grid.ids.slice(0, 100000));
  }

  showMatch(f) {
    this.grid.moveTo(this.grid.ids.indexOf(f));
  }
}

/** A few exclusive buttons, one of which is pressed. */
function choice(label, options, current, chosen) {
  const group = make('div.choice', { role: 'group', 'aria-label': label });
  for (const [value, text] of options) {
    const button = make('button', { type: 'button', 'aria-pressed': value === current, 'data-value': value }, text);
    button.addEventListener('click', () => {
      for (const other of group.children) other.setAttribute('aria-pressed', other === button);
      chosen(value);
    });
    group.append(button);
  }
  return group;
}
