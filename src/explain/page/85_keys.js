// The keyboard. Keys without a modifier, and not while a field or a list is being used.
const kKeys = [
  ["← →", "head"], ["↑ ↓", "layer"], ["+ −", "zoom in, out"], ["0", "whole map"], ["Shift + arrows", "move the zoomed map"], ["[ ]", "token before, after"], ["L", "lock or release the token"],
  ["/", "find a token"], ["W", "words or tokens"], ["G", "logarithmic or linear"], ["F", "hide the first token"], ["M", "mean of the layer's heads"], ["P", "pin the head"],
  ["N", "next example"], ["E", "export SVG, CSV, JSON"], ["T", "light, dark"], ["Esc", "release"], ["?", "this help"],
];
function toggleLock() {
  if (state.lock) update({lock: false, tokens: [], hover: -1});
  else if (state.hover >= 0) update({tokens: units[unitOf(state.hover)] || [state.hover], lock: true});
  else stepToken(1);
}
function nextExample(by) {
  if (page.examples.length > 1) showExample((state.ex + by + page.examples.length) % page.examples.length);
}
function onKey(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) || document.querySelector("dialog[open]")) return;
  const pan = Math.max(1, Math.round((matrixView()[1] - matrixView()[0]) / 8));
  const shifted = {ArrowLeft: () => panMatrix(0, -pan), ArrowRight: () => panMatrix(0, pan), ArrowUp: () => panMatrix(-pan, 0), ArrowDown: () => panMatrix(pan, 0)};
  const inPage = e.target === document.body || e.target.closest && e.target.closest("#grid, #matrix, #strip, #main");
  const actions = {
    ArrowLeft: () => moveHead(0, -1), ArrowRight: () => moveHead(0, 1), ArrowUp: () => moveHead(-1, 0), ArrowDown: () => moveHead(1, 0),
    "+": () => zoomMatrix(0.5), "=": () => zoomMatrix(0.5), "-": () => zoomMatrix(2), "−": () => zoomMatrix(2), "0": () => update({view: null}),
    "[": () => stepToken(-1), "]": () => stepToken(1), l: toggleLock, "/": () => $("#search") && $("#search").focus(), w: () => update({words: !state.words}), g: () => update({log: !state.log}),
    f: () => update({hideFirst: !state.hideFirst}), m: () => attention && update({head: state.head < 0 ? 0 : attention.heads > 1 ? -1 : 0}), p: () => attention && togglePin(), n: () => nextExample(1), e: openExport, t: cycleTheme,
    Escape: () => update({tokens: [], lock: false, hover: -1}), "?": openHelp,
  };
  const action = e.shiftKey && shifted[e.key] || actions[e.key] || actions[e.key.toLowerCase()];
  if (!action || e.key.startsWith("Arrow") && !(inPage && attention)) return;
  e.preventDefault();
  action();
}
function openHelp() {
  const dialog = h("dialog", {id: "help", "aria-labelledby": "help-title", onclose: e => e.target.remove()}, h("h2", {id: "help-title", text: "Keys and reading"}),
    h("dl", {class: "keys"}, kKeys.map(([key, text]) => [h("dt", {}, key.split(" ").map(k => /^(\+|Shift)$/.test(k) && key.startsWith("Shift") ? k + " " : [h("kbd", {text: k}), " "])), h("dd", {text})])),
    h("p", {class: "note", text: "Attention says where a layer looked, not why the model decided. Compare it with gradient × input and occlusion: where they disagree, trust none of them alone. Weights are stored as bytes; the error of each is shown with it."}),
    h("div", {class: "bar"}, h("button", {type: "button", text: "Close", onclick: () => dialog.close()})));
  document.body.append(dialog);
  dialog.showModal();
}
function cycleTheme() {
  const dark = state.theme === "dark" || state.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches;
  update({theme: dark ? "light" : "dark"});
}
