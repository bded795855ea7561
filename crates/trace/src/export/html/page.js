// The page: views, search, the selected function, theme, keys, printing.

const KEYS = [
  ['1 – 5', 'Switch between views'],
  ['/', 'Search; Enter and Shift+Enter go to the next and previous match'],
  ['Arrows', 'Select a call or a row; in the tree, left and right close and open'],
  ['Enter', 'Zoom to the selected call; from a table, show it in the flame graph'],
  ['+ −   W S', 'Zoom in and out'],
  ['A D', 'Move left and right'],
  ['Page Up, Page Down', 'Scroll'],
  ['Esc', 'Show everything again; in the search box, end the search'],
  ['I', 'Show or hide the selected function'],
  ['T', 'Light or dark'],
  ['?', 'This help'],
  ['Click', 'Zoom to a call. Double click shows everything again'],
  ['Wheel, pinch', 'Zoom around the pointer. Shift and wheel scroll'],
  ['Drag', 'Move. In the overview, choose a part'],
];

/** Facts, notes and marks as text. */
class AboutView {
  constructor(app) {
    const { model } = app;
    this.id = 'about';
    this.title = 'About';
    const facts = make('dl.facts', {}, ...model.facts.flatMap(([label, text]) => [make('dt', {}, label), make('dd', {}, text)]));
    this.element = make('section.view.text', { id: 'view-about', 'aria-label': 'About this run', tabindex: 0 },
      make('h2', {}, model.diff ? 'About this comparison' : 'About this run'), facts);
    if (model.notes.length) this.element.append(make('h2', {}, 'Accuracy'), make('ul', {}, ...model.notes.map(note => make('li', {}, note))));
    if (model.marks.length) {
      const rows = model.marks.slice(0, 200).map(([at, kind, text]) => make('tr', {}, make('td.number', {}, time(at)), make('td', {}, visible(kind)), make('td', {}, cut(visible(text || ''), 400))));
      const head = make('tr', {}, make('th.number', { scope: 'col' }, 'Time'), make('th', { scope: 'col' }, 'Kind'), make('th', { scope: 'col' }, 'Text'));
      this.element.append(make('h2', {}, 'Marks'), make('table.marks', {}, make('thead', {}, head), make('tbody', {}, ...rows)));
      if (model.marks.length > 200) this.element.append(make('p.quiet', {}, `and ${count(model.marks.length - 200)} more on the time line`));
    }
  }

  show() {}
  resize() {}
  refresh() {}
  focus() {
    this.element.focus({ preventScroll: true });
  }
}

class App {
  constructor(model) {
    this.model = model;
    this.kinds = new Set(model.functions.map(f => f.kind));
    this.palette = new Palette(model);
    this.match = null;
    this.selected = null;
    this.panelOpen = null;
    this.setTheme(firstTheme(), false);
    this.views = this.build();
    find('views').replaceChildren(...this.views.map(view => view.element));
    this.describe();
    this.listen();
    const first = model.empty ? '' : model.time || (model.manual && !model.hasTimes) ? 'time' : model.hasTimes ? 'tree' : 'functions';
    this.show(this.views.some(view => view.id === first) ? first : this.views[0].id);
    showDetails(this, find('details'), null);
  }

  build() {
    const { model } = this;
    const views = [];
    if (!model.diff) {
      views.push(new Flame(this, {
        id: 'time',
        title: 'Time order',
        about: 'Calls in the order in which they ran.',
        extent: () => model.duration,
        build: () => {
          const lanes = [];
          if (model.manual) lanes.push(manualLane(model, this.palette));
          if (model.time) lanes.push(timeLane(model, this.palette));
          return lanes.length ? lanes : null;
        },
        absent: () => (model.empty ? this.nothing() : 'This recording has sums, but no calls in time order. The other views show them.'),
      }));
    }
    const tree = new Flame(this, {
      id: 'tree',
      title: model.diff ? 'Flame graph' : 'Left heavy',
      about: model.diff ? 'Width is time; colour is the change.' : 'Same paths merged, the heaviest first.',
      build: () => (model.tree.count && model.hasTimes ? [treeLane(model, this.palette)] : null),
      absent: () => (model.tree.count ? 'This recording has no times. The call tree and the functions show calls.' : this.nothing()),
    });
    if (model.diff) {
      tree.controls.append(choice('Widths', [['0', 'Before'], ['1', 'After']], '1', value => {
        model.shown = Number(value);
        tree.rebuild();
      }));
    }
    views.push(tree, new TreeView(this), new FunctionsView(this), new AboutView(this));
    for (const view of views) if (view.legend) this.fillLegend(view.legend);
    return views;
  }

