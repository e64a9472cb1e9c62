// What the reader looks at. Every change goes through update(), which redraws the panels that depend on it and keeps
// the URL's hash in step, so that a view can be bookmarked and sent.
const state = {
  ex: 0, layer: 0, head: 0, tokens: [], lock: false, log: true, hideFirst: false, words: false, colour: "r0",
  sort: "place", filter: "all", pins: [], view: null, theme: "auto", hover: -1,
};
let attention = null;  // of the example shown, once unpacked
const panels = [];     // {depends, draw}
const onChange = (depends, draw) => panels.push({depends: new Set(depends), draw});
const example = () => page.examples[state.ex];
const tokenCount = () => example() ? example().tokens.text.length : 0;

function update(patch) {
  const changed = Object.keys(patch).filter(k => JSON.stringify(state[k]) !== JSON.stringify(patch[k]));
  Object.assign(state, patch);
  if (!changed.length) return;
  for (const p of panels) if (changed.some(k => p.depends.has(k))) p.draw();
  if (changed.some(k => k !== "hover")) writeHash();
}

const kHash = {ex: "e", layer: "l", head: "h", tokens: "t", lock: "k", log: "g", hideFirst: "f", words: "w", colour: "c", sort: "s", filter: "v", pins: "p", view: "z", theme: "m"};
const kInitial = JSON.parse(JSON.stringify(state));
// A notebook shows the page in a frame, which has no address of its own to keep the view in.
const hasAddress = location.protocol !== "about:";
function writeHash() {
  if (!hasAddress) return;
  const parts = [];
  for (const [name, key] of Object.entries(kHash)) {
    const value = state[name];
    if (JSON.stringify(value) === JSON.stringify(kInitial[name])) continue;
    parts.push(key + "=" + encodeURIComponent(Array.isArray(value) ? value.join(",") : typeof value === "boolean" ? +value : value));
  }
  history.replaceState(null, "", "#" + parts.join("&"));
}
function readHash() {
  const given = new URLSearchParams(location.hash.slice(1)), read = {};
  const whole = (text, low, high) => { const x = parseInt(text, 10); return Number.isFinite(x) ? clamp(x, low, high) : low; };
  for (const [name, key] of Object.entries(kHash)) {
    if (!given.has(key)) continue;
    const text = given.get(key), kind = kInitial[name];
    if (name === "tokens") read[name] = text.split(",").map(t => parseInt(t, 10)).filter(t => t >= 0);
    else if (name === "pins") read[name] = text.split(",").filter(t => /^\d+\.-?\d+$/.test(t));
    else if (name === "view") { const v = text.split(",").map(Number); if (v.length === 4 && v.every(Number.isFinite)) read[name] = v; }
    else if (typeof kind === "boolean") read[name] = text === "1";
    else if (typeof kind === "number") read[name] = whole(text, name === "head" ? -1 : 0, 1e6);
    else read[name] = text;
  }
  return read;
}
// Brings a state read from outside into the bounds of the example.
function bounded(s) {
  const ex = clamp(s.ex, 0, Math.max(0, page.examples.length - 1)), e = page.examples[ex];
  const n = e ? e.tokens.text.length : 0, a = e && e.attention;
  const view = s.view && s.view[0] >= 0 && s.view[1] <= n && s.view[0] < s.view[1] && s.view[2] >= 0 && s.view[3] <= n && s.view[2] < s.view[3] ? s.view : null;
  return {...s, ex, view, tokens: s.tokens.filter(t => t < n),
    layer: a ? clamp(s.layer, 0, a.layers - 1) : 0, head: a ? clamp(s.head, -1, a.heads - 1) : 0};
}

// The tokens whose attention is shown: the locked or clicked ones, or the one under the pointer.
function shownTokens() {
  if (state.hover >= 0 && !state.lock) return [state.hover];
  return state.tokens;
}
const headName = (layer, head) => {
  const depth = attention ? attention.layers / attention.members : layer + 1;
  const member = attention && attention.members > 1 ? `M${Math.floor(layer / depth) + 1} ` : "";
  return `${member}L${layer % depth + 1} ${head < 0 ? "mean" : "H" + (head + 1)}`;
};
const isLanguageModel = () => page.model.task === "language-model";
