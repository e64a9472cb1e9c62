// With #selftest in its address the page drives itself with pointers and keys, and writes what failed into the
// document: data-selftest on the html element. The tests open it so in a browser.
async function runSelftest() {
  const failures = [];
  let count = 0;
  const expect = (ok, what) => { ++count; if (!ok) failures.push(what); };
  const key = (name, options) => (document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true, ...options}));
  const pointer = (element, type, x, y, options) => { const box = element.getBoundingClientRect(); element.dispatchEvent(new PointerEvent(type, {bubbles: true, cancelable: true, pointerType: "mouse", pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height, ...options})); };
  const closeDialogs = () => document.querySelectorAll("dialog[open]").forEach(d => d.close());
  const settle = () => new Promise(resolve => setTimeout(resolve, 20));
  const n = tokenCount();

  expect($("#verdict").children.length > 0, "verdict is empty");
  expect(chips.length === units.length && units.length > 0, "token strip is empty");
  key("?"); expect($("#help[open]"), "? opens no help"); closeDialogs(); await settle();
  const theme = document.documentElement.dataset.theme;
  key("t"); expect(document.documentElement.dataset.theme !== theme, "T changes no theme"); key("t");
  key("]"); expect(state.tokens[0] === 0 && state.lock, "] chooses no token");
  key("]"); expect(state.tokens[0] === units[Math.min(1, units.length - 1)][0], "] does not go on"); key("["); expect(state.tokens[0] === 0, "[ does not go back");
  key("l"); expect(!state.lock && !state.tokens.length, "L does not release");
  key("w"); expect(state.words, "W does not join words"); key("w");
  key("/"); expect(document.activeElement === $("#search"), "/ does not find");
  $("#search").value = example().tokens.text[n - 1].trim(); expect($("#search").value === "" || search(true) > 0, "search finds nothing");
  $("#search").value = ""; $("#search").blur(); key("Escape");

  if (attention) {
    const sum = row => row.reduce((a, b) => a + b, 0), row = attention.row(0, 0, n - 1);
    // Every stored weight may be off by error(w); errors of a row add up at worst.
    let slack = 1e-3; row.forEach(w => { slack += attention.error(w); });
    expect(attention.topK > 0 || Math.abs(sum(row) - 1) <= slack, `row sums to ${sum(row)}`);
    const painted = chips[0].style.background;
    pointer(chips[chips.length - 1], "pointerover", 0.5, 0.5);
    expect(state.hover === units[units.length - 1][0], "hover is not noticed");
    expect((n === 1 || chips.some(c => c.style.background !== painted)) && $("#strip-info").textContent.includes("attends to"), "hover colours nothing");
    chips[chips.length - 1].click(); expect(state.lock && state.tokens.includes(n - 1), "click does not lock");
    if (units.length > 1) { chips[0].dispatchEvent(new MouseEvent("click", {bubbles: true, shiftKey: true})); expect(state.tokens.length > 1, "shift-click does not add"); }
    pointer($("#strip"), "pointerleave", 0, 0); expect(state.lock, "leaving releases a lock");
    key("Escape"); expect(!state.tokens.length, "Escape does not release");

    update({layer: 0, head: 0});
    key("ArrowDown"); expect(state.layer === Math.min(1, attention.layers - 1), "arrow down keeps the layer"); key("ArrowUp");
    key("ArrowRight"); expect(state.head === Math.min(1, attention.heads - 1), "arrow right keeps the head"); key("ArrowLeft");
    key("m"); expect(attention.heads < 2 || state.head === -1, "M shows no mean"); key("m");
    key("p"); expect(state.pins.length === 1, "P does not pin");
    update({filter: "pinned"}); expect(document.querySelectorAll("#grid .cell").length === 1, "the filter does not filter"); update({filter: "all"}); key("p");
    const places = [...document.querySelectorAll("#grid .cell")].map(c => c.getAttribute("aria-label")).join();
    update({sort: "entropy"}); const sorted = [...document.querySelectorAll("#grid .cell")].map(c => attention.figures(+c.dataset.layer, +c.dataset.head).entropy);
    expect(sorted.every((v, i) => !i || sorted[i - 1] <= v), "the grid is not sorted");
    update({sort: "place"}); expect([...document.querySelectorAll("#grid .cell")].map(c => c.getAttribute("aria-label")).join() === places, "the order does not come back");
    document.querySelector("#grid .cell:last-child").click(); expect(state.layer === attention.layers - 1, "a thumbnail does not choose its head");

    if (n > 8) {
      key("+"); expect(state.view && state.view[1] - state.view[0] < n, "+ does not zoom"); key("-"); key("0"); expect(state.view === null, "0 does not show all");
    }
    key("g"); expect(!state.log, "G keeps the scale"); key("g");
    key("f"); expect(state.hideFirst, "F hides nothing"); key("f");
    const canvas = $("#matrix"), middle = matrixImage.margin / canvas.clientWidth;
    pointer(canvas, "pointermove", middle + 0.02, 0.98); expect(!tip.hidden && tip.textContent.includes("attends to"), "the map has no tooltip");
    pointer(canvas, "pointerdown", middle + 0.02, 0.98); pointer(canvas, "pointerup", middle + 0.02, 0.98); expect(state.lock, "the map does not choose a token");
    pointer(canvas, "pointerleave", 0, 0); expect(tip.hidden, "the tooltip stays"); key("Escape");
    const pixels = canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height - 4, 1, 1).data; expect(pixels[3] === 255, "the map is not drawn");
    expect(exportText("csv").startsWith("query,key,"), "no CSV"); expect(JSON.parse(exportText("json")).weights.length === n, "no JSON");
    expect(new DOMParser().parseFromString(exportText("svg"), "image/svg+xml").querySelector("parsererror") === null, "the SVG is not well formed");
    key("e"); expect($("#export[open]"), "E opens no export"); closeDialogs(); await settle();
    update({layer: 0, head: 0, tokens: [0], lock: true}); const back = bounded({...state, ...readHash()});
    expect(!hasAddress || back.layer === 0 && back.head === 0 && back.tokens[0] === 0, "the hash forgets the view"); key("Escape");
  }
  expect(example().relevance.length === document.querySelectorAll("#relevance-body .bars").length, "a relevance is not drawn");
  expect(example().agreement.length === document.querySelectorAll(".agree tbody tr").length, "an agreement is not printed");
  expect(!example().prediction.names.length || document.querySelectorAll("#prediction-body li").length > 0, "no probabilities");
  expect(!page.quality.confusion.length || document.querySelectorAll(".confusion rect").length === page.quality.confusion.length, "no confusion matrix");
  expect(page.quality.classes.length === document.querySelectorAll(".classes tbody tr").length, "no scores by class");
  expect(!page.quality.curves.length || $("#curves path.line"), "no curves");
  expect(!page.quality.calibration.length || $("#calibration circle"), "no calibration");
  for (const element of document.querySelectorAll("button, select, input, canvas[role]")) {
    const named = element.textContent.trim() || element.getAttribute("aria-label") || element.labels && element.labels.length;
    expect(named, "an element has no name: " + element.outerHTML.slice(0, 80));
  }
  if (page.examples.length > 1) { await showExample(1); expect(state.ex === 1 && chips.length > 0, "the next example is not shown"); await showExample(0); }
  expect(document.documentElement.scrollWidth <= innerWidth + 1, `the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);
  expect(problems.length === 0, "problems: " + problems.join("; "));
  document.documentElement.dataset.selftest = failures.length ? "FAIL " + failures.join(" | ") : `PASS ${count}`;
}

start();