  nothing() {
    return this.match || !this.model.empty ? 'No function matches.' : 'No calls were recorded.';
  }

  fillLegend(legend) {
    const { model, palette } = this;
    const chips = model.diff
      ? [['faster', 0], ['', 1], ['', 2], ['same', 3], ['', 4], ['', 5], ['slower', 6], ['within spread', STEP.noise], ['new', STEP.added], ['gone', STEP.gone]].map(([text, step]) => [text, palette.fills[step]])
      : KINDS.filter(kind => this.kinds.has(kind)).map(kind => [KIND_NAMES[kind], palette.fills[KINDS.indexOf(kind) * SHADES + 4]]);
    legend.replaceChildren(...chips.map(([text, colour]) => {
      const dot = make('span.dot');
      dot.style.background = colour;
      return make(text ? 'span' : 'span.step', {}, dot, text);
    }));
  }

  /** Title, summary, tabs and notes. */
  describe() {
    const { model } = this;
    document.title = `${model.program} – wasmtrace`;
    find('program').textContent = model.program;
    find('program').title = cut(model.program, 400);
    const parts = model.diff
      ? [`${time(model.grand[0])} → ${time(model.grand[1])} (${ratio(model.grand[0], model.grand[1])})`]
      : [model.hasTimes || model.duration ? time(model.duration || model.grand[0]) : null, model.hasCalls ? plural(model.calls[0], 'call') : null];
    parts.push(plural(model.flat.seen.reduce((n, seen) => n + seen, 0), 'function'));
    if (model.samples) parts.push(plural(model.samples, 'sample'));
    find('summary').textContent = parts.filter(Boolean).join(' · ');
    find('tabs').replaceChildren(...this.views.map((view, i) => {
      const tab = make('button', { type: 'button', role: 'tab', id: `tab-${view.id}`, 'aria-controls': `view-${view.id}`, title: `${view.title} (${i + 1})` }, view.title);
      tab.addEventListener('click', () => this.show(view.id));
      view.element.setAttribute('role', 'tabpanel');
      view.element.hidden = true;
      return tab;
    }));
    find('notes').replaceChildren(...model.notes.map(note => make('span', {}, note)));
    find('notes').hidden = model.notes.length === 0;
  }

  get view() {
    return this.views.find(view => !view.element.hidden);
  }

  byId(id) {
    return this.views.find(view => view.id === id);
  }

  show(id) {
    hideTip();
    for (const view of this.views) {
      view.element.hidden = view.id !== id;
      find(`tab-${view.id}`).setAttribute('aria-selected', view.id === id);
      find(`tab-${view.id}`).tabIndex = view.id === id ? 0 : -1;
    }
    this.showPanel();
    this.view.show();
    this.view.focus();
    this.matchAt = -1;
    this.matches = null;
    this.sayMatches();
  }

  /** Selects a function in all views. */
  select(f) {
    if (this.selected === f) return;
    this.selected = f;
    if (!find('details').hidden) showDetails(this, find('details'), f);
  }

  /** Shows or hides the panel. Until someone decides, it is open beside the functions only. */
  showPanel(open) {
    if (open !== undefined) this.panelOpen = open;
    const panel = find('details');
    const wanted = this.view.id !== 'about' && (this.panelOpen === null ? this.view.id === 'functions' && !this.model.empty && innerWidth > 900 : this.panelOpen);
    const changed = panel.hidden === wanted;
    panel.hidden = !wanted;
    find('panel').setAttribute('aria-pressed', wanted);
    if (wanted && changed) showDetails(this, panel, this.selected);
    if (changed) this.view.resize();
  }

  /** Where else a function can be seen: `[text, action]`. */
  jumps(f) {
    const jumps = [];
    if (this.model.flat.seen[f]) {
      if (this.model.hasTimes) jumps.push(['Show in flame graph', () => this.showFunction(f)]);
      jumps.push(['Show in call tree', () => {
        this.setSearch('');
        this.show('calls');
        this.byId('calls').showMatch(this.heaviest(f));
      }]);
    }
    jumps.push(['Search', () => this.setSearch(this.model.label(f))]);
    return jumps;
  }

