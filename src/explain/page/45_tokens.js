// The token strip: every token of the input, coloured by what it had to do with the chosen one.
//   background  how much the chosen token attends to it; bar beneath  how much it attends to the chosen token.
// With no token chosen, the background tells a relevance, the attention received, or the surprise.
let chips = [];  // one element a unit: a token, or a word
let units = [];  // token numbers of each unit

// A token without a text stands for the character of those before it: they are shown as one.
const sharesText = t => t > 0 && example().tokens.text[t] === "";
function shownText(t) {
  while (sharesText(t)) --t;
  return example().tokens.text[t];
}
const shownTexts = () => example().tokens.text.map((_, t) => shownText(t));
function makeUnits() {
  const word = example().tokens.word;
  units = [];
  for (let i = 0; i < word.length; ++i) {
    const joined = i > 0 && (sharesText(i) || state.words && word[i] >= 0 && word[i] === word[i - 1]);
    if (joined) units[units.length - 1].push(i);
    else units.push([i]);
  }
}
function colourings() {
  const e = example(), list = e.relevance.map((r, i) => ["r" + i, r.name]);
  if (attention) list.push(["mass", "attention received"]);
  if (e.next.length) list.push(["bits", "surprise"]);
  list.push(["none", "nothing"]);
  return list;
}
// {values [N], signed, text(value)} of the colouring at rest.
function colouring() {
  const e = example();
  if (state.colour === "mass" && attention) return {name: "attention received from all tokens in " + headName(state.layer, state.head), values: attention.mass(state.layer, state.head), signed: false, text: percent};
  if (state.colour === "bits" && e.next.length) return {name: "surprise", values: surprises(e).map(b => Number.isNaN(b) ? 0 : b), signed: false, text: v => number(v) + " bits"};
  const i = /^r\d+$/.test(state.colour) ? +state.colour.slice(1) : -1;
  if (e.relevance[i]) {
    const values = relevanceValues(i);
    return {name: e.relevance[i].name, values, signed: values.some(v => v < 0), text: number};
  }
  return null;
}
const relevanceCache = new Map();
function relevanceValues(i) {
  const key = state.ex + "/" + i;
  if (!relevanceCache.has(key)) relevanceCache.set(key, floatsOf(example().relevance[i].values));
  return relevanceCache.get(key);
}
// Attention from the chosen tokens (mean over them) and to them (sum over them), for every token.
function shownAttention(tokens) {
  const n = tokenCount(), from = new Float32Array(n), to = new Float32Array(n);
  for (const t of tokens) {
    const row = attention.row(state.layer, state.head, t), column = attention.column(state.layer, state.head, t);
    for (let i = 0; i < n; ++i) { from[i] += row[i] / tokens.length; to[i] += column[i]; }
  }
  return {from, to};
}

function makeStrip() {
  const e = example(), strip = $("#strip");
  makeUnits();
  // Long inputs are cut into blocks that the browser may skip while they are out of sight.
  const blocks = [], perBlock = units.length > 1500 ? 500 : units.length;
  chips = units.map((unit, u) => {
    const text = unit.map(t => e.tokens.text[t]).join("");
    const chip = h("span", {class: "tok" + (/^\s/.test(text) ? " gap" : ""), role: "option", "data-unit": u, id: "unit" + u, "aria-selected": "false", tabindex: "-1"},
      h("b", {text: visible(text.trim() === "" ? text : text.replace(/^ +/, ""))}), h("i", {}));
    if (u % perBlock === 0) blocks.push(h("div", {class: "block", role: "presentation"}));
    blocks[blocks.length - 1].append(chip);
    if (/\n/.test(text)) blocks[blocks.length - 1].append(h("br", {}));
    return chip;
  });
  strip.replaceChildren(...blocks);
  $("#colour-slot").replaceChildren(choice("At rest, colour by", "colour", colourings(), state.colour, v => update({colour: v})));
  paintStrip();
}

// Colour as a tint of the panel's background, so that text keeps its contrast in both themes.
function tint(colour, amount) { return amount <= 0.004 ? "" : `color-mix(in oklab, var(${colour}) ${Math.round(100 * amount)}%, transparent)`; }

function paintStrip() {
  if (!chips.length) return;
  const tokens = shownTokens(), chosen = new Set(tokens), info = $("#strip-info");
  const perUnit = (values, unit, mean) => { let s = 0; for (const t of unit) s += values[t]; return mean ? s / unit.length : s; };
  let background, under = null, signed = false;
  if (tokens.length && attention) {
    const {from, to} = shownAttention(tokens);
    background = units.map(u => perUnit(from, u, false));
    under = units.map(u => perUnit(to, u, true));
  } else {
    const c = colouring();
    if (c) { background = units.map(u => perUnit(c.values, u, false)); signed = c.signed; }
  }
  const usable = background ? background.map((v, u) => state.hideFirst && units[u][0] === 0 ? 0 : Math.abs(v)) : [];
  const largest = Math.max(1e-12, ...usable), largestUnder = under ? Math.max(1e-12, ...under) : 1;
  const query = $("#search").value.trim().toLowerCase();
  chips.forEach((chip, u) => {
    const v = background ? background[u] : 0, isChosen = units[u].some(t => chosen.has(t));
    const hidden = state.hideFirst && units[u][0] === 0;
    const amount = !background || hidden ? 0 : 0.78 * Math.pow(Math.abs(v) / largest, state.log && under ? 0.5 : 0.8);
    chip.style.background = tint(signed && v < 0 ? "--against" : "--for", amount);
    chip.firstChild.style.fontWeight = amount > 0.45 ? "650" : "";
    chip.lastChild.style.transform = `scaleX(${under && under[u] > 0.03 * largestUnder ? (under[u] / largestUnder).toFixed(3) : 0})`;
    chip.classList.toggle("chosen", isChosen);
    chip.classList.toggle("hit", query !== "" && chip.firstChild.textContent.toLowerCase().includes(query));
    chip.setAttribute("aria-selected", String(isChosen && state.tokens.length > 0));
  });
  const focus = state.tokens.length ? unitOf(state.tokens[state.tokens.length - 1]) : 0;
  chips.forEach((chip, u) => { chip.tabIndex = u === focus ? 0 : -1; });
  info.replaceChildren(...stripInfo(tokens, background, under));
  $("#legend").className = under ? "legend choosing" : signed ? "legend signed" : "legend";
}
const unitOf = token => units.findIndex(u => u.includes(token));

