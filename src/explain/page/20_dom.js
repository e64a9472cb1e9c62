// Elements, numbers and colours.
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "style") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined) element.append(child);
  return element;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const $ = selector => document.querySelector(selector);
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const styleOf = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function percent(p) {
  if (p === null || p === undefined || Number.isNaN(p)) return "–";
  const v = 100 * p, a = Math.abs(v);
  if (a > 0 && a < 0.01) return "< 0.01 %";
  return (a >= 99.95 || a === 0 ? v.toFixed(0) : a >= 9.995 ? v.toFixed(1) : v.toFixed(2)) + " %";
}
function number(x) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const a = Math.abs(x);
  if (Number.isInteger(x) && a < 1000) return String(x);
  if (a >= 1000) return Math.round(x).toLocaleString("en");
  return a === 0 ? "0" : a >= 100 ? x.toFixed(0) : a >= 10 ? x.toFixed(1) : a >= 0.01 ? x.toFixed(a >= 1 ? 2 : 3) : x.toExponential(1);
}
// A token as one can see it: blanks and line ends made visible.
const visible = text => text === "" ? "∅" : text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ +| +$/g, m => "·".repeat(m.length));
const quoted = text => "“" + (text.trim() === "" ? visible(text) : text.trim()) + "”";
const shortened = (text, length) => text.length > length ? text.slice(0, length - 1) + "…" : text;

// Viridis (van der Walt & Smith, CC0), nine of its colours, joined by straight lines: dark to light in even steps for
// every kind of colour vision.
const kViridis = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];
const viridisTable = Array.from({length: 256}, (_, i) => {
  const x = i / 255 * (kViridis.length - 1), j = Math.min(kViridis.length - 2, Math.floor(x));
  return kViridis[j].map((c, k) => Math.round(c + (kViridis[j + 1][k] - c) * (x - j)));
});
const viridis = t => viridisTable[Math.round(clamp(t, 0, 1) * 255)];
const css = rgb => `rgb(${rgb[0]},${rgb[1]},${rgb[2]})`;

// A logarithmic scale reaches from the largest weight shown down to the smallest, at least a tenth and at most a
// thousandth of it: even maps keep looking even.
const leastShown = (smallest, largest) => clamp(smallest, largest / 1000, largest / 10);
function scaled(weight, log, largest, smallest) {
  if (weight <= 0 || largest <= 0) return 0;
  if (!log) return clamp(weight / largest, 0, 1);
  const least = leastShown(smallest, largest);
  return clamp(Math.log(weight / least) / Math.log(largest / least), 0, 1);
}

function panel(id, title, note, ...children) {
  return h("section", {class: "panel", id, "aria-labelledby": id + "-title"},
    h("div", {class: "head"}, h("h2", {id: id + "-title", text: title}), note ? h("p", {class: "note"}, note) : null), ...children);
}
function toggle(label, title, pressed, action, id) {
  return h("button", {type: "button", class: "toggle", title, id, "aria-pressed": String(pressed), onclick: action, text: label});
}
function choice(label, id, options, value, action) {
  const select = h("select", {id, onchange: e => action(e.target.value)},
    options.map(([v, text]) => h("option", {value: v, text, selected: String(v) === String(value)})));
  return h("label", {class: "choice"}, h("span", {text: label}), select);
}

const tip = $("#tip");
function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line, i) => h(i ? "div" : "strong", {text: line})));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = clamp(x + 14, 4, innerWidth - box.width - 4) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
}
function hideTip() { tip.hidden = true; }
