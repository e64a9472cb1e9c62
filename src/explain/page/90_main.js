// Puts the page together.
function makeTop() {
  const examples = page.examples.map((e, i) => [i, `${i + 1}. ` + shortened(e.title || e.text || "example", 60)]);
  $("#top").append(h("div", {class: "brand"}, h("span", {class: "logo", "aria-hidden": "true"}), h("h1", {text: page.title || page.model.name || "Fovea"})),
    h("div", {class: "bar"},
      examples.length > 1 ? choice("Example", "example", examples, state.ex, v => showExample(+v)) : null,
      h("button", {type: "button", title: "Export this view (E)", text: "Export", onclick: openExport}),
      h("button", {type: "button", title: "Light or dark (T)", "aria-label": "Light or dark", text: "◐", onclick: cycleTheme}),
      h("button", {type: "button", title: "Keys and reading (?)", "aria-label": "Help", text: "?", onclick: openHelp})));
}
function makeMain() {
  const e = example(), main = $("#main"), hasMaps = Boolean(e && e.attention);
  const sections = [h("section", {id: "verdict", class: "cards", "aria-label": "Verdict"})];
  if (e && e.tokens.text.length) sections.push(tokenPanel());
  if (hasMaps) sections.push(h("div", {class: "pair maps"}, gridPanel(), matrixPanel()));
  const reasons = [];
  if (e && e.relevance.length) reasons.push(relevancePanel());
  if (e && e.prediction.names.length) reasons.push(predictionPanel());
  if (reasons.length) sections.push(h("div", {class: reasons.length > 1 ? "pair reasons" : ""}, reasons));
  const quality = qualityPanels(), by = id => quality.filter(p => id.includes(p.id));
  if (quality.length) {
    sections.push(h("h2", {class: "part", text: "How good the model is"}), ...by("metrics"));
    for (const pair of [["classes", "confusion"], ["curves", "calibration"]]) {
      const both = quality.filter(p => pair.includes(p.id));
      if (both.length) sections.push(h("div", {class: both.length > 1 ? "pair" : ""}, both));
    }
  }
  main.replaceChildren(...sections);
  drawVerdict();
  if ($("#strip")) makeStrip();
  if (hasMaps) { drawGrid(); drawMatrix(); }
  drawRelevance();
  drawPrediction();
}
async function showExample(index, given) {
  const e = page.examples[index];
  attention = null;
  const loaded = e && e.attention ? await Attention.load(e.attention, e.tokens.text.length) : null;
  attention = loaded;
  const keep = {...state, ex: index, view: null, tokens: [], lock: false, hover: -1, ...given};
  Object.assign(state, bounded(keep));
  if (e && !colourings().some(([v]) => v === state.colour)) state.colour = colourings()[0][0];
  if ($("#example")) $("#example").value = String(index);
  makeMain();
  writeHash();
}
function setPressed(id, pressed) { const b = $("#" + id); if (b) b.setAttribute("aria-pressed", String(pressed)); }
function applyTheme() {
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

onChange(["theme"], applyTheme);
onChange(["layer", "head", "log", "hideFirst", "sort", "filter", "pins", "theme"], () => $("#grid") && drawGrid());
onChange(["layer", "head", "log", "hideFirst", "view", "tokens", "lock", "theme"], () => drawMatrix());
onChange(["words"], () => { if ($("#strip")) makeStrip(); });
onChange(["layer", "head", "log", "hideFirst", "tokens", "lock", "hover", "colour"], () => $("#strip") && paintStrip());
onChange(["tokens", "lock"], () => drawRelevance());
onChange(["tokens", "lock", "hover"], () => { if (example() && example().next.length) drawPrediction(); });
onChange(["log", "hideFirst", "words", "pins", "layer", "head", "sort", "filter", "colour"], () => {
  setPressed("log", state.log); setPressed("hide-first", state.hideFirst); setPressed("words", state.words);
  setPressed("pin", state.pins.includes(pinName(state.layer, state.head)));
  for (const id of ["sort", "filter", "colour"]) if ($("#" + id)) $("#" + id).value = state[id];
});

async function start() {
  Object.assign(state, bounded({...state, ...readHash()}));
  applyTheme();
  makeTop();
  $("#foot").append("Made by Fovea. One file, nothing is loaded from a network. ", h("button", {type: "button", class: "link", text: "Keys and reading", onclick: openHelp}));
  document.addEventListener("keydown", onKey);
  addEventListener("resize", () => drawMatrix());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawMatrix());
  const selftest = location.hash.includes("selftest");
  await showExample(state.ex, {tokens: state.tokens, lock: state.lock || state.tokens.length > 0, view: state.view});
  document.documentElement.dataset.ready = "1";
  if (selftest) await runSelftest();
}
