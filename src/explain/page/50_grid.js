// All heads at a glance: a thumbnail of each map, its entropy and its strongest key.
const kSorts = [["place", "layer and head"], ["entropy", "focus (low entropy first)"], ["-entropy", "breadth (high entropy first)"], ["-first", "weight on the first token"], ["-self", "weight on itself"], ["distance", "nearness"], ["-distance", "reach"], ["-strongest", "strongest weight"]];
const kFilters = [["all", "all heads"], ["pinned", "pinned"], ["focused", "focused (entropy < 50 %)"], ["broad", "broad (entropy ≥ 80 %)"], ["first", "on the first token (≥ 30 %)"], ["local", "local (reach ≤ 4 tokens)"]];
const pinName = (layer, head) => layer + "." + head;

function passes(figures, layer, head) {
  switch (state.filter) {
    case "pinned": return state.pins.includes(pinName(layer, head));
    case "focused": return figures.entropy < 0.5;
    case "broad": return figures.entropy >= 0.8;
    case "first": return figures.first >= 0.3;
    case "local": return figures.distance <= 4;
    default: return true;
  }
}
function thumbnail(canvas, layer, head) {
  const side = attention.tiles, context = canvas.getContext("2d"), image = context.createImageData(side, side);
  const values = new Float32Array(side * side), heads = attention.headsOf(head);
  for (const one of heads) {
    const overview = attention.map(layer, one).overview;
    for (let i = 0; i < values.length; ++i) values[i] += attention.overviewValues[overview[i]] / heads.length;
  }
  const unseen = i => attention.causal && i % side > Math.floor(i / side) || state.hideFirst && i % side === 0;
  let largest = 0, smallest = 1;
  values.forEach((v, i) => { if (!unseen(i)) { largest = Math.max(largest, v); smallest = Math.min(smallest, v); } });
  for (let i = 0; i < values.length; ++i) {
    image.data.set([...viridis(scaled(values[i], state.log, largest, smallest)), unseen(i) ? 0 : 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}
function headCell(layer, head) {
  const figures = attention.figures(layer, head), chosen = layer === state.layer && head === state.head;
  const strongest = figures.topKeys.filter(k => !(state.hideFirst && k === 0)).map(k => visible(shownText(k).trim() || shownText(k)));
  const pinned = state.pins.includes(pinName(layer, head)), title = headName(layer, head);
  const canvas = h("canvas", {width: attention.tiles, height: attention.tiles, "aria-hidden": "true"});
  thumbnail(canvas, layer, head);
  return h("button", {type: "button", class: "cell" + (chosen ? " chosen" : "") + (pinned ? " pinned" : ""), "data-layer": layer, "data-head": head,
    "aria-pressed": String(chosen), tabindex: chosen ? "0" : "-1",
    "aria-label": `${title}: entropy ${percent(figures.entropy)}, strongest keys ${strongest.slice(0, 3).join(", ")}${pinned ? ", pinned" : ""}`,
    title: `${title}${pinned ? " ★" : ""}\nentropy ${percent(figures.entropy)}\nfirst token ${percent(figures.first)}\nitself ${percent(figures.self)}\nreach ${number(figures.distance)} tokens\nstrongest keys: ${strongest.join(", ")}`,
    onclick: () => update({layer, head})},
    canvas, h("span", {class: "cap"}, h("span", {text: (pinned ? "★" : "") + title}), h("span", {class: "top", text: shortened(strongest[0] || "", 9)})),
    h("span", {class: "meter thin"}, h("i", {style: {width: 100 * figures.entropy + "%"}})));
}
function drawGrid() {
  const grid = $("#grid");
  if (!attention) return;
  let list = [];
  for (let layer = 0; layer < attention.layers; ++layer) {
    for (let head = attention.heads > 1 ? -1 : 0; head < attention.heads; ++head) {
      const figures = attention.figures(layer, head);
      if (passes(figures, layer, head) && !(state.sort !== "place" && head < 0)) list.push({layer, head, figures});
    }
  }
  if (state.sort !== "place") {
    const sign = state.sort.startsWith("-") ? -1 : 1, key = state.sort.replace("-", "");
    list.sort((a, b) => sign * (a.figures[key] - b.figures[key]) || a.layer - b.layer || a.head - b.head);
  }
  const placed = state.sort === "place" && state.filter === "all";
  grid.style.setProperty("--columns", placed ? attention.heads + (attention.heads > 1 ? 1 : 0) : Math.min(8, Math.max(4, attention.heads)));
  const focused = grid.contains(document.activeElement);
  grid.replaceChildren(...(list.length ? list.map(x => headCell(x.layer, x.head)) : [h("p", {class: "note", text: "No head passes this filter."})]));
  if (!grid.querySelector('[tabindex="0"]') && grid.querySelector(".cell")) grid.querySelector(".cell").tabIndex = 0;
  if (focused && grid.querySelector(".chosen")) grid.querySelector(".chosen").focus({preventScroll: true});
  drawHeadFacts();
}
function drawHeadFacts() {
  const f = attention.figures(state.layer, state.head), facts = $("#head-facts");
  const text = k => quoted(shownText(k));
  facts.replaceChildren(h("b", {text: headName(state.layer, state.head)}), ` entropy ${percent(f.entropy)} of the largest possible · first token ${percent(f.first)} · itself ${percent(f.self)} · reach ${number(f.distance)} tokens · strongest keys `,
    ...f.topKeys.slice(0, 5).map((k, i) => [i ? ", " : "", h("button", {type: "button", class: "link", onclick: () => update({tokens: units[unitOf(k)] || [k], lock: true}), text: text(k)})]).flat());
}
function moveHead(layers, heads) {
  if (!attention) return;
  update({layer: clamp(state.layer + layers, 0, attention.layers - 1), head: clamp(state.head + heads, attention.heads > 1 ? -1 : 0, attention.heads - 1)});
}
function togglePin() {
  const name = pinName(state.layer, state.head);
  update({pins: state.pins.includes(name) ? state.pins.filter(p => p !== name) : [...state.pins, name]});
}
function gridPanel() {
  return panel("heads", "Heads", "brighter: more weight · bar: entropy · word: strongest key",
    h("div", {class: "bar"},
      choice("Sort", "sort", kSorts, state.sort, v => update({sort: v})),
      choice("Show", "filter", kFilters, state.filter, v => update({filter: v})),
      toggle("★ Pin", "Pin the chosen head (P)", false, togglePin, "pin")),
    h("div", {class: "scroll"}, h("div", {id: "grid", role: "group", "aria-label": "Attention heads by layer"})),
    h("p", {id: "head-facts", class: "note", "aria-live": "polite"}));
}
