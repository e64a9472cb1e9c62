// The current view as a file: the part of the chosen head's map that is on the screen.
function exportText(kind) {
  const e = example(), [q0, q1, k0, k1] = matrixView(), texts = shownTexts();
  const rows = [];
  for (let q = q0; q < q1; ++q) rows.push(attention.row(state.layer, state.head, q).subarray(k0, k1));
  const digits = w => +w.toPrecision(4);
  if (kind === "csv") {
    const cell = text => '"' + String(text).replace(/"/g, '""') + '"';
    const lines = ["query,key,query_text,key_text,weight"];
    rows.forEach((row, i) => row.forEach((w, j) => { if (w > 0) lines.push([q0 + i, k0 + j, cell(texts[q0 + i]), cell(texts[k0 + j]), digits(w)].join(",")); }));
    return lines.join("\r\n") + "\r\n";
  }
  if (kind === "json") {
    return JSON.stringify({model: page.model, example: e.title, member: Math.floor(state.layer * attention.members / attention.layers), layer: state.layer % (attention.layers / attention.members), head: state.head < 0 ? "mean" : state.head, queries: [q0, q1], keys: [k0, k1],
      tokens: texts, prediction: e.prediction, agreement: e.agreement, relevance: Object.fromEntries(e.relevance.map((r, i) => [r.name, [...relevanceValues(i)].map(digits)])),
      weights: rows.map(row => [...row].map(digits))});
  }
  const size = 720, margin = 90, plot = size - margin, escape = text => text.replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
  const height = plot / (q1 - q0), width = plot / (k1 - k0), {largest, smallest} = matrixImage, parts = [];
  if ((q1 - q0) * (k1 - k0) <= 128 * 128) {
    rows.forEach((row, i) => row.forEach((w, j) => {
      if (attention.causal && k0 + j > q0 + i || state.hideFirst && k0 + j === 0) return;
      parts.push(`<rect x="${(margin + j * width).toFixed(2)}" y="${(margin + i * height).toFixed(2)}" width="${(width + 0.05).toFixed(2)}" height="${(height + 0.05).toFixed(2)}" fill="${css(viridis(scaled(w, state.log, largest, smallest)))}"/>`);
    }));
  } else {
    parts.push(`<image x="${margin}" y="${margin}" width="${plot}" height="${plot}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${matrixImage.cells.toDataURL()}"/>`);
  }
  if (height >= 9) for (let q = q0; q < q1; ++q) parts.push(`<text x="${margin - 5}" y="${(margin + (q - q0 + 0.65) * height).toFixed(1)}" text-anchor="end">${escape(shortened(visible(texts[q]), 14))}</text>`);
  if (width >= 9) for (let k = k0; k < k1; ++k) parts.push(`<text transform="translate(${(margin + (k - k0 + 0.65) * width).toFixed(1)},${margin - 5}) rotate(-90)">${escape(shortened(visible(texts[k]), 14))}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" font-family="sans-serif" font-size="10">\n<title>${escape(`${headName(state.layer, state.head)} of ${page.model.name}`)}</title>\n${parts.join("\n")}\n</svg>\n`;
}
function download(kind) {
  const types = {svg: "image/svg+xml", csv: "text/csv", json: "application/json"};
  const url = URL.createObjectURL(new Blob([exportText(kind)], {type: types[kind]}));
  h("a", {href: url, download: `fovea-${headName(state.layer, state.head).replaceAll(" ", "-")}.${kind}`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
function openExport() {
  if (!attention) return;
  const dialog = h("dialog", {id: "export", "aria-labelledby": "export-title", onclose: e => e.target.remove()},
    h("h2", {id: "export-title", text: "Export this view"}), h("p", {class: "note", text: $("#matrix-kind").textContent}),
    h("div", {class: "bar"}, [["svg", "SVG picture"], ["csv", "CSV table"], ["json", "JSON data"]].map(([kind, text]) => h("button", {type: "button", text, onclick: () => { download(kind); dialog.close(); }})),
      h("button", {type: "button", text: "Cancel", onclick: () => dialog.close()})));
  document.body.append(dialog);
  dialog.showModal();
}