  heaviest(f) {
    const weight = this.model.tree.sides[this.model.shown].total;
    return nodesOf(this.model, f).reduce((best, node) => (best < 0 || weight[node] > weight[best] ? node : best), -1);
  }

  showFunction(f) {
    const node = this.heaviest(f);
    if (node >= 0) this.showNode(node);
  }

  showNode(node) {
    if (!this.model.hasTimes) return;
    this.show('tree');
    this.byId('tree').goTo(node, true);
  }

  setSearch(query) {
    find('search').value = query;
    this.search(query);
  }

  search(query) {
    query = query.trim();
    if (query === (this.match ? this.match.query : '')) return;
    this.match = query ? searchModel(this.model, query) : null;
    this.matches = null;
    this.matchAt = -1;
    for (const view of this.views) {
      if (view instanceof Flame) view.request();
      else if (view.shown) view.refresh();
    }
    this.sayMatches();
  }

  sayMatches() {
    const { match, model } = this;
    const none = !match || match.found === 0;
    find('previous').disabled = find('next').disabled = none || this.view.id === 'about';
    if (!match) {
      find('matches').textContent = '';
      return;
    }
    const part = model.hasTimes ? ` · ${share(match.times[model.shown], model.grand[model.shown])} of time` : '';
    const at = this.matchAt >= 0 ? `${count(this.matchAt + 1)} of ${count(this.matches.length)} · ` : '';
    find('matches').textContent = none ? 'no match' : `${at}${plural(match.found, 'function')}${part}`;
  }

  /** The next or previous match in the visible view. */
  goToMatch(step) {
    if (!this.match || !this.view.matchList) return;
    if (!this.matches) this.matches = this.view.matchList(this.match);
    if (this.matches.length === 0) return;
    const n = this.matches.length;
    this.matchAt = this.matchAt < 0 ? (step > 0 ? 0 : n - 1) : (this.matchAt + step + n) % n;
    this.view.showMatch(this.matches[this.matchAt]);
    this.sayMatches();
  }

  setTheme(theme, keep = true) {
    document.documentElement.dataset.theme = theme;
    this.palette.set(theme);
    find('theme').textContent = theme === 'dark' ? 'Light' : 'Dark';
    if (keep) keepTheme(theme);
    for (const view of this.views || []) {
      if (view.legend) this.fillLegend(view.legend);
      if (view instanceof Flame) view.request();
      else if (view.shown) view.grid.draw();
    }
    if (this.views && !find('details').hidden) showDetails(this, find('details'), this.selected);
  }

  help() {
    const dialog = find('keys');
    const close = make('button', { type: 'button', onclick: () => dialog.close() }, 'Close');
    dialog.replaceChildren(make('h2', {}, 'Keys and mouse'), make('dl', {}, ...KEYS.flatMap(([key, text]) => [make('dt', {}, make('kbd', {}, key)), make('dd', {}, text)])), close);
    dialog.showModal();
  }