function stripInfo(tokens, background, under) {
  const e = example(), name = t => quoted(shownText(t));
  const strongest = values => [...values.keys()].filter(u => values[u] > 0).sort((a, b) => values[b] - values[a]).slice(0, 4);
  const unitText = u => quoted(units[u].map(t => e.tokens.text[t]).join(""));
  if (!tokens.length || !under) {
    const c = colouring();
    return [c ? `Coloured by ${c.name}. ` : "", attention ? "Point at a token to see what it attends to and what attends to it; click locks, shift-click adds." : ""];
  }
  const list = (values, text) => strongest(values).map((u, i) => [i ? ", " : "", h("b", {text: unitText(u)}), " " + text(values[u])]);
  const who = tokens.length === 1 ? `${name(tokens[0])} (token ${tokens[0]})` : `${tokens.length} tokens`;
  return [h("div", {}, h("span", {class: "key from"}), `${who} attends to `, ...list(background, percent)),
    h("div", {}, h("span", {class: "key to"}), "attended by ", ...list(under, percent), state.lock ? h("span", {class: "locked", text: " locked – click again or press L to release"}) : "")];
}

function chooseToken(token, add) {
  const unit = units[unitOf(token)] || [token], has = unit.every(t => state.tokens.includes(t));
  if (add) {
    const rest = state.tokens.filter(t => !unit.includes(t));
    update({tokens: has ? rest : [...rest, ...unit], lock: !has || rest.length > 0});
  } else if (state.lock && has && state.tokens.length === unit.length) {
    update({tokens: [], lock: false, hover: -1});
  } else {
    update({tokens: unit, lock: true});
  }
}
function stepToken(by) {
  if (!units.length) return;
  const last = state.tokens.length ? unitOf(state.tokens[state.tokens.length - 1]) : by > 0 ? -1 : units.length;
  const u = clamp(last + by, 0, units.length - 1);
  update({tokens: units[u], lock: true});
  chips[u].scrollIntoView({block: "nearest"});
  if (document.activeElement && document.activeElement.classList.contains("tok")) chips[u].focus({preventScroll: true});
}
function search(next) {
  const query = $("#search").value.trim().toLowerCase();
  if (query === "") { paintStrip(); return 0; }
  const hits = [...chips.keys()].filter(u => chips[u].firstChild.textContent.toLowerCase().includes(query));
  if (next && hits.length) {
    const now = state.tokens.length ? unitOf(state.tokens[0]) : -1;
    const u = hits.find(x => x > now) ?? hits[0];
    update({tokens: units[u], lock: true});
    chips[u].scrollIntoView({block: "nearest"});
  }
  paintStrip();
  $("#hits").textContent = hits.length ? `${hits.length} found` : "none found";
  return hits.length;
}

function tokenPanel() {
  const unitAt = e => { const chip = e.target.closest && e.target.closest(".tok"); return chip ? +chip.dataset.unit : -1; };
  const strip = h("div", {id: "strip", role: "listbox", "aria-multiselectable": "true", "aria-label": "Tokens of the input",
    onpointerover: e => { if (e.pointerType !== "touch" && unitAt(e) >= 0) update({hover: units[unitAt(e)][0]}); },
    onpointerleave: () => update({hover: -1}),
    onclick: e => { if (unitAt(e) >= 0) chooseToken(units[unitAt(e)][0], e.shiftKey || e.ctrlKey || e.metaKey); },
    onkeydown: e => { if ((e.key === "Enter" || e.key === " ") && unitAt(e) >= 0) { e.preventDefault(); chooseToken(units[unitAt(e)][0], e.shiftKey); } }});
  return panel("tokens", "Tokens", null,
    h("div", {class: "bar"},
      h("span", {id: "colour-slot"}),
      toggle("Words", "Join the tokens of a word (W)", state.words, () => update({words: !state.words}), "words"),
      h("label", {class: "choice"}, h("span", {text: "Find"}), h("input", {id: "search", type: "search", placeholder: "/", size: 10, "aria-label": "Find a token", oninput: () => search(false),
        onkeydown: e => { if (e.key === "Enter") search(true); if (e.key === "Escape") { e.target.value = ""; search(false); e.target.blur(); } }})),
      h("span", {id: "hits", class: "note", role: "status"})),
    strip,
    h("div", {id: "strip-info", "aria-live": "polite"}),
    h("div", {id: "legend", class: "legend"},
      h("span", {class: "lg-from"}, h("i", {class: "sw for"}), "the chosen token attends to this"), h("span", {class: "lg-to"}, h("i", {class: "sw to"}), "this attends to the chosen token"),
      h("span", {class: "lg-for"}, h("i", {class: "sw for"}), "for the prediction"), h("span", {class: "lg-against"}, h("i", {class: "sw against"}), "against it"),
      h("span", {class: "lg-size"}, h("i", {class: "sw for"}), "more")));
}
