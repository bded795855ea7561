'use strict';
// How names, times and counts become text, and how text becomes elements.
// All files of the page are joined into one script. No text of a module ever becomes markup: see `make`.

// Control, format (bidirectional, zero-width), line-separator and lone surrogate characters. They would hide or reorder text.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const EVERY_UNSEEN = new RegExp(UNSEEN.source, 'gu');

/** The text with each invisible character written as `\u{…}`. */
function visible(text) {
  if (!UNSEEN.test(text)) return text;
  return text.replace(EVERY_UNSEEN, c => `\\u{${c.codePointAt(0).toString(16)}}`);
}

const UNITS = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];

/** Nanoseconds with three significant digits: `1.23 s`, `12.3 ms`, `465 µs`, `88 ns`. */
function time(ns) {
  const size = Math.abs(ns);
  if (!(size >= 0.005)) return '0 ns';
  // 0.9995: what rounds up to 1.00 of a unit is written in that unit.
  const [unit, name] = UNITS.find(([u]) => size >= u * 0.9995) || UNITS[3];
  const value = size / unit;
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const plain = unit === 1 && (value >= 10 || Number.isInteger(value));
  const text = value >= 1000 ? count(value) : value.toFixed(plain ? 0 : digits);
  return `${ns < 0 ? '−' : ''}${text} ${name}`;
}

/** A difference of times, always with its sign. */
function timeChange(ns) {
  return ns > 0 ? `+${time(ns)}` : time(ns);
}

/** A position on an axis whose ticks are `step` apart: as many decimals as the step needs. */
function tick(ns, step) {
  if (ns === 0) return '0';
  const [unit, name] = UNITS.find(([u]) => Math.max(ns, step) >= u) || UNITS[3];
  const decimals = Math.min(9, Math.max(0, -Math.floor(Math.log10(step / unit) + 1e-9)));
  return `${(ns / unit).toFixed(decimals)} ${name}`;
}

function count(n) {
  return Math.round(n).toLocaleString('en-US');
}

function countChange(n) {
  return `${n > 0 ? '+' : n < 0 ? '−' : ''}${count(Math.abs(n))}`;
}

/** A part of a whole as a percentage with one decimal. */
function share(part, whole) {
  if (!(whole > 0)) return '–';
  const percent = 100 * part / whole;
  if (percent !== 0 && Math.abs(percent) < 0.05) return '<0.1 %';
  return `${percent.toFixed(1)} %`;
}

/** A relative change with its sign: `+12.3 %`, `new`, `gone`. */
function ratio(before, after) {
  if (before === after) return '0 %';
  if (before === 0) return 'new';
  if (after === 0) return 'gone';
  const percent = 100 * (after - before) / before;
  const size = Math.abs(percent);
  if (size >= 9950) return `×${count(after / before)}`;
  return `${percent < 0 ? '−' : '+'}${size < 9.95 ? size.toFixed(1) : count(size)} %`;
}

function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Where a path of modules ends: the index of the last segment of `a::b::<T>::c(args)`, outside of brackets. */
function lastSegment(name) {
  let deep = 0;
  let at = 0;
  for (let i = 0; i < name.length; i++) {
    const c = name[i];
    if (c === '<' || c === '(' || c === '[') deep++;
    else if ((c === '>' && name[i - 1] !== '-') || c === ')' || c === ']') deep--;
    else if (deep === 0 && c === ':' && name[i + 1] === ':') at = i + 2;
    else if (deep === 0 && c === ' ') break;
  }
  return at < name.length ? at : 0;
}

/** The name in at most `room` characters. The last segment says most, so the path goes first. */
function fit(name, room) {
  if (name.length <= room) return name;
  const tail = lastSegment(name.length > 400 ? name.slice(0, 400) : name);
  if (tail > 0 && name.length - tail + 1 <= room) return `…${name.slice(tail)}`;
  const start = tail === 0 ? name.slice(0, room - 1) : room > 8 ? `…${name.slice(tail, tail + room - 2)}` : name.slice(tail, tail + room - 1);
  // A pair of surrogates must not be cut apart.
  return `${/[\ud800-\udbff]$/.test(start) ? start.slice(0, -1) : start}…`;
}

/** The text for an attribute `title` or a table: long names stay readable. */
function cut(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/**
 * An element with a class and content. Strings become text nodes, so `<` in a name stays a character.
 * @param {string} tag  `div.class`
 */
function make(tag, properties, ...content) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties || {})) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...content.filter(part => part !== null && part !== undefined));
  return element;
}

function find(id) {
  return document.getElementById(id);
}