  listen() {
    const search = find('search');
    // A search over a million nodes takes a moment, so it waits for a pause in typing.
    let waiting = 0;
    search.addEventListener('input', () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.search(search.value), this.model.tree.count > 1e5 ? 200 : 30);
    });
    search.addEventListener('keydown', event => {
      if (event.key === 'Enter') {
        clearTimeout(waiting);
        this.search(search.value);
        this.goToMatch(event.shiftKey ? -1 : 1);
      } else if (event.key === 'Escape') {
        this.setSearch('');
        this.view.focus();
      } else if (event.key === 'ArrowDown') this.view.focus();
      else return;
      event.preventDefault();
    });
    find('next').addEventListener('click', () => this.goToMatch(1));
    find('previous').addEventListener('click', () => this.goToMatch(-1));
    find('theme').addEventListener('click', () => this.setTheme(this.palette.theme === 'dark' ? 'light' : 'dark'));
    find('help').addEventListener('click', () => this.help());
    find('panel').addEventListener('click', () => this.showPanel(find('details').hidden));
    find('tabs').addEventListener('keydown', event => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const n = this.views.length;
      this.show(this.views[(this.views.indexOf(this.view) + step + n) % n].id);
      find(`tab-${this.view.id}`).focus();
      event.preventDefault();
      event.stopPropagation();
    });
    document.addEventListener('keydown', event => this.key(event));
    window.addEventListener('beforeprint', () => this.print());
    new ResizeObserver(() => this.view.resize()).observe(find('views'));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || find('keys').open) return;
    if (event.target.closest('input, select, textarea')) {
      if (event.key === 'Escape') this.view.focus();
      return;
    }
    // Enter and space on a button press it.
    if (event.target.closest('button') && (event.key === 'Enter' || event.key === ' ')) return;
    const { view } = this;
    const tab = this.views[Number(event.key) - 1];
    let done = true;
    if (/^[1-9]$/.test(event.key) && tab) this.show(tab.id);
    else if (event.key === '/') {
      find('search').focus();
      find('search').select();
    } else if (event.key === '?') this.help();
    else if (event.key.toLowerCase() === 'i') this.showPanel(find('details').hidden);
    else if (event.key.toLowerCase() === 't') this.setTheme(this.palette.theme === 'dark' ? 'light' : 'dark');
    else if (event.key.toLowerCase() === 'n' && this.match) this.goToMatch(event.shiftKey ? -1 : 1);
    else if (view instanceof Flame) done = flameKey(view, event);
    else done = Boolean(view.grid && !event.target.closest('#details, .choice, .head') && view.grid.key(event));
    if (done) event.preventDefault();
  }

  /** Paper has facts, the top of the flat table and the flame graph as it is on the screen. */
  print() {
    const { model } = this;
    const paper = find('print');
    const flame = this.view instanceof Flame && this.view.main ? this.view : this.views.find(view => view instanceof Flame && view.main);
    const [last] = model.flat.sides.slice(-1);
    const top = Array.from(model.flat.seen.keys()).filter(f => model.flat.seen[f]).sort((a, b) => last.self[b] - last.self[a]).slice(0, 30);
    paper.replaceChildren(make('h1', {}, model.program),
      make('dl.facts', {}, ...model.facts.flatMap(([label, text]) => [make('dt', {}, label), make('dd', {}, cut(text, 400))])),
      make('ul', {}, ...model.notes.map(note => make('li', {}, note))));
    if (flame) paper.append(make('h2', {}, flame.title), this.picture(flame));
    const heads = ['Function', 'Self', 'Total', 'Calls', ...(model.diff ? ['Self before', 'Difference'] : [])];
    const row = f => [cut(model.label(f), 120), time(last.self[f]), time(last.total[f]), model.hasCalls ? count(last.calls[f]) : '–',
      ...(model.diff ? [time(model.flat.sides[0].self[f]), timeChange(last.self[f] - model.flat.sides[0].self[f])] : [])];
    paper.append(make('h2', {}, 'Functions by self time'), make('table', {},
      make('thead', {}, make('tr', {}, ...heads.map(text => make('th', {}, text)))),
      make('tbody', {}, ...top.map(f => make('tr', {}, ...row(f).map(text => make('td', {}, text)))))));
  }

  /** The visible part of a flame graph in light colours, whatever the theme. */
  picture(flame) {
    const canvas = make('canvas');
    const [width, height] = [1000, Math.min(700, flame.contentHeight - flame.scroll)];
    canvas.width = width * 2;
    canvas.height = (height + AXIS) * 2;
    const ctx = canvas.getContext('2d');
    ctx.setTransform(2, 0, 0, 2, 0, 0);
    const palette = new Palette(this.model);
    ctx.fillStyle = palette.page;
    ctx.fillRect(0, 0, width, height + AXIS);
    const scene = { ...flame.view, pixels: width, top: AXIS, height, scroll: flame.scroll, match: this.match };
    paintAxis(ctx, scene, palette);
    paintLanes(ctx, flame.lanes, scene, palette, this.model);
    return canvas;
  }
}

/** The running page, for scripts that drive it. */
let page = null;

async function begin() {
  const started = performance.now();
  document.documentElement.dataset.theme = firstTheme();
  try {
    page = new App(buildModel(openColumns(await inflate())));
    page.loaded = performance.now() - started;
    document.documentElement.dataset.state = 'ready';
  } catch (error) {
    document.documentElement.dataset.state = 'failed';
    find('views').replaceChildren(make('p.message', { role: 'alert' }, error instanceof Unreadable ? error.message : `This page cannot be shown: ${error.message}.`));
    if (!(error instanceof Unreadable)) throw error;
  }
}

begin();
