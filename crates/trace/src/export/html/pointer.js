// Mouse, touch and keys of a flame graph.

function listenToFlame(flame) {
  const { canvas, overview, bar } = flame;
  const pointers = new Map();
  let drag = null;

  const spot = event => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const hover = box => {
    const same = (flame.hovered && flame.hovered.p) === (box && box.p) && (flame.hovered && flame.hovered.lane) === (box && box.lane);
    flame.hovered = box;
    if (!same) flame.request();
  };

  canvas.addEventListener('pointerdown', event => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, spot(event));
    drag = { at: spot(event), moved: pointers.size > 1, gap: pinch(pointers) };
  });

  canvas.addEventListener('pointermove', event => {
    const at = spot(event);
    if (!pointers.has(event.pointerId)) {
      point(flame, event, at);
      hover(flame.hit(...at));
      return;
    }
    const last = pointers.get(event.pointerId);
    pointers.set(event.pointerId, at);
    if (pointers.size === 2) {
      const gap = pinch(pointers);
      if (drag.gap) flame.zoom(gap.size / drag.gap.size, gap.middle);
      drag.gap = gap;
      return;
    }
    if (!drag.moved && Math.hypot(at[0] - drag.at[0], at[1] - drag.at[1]) < 4) return;
    if (!drag.moved) {
      drag.moved = true;
      // Captured only now: a click must reach the canvas as a click.
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add('dragging');
      hideTip();
    }
    flame.pan(last[0] - at[0], last[1] - at[1]);
  });

  const release = event => {
    pointers.delete(event.pointerId);
    canvas.classList.remove('dragging');
    if (drag) drag.gap = null;
  };
  canvas.addEventListener('pointerup', release);
  canvas.addEventListener('pointercancel', release);
  canvas.addEventListener('pointerleave', () => {
    hover(null);
    hideTip();
  });

  canvas.addEventListener('click', event => {
    if (drag && drag.moved) return;
    const box = flame.hit(...spot(event));
    if (!box) return;
    hideTip();
    flame.select(box.lane, box.p);
    flame.zoomToSelected();
  });
  canvas.addEventListener('dblclick', () => flame.reset());

  flame.stage.addEventListener('wheel', event => {
    if (!flame.main) return;
    event.preventDefault();
    hideTip();
    const lines = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 400 : 1;
    const [dx, dy] = [event.deltaX * lines, event.deltaY * lines];
    if (event.shiftKey) flame.pan(0, dy || dx);
    else if (Math.abs(dx) > Math.abs(dy) && !event.ctrlKey) flame.pan(dx);
    // A pinch on a touchpad arrives as small steps with ctrlKey.
    else flame.zoom(Math.exp(-dy * (event.ctrlKey ? 0.01 : 0.002)), spot(event)[0]);
  }, { passive: false });

  // Safari reports a pinch by events of its own.
  let pinched = 1;
  canvas.addEventListener('gesturestart', event => {
    event.preventDefault();
    pinched = 1;
  });
  canvas.addEventListener('gesturechange', event => {
    event.preventDefault();
    flame.zoom(event.scale / pinched, spot(event)[0]);
    pinched = event.scale;
  });

  bar.addEventListener('scroll', () => {
    if (Math.abs(bar.scrollTop - flame.scroll) > 1) flame.move(flame.view.x0, flame.view.x1, bar.scrollTop);
  });

  // In the overview a drag inside the visible part moves it; a drag elsewhere chooses a new part.
  let grip = null;
  const along = event => {
    const box = overview.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * flame.extent;
  };
  overview.addEventListener('pointerdown', event => {
    if (!flame.main) return;
    overview.setPointerCapture(event.pointerId);
    const at = along(event);
    const { x0, x1 } = flame.view;
    const whole = x1 - x0 > (flame.extent - flame.begin) * 0.999;
    grip = at > x0 && at < x1 && !whole ? { shift: at - x0, span: x1 - x0 } : { from: at };
  });
  overview.addEventListener('pointermove', event => {
    if (!grip) return;
    const at = along(event);
    if (grip.span) flame.move(at - grip.shift, at - grip.shift + grip.span);
    else if (Math.abs(at - grip.from) > flame.extent * 0.002) flame.move(Math.min(at, grip.from), Math.max(at, grip.from));
  });
  overview.addEventListener('pointerup', () => { grip = null; });
  overview.addEventListener('dblclick', () => flame.reset());
}

/** Distance and middle of two fingers. */
function pinch(pointers) {
  if (pointers.size !== 2) return null;
  const [a, b] = [...pointers.values()];
  return { size: Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1])), middle: (a[0] + b[0]) / 2 };
}

/** Shows what is below the pointer: a box or marks. */
function point(flame, event, at) {
  const { model } = flame.app;
  const marks = flame.marksAt(...at);
  if (marks.length) {
    const lines = marks.slice(0, 8).map(([when, kind, text]) => [visible(kind), visible(text || ''), time(when)]);
    showTip(event, { name: marks.length === 1 ? 'Mark' : `${count(marks.length)} marks`, rows: lines, notes: marks.length > 8 ? [`${marks.length - 8} more`] : [] });
    return;
  }
  const box = flame.hit(...at);
  if (!box) {
    hideTip();
    return;
  }
  const { fn, rows, notes } = box.lane.describe(box.item);
  showTip(event, { name: model.label(fn), place: sourceNote(model, fn), rows, notes });
}

/** A tooltip beside the pointer, within the window. */
function showTip(event, { name, place, rows, notes }) {
  const tip = find('tip');
  tip.replaceChildren(make('div.name', {}, cut(name, 600)));
  if (place) tip.append(make('div.place', {}, cut(place, 300)));
  tip.append(make('dl', {}, ...rows.flatMap(([label, value, part]) => [make('dt', {}, label), make('dd', {}, cut(value, 400)), make('dd.part', {}, part || '')])));
  for (const note of notes) tip.append(make('div.note', {}, cut(note, 400)));
  tip.hidden = false;
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
  const top = event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function hideTip() {
  find('tip').hidden = true;
}

/** Keys of a flame graph. True if the key meant something. */
function flameKey(flame, event) {
  if (!flame.main) return false;
  const far = flame.pixels / 6;
  const keys = {
    ArrowUp: () => flame.step('up'),
    ArrowDown: () => flame.step('down'),
    ArrowLeft: () => flame.step('left'),
    ArrowRight: () => flame.step('right'),
    Enter: () => flame.zoomToSelected(),
    '+': () => flame.zoom(1.5),
    '=': () => flame.zoom(1.5),
    '-': () => flame.zoom(1 / 1.5),
    w: () => flame.zoom(1.5),
    s: () => flame.zoom(1 / 1.5),
    a: () => flame.pan(-far),
    d: () => flame.pan(far),
    PageUp: () => flame.pan(0, -flame.height * 0.8),
    PageDown: () => flame.pan(0, flame.height * 0.8),
    Home: () => flame.move(flame.view.x0, flame.view.x1, 0),
    End: () => flame.move(flame.view.x0, flame.view.x1, flame.contentHeight),
    Escape: () => flame.reset(),
    0: () => flame.reset(),
  };
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return false;
  act();
  return true;
}
