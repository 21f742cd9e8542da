// What is said of the block, layer, tensor or ribbon that the reader points at.
const { make, percent, plural, tensorsOf, nameOf } = zoo;

function inspected(what, model) {
  if (what.links) return ofRibbon(what);
  return what.side === model.target ? ofTarget(what, model) : ofSource(what);
}

const mono = (text) => make("bdi", { class: "mono" }, text);
const similar = (score) => (score === null ? "" : `, similarity ${score.toFixed(2)}`);

function ofRibbon(ribbon) {
  const amount = ribbon.n ? `${plural(ribbon.n, "element")} copied` : "matched, and nothing was taken";
  return [make("div", {}, mono(nameOf(ribbon.a)), " → ", mono(nameOf(ribbon.b))), make("div", { class: "soft" }, `${amount}${similar(ribbon.score)}`)];
}

function ofTarget(node, model) {
  const first = make("div", {}, mono(nameOf(node)), " ", make("span", { class: "soft" }, node.tensor ? node.tensor.shape : `${plural(node.totals.n, "tensor")}, ${plural(node.totals.size, "element")}`));
  if (node.tensor) return [first, ...ofTensor(node.tensor, model)];
  const found = node.totals;
  const counts = zoo.STATUSES.filter((status) => found.tensors[status]).map((status) => make("span", { class: `tag ${status}` }, `${found.tensors[status]} ${status}`));
  return [first, make("div", { class: "row" }, make("span", {}, `${percent(found.written / (found.size || 1))} filled`), ...counts), fedBy(node)];
}

function ofTensor(tensor, model) {
  const names = [...new Set(tensor.links.map((link) => link.source))];
  const from = names.slice(0, 3).flatMap((one) => [" ", mono(model.sources.length > 1 ? `${one.side.name}: ${one.name}` : one.name), ` (${one.shape})`]);
  return [
    make("div", {}, make("span", { class: `tag ${tensor.status}` }, tensor.status), names.length ? " from" : ` – ${zoo.MEANINGS[tensor.status]}`, ...from,
      names.length > 3 ? ` and ${names.length - 3} more` : "", tensor.operator && tensor.operator !== "copy" ? `, ${tensor.operator}` : ""),
    make("div", { class: "soft" }, tensor.reason),
  ];
}

function ofSource(node) {
  const used = node.size ? node.used / node.size : 0;
  return [
    make("div", {}, mono(nameOf(node)), " ", make("span", { class: "soft" }, node.tensor ? node.tensor.shape : plural(node.size, "element"))),
    make("div", {}, node.used ? `${percent(used)} of it is used` : "not used"),
    feeds(node),
  ];
}

function partners(node, other) {
  const best = new Map();
  for (const tensor of tensorsOf(node)) for (const link of tensor.links) {
    const layer = link[other].layer;
    const block = layer.parent ?? layer;
    const entry = best.get(block) ?? { n: 0, sum: 0, weight: 0 };
    entry.n += link.n;
    if (link.score !== null) { entry.sum += link.n * link.score; entry.weight += link.n; }
    best.set(block, entry);
  }
  const found = [...best].sort((x, y) => y[1].n - x[1].n);
  const shown = found.slice(0, 4).flatMap(([block, entry], i) => [i ? "; " : "", mono(block.label), `: ${plural(entry.n, "element")}${entry.weight ? similar(entry.sum / entry.weight) : ""}`]);
  return found.length > 4 ? [...shown, `; ${found.length - 4} more`] : shown;
}

function fedBy(node) {
  const found = partners(node, "source");
  return make("div", { class: "soft" }, ...(found.length ? ["from ", ...found] : ["nothing of the source is in it"]));
}

function feeds(node) {
  const found = partners(node, "target");
  return make("div", { class: "soft" }, ...(found.length ? ["to ", ...found] : []));
}

const hints = () => [
  make("div", { class: "soft" }, "Point at a block to see what feeds it; click to unfold it."),
  make("div", { class: "soft keys wide-only" }, "Keys: ", key("Tab"), " other column ", key("↑"), key("↓"), " move ", key("Enter"), " unfold ", key("M"), " go to the match ", key("/"), " filter ", key("Esc"), " clear"),
];
const key = (name) => make("kbd", {}, name);

Object.assign(zoo, { inspected, hints });
