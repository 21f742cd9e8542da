// What is told of one architecture: neighbours both ways, weights, blocks.
const { make, count, noun, plural, bytes } = zoo;

function chip(text, title) { return make("span", { class: "chip", title }, text); }

function neighbours(title, hint, list, link) {
  if (!list.length) return make("section", {}, make("h3", {}, title), make("p", { class: "soft" }, "none"));
  const rows = list.map((one) => make("li", {},
    link(one.name),
    make("span", { class: "meter", "aria-hidden": "true" }, make("span", { style: `width:${Math.round(100 * one.similarity)}%` })),
    make("span", { class: "value" }, one.similarity.toFixed(3))));
  return make("section", {}, make("h3", { title: hint }, title), make("ol", { class: "near" }, rows));
}

function place(entry) {
  if (entry.available) return zoo.server ? "on the server" : "on this machine";
  if (entry.hub_id) return `hub: ${entry.hub_id}`;
  return entry.url ? "hub" : entry.catalogue && zoo.where(false, entry.catalogue) === "gone" ? "the file is gone" : "";
}

function weights(list) {
  const rows = list.map((entry) => make("li", {},
    make("div", { class: "mono break" }, entry.name),
    make("div", { class: "soft small break" }, [
      entry.license || "licence unknown", entry.dataset && `trained on ${entry.dataset}`, entry.input_size,
      entry.n_classes ? plural(entry.n_classes, "class") : "", entry.top1 === null ? "" : `top-1 ${entry.top1.toFixed(1)}%`,
      entry.n_bytes ? bytes(entry.n_bytes) : "", place(entry),
    ].filter(Boolean).join(" · "))));
  return make("section", {}, make("h3", {}, `${plural(list.length, "set")} of weights`), make("ul", { class: "weights" }, rows));
}

function blocks(list, order) {
  const n = (isBlock) => list.reduce((sum, one) => sum + (one.is_block === isBlock ? one.times : 0), 0);
  const most = Math.max(1, ...list.map((one) => one.times * one.params));
  const rows = list.map((one) => {
    const share = (one.times * one.params) / most;
    const times = one.times > 1 ? `${one.times} × ` : "";
    const head = one.is_block ? `${times}block of ${plural(one.layers.length, "layer")}` : `${times}${one.layers[0]}`;
    const line = [make("span", { class: "what" }, head), make("span", { class: "meter", "aria-hidden": "true" },
      make("span", { style: `width:${(100 * share).toFixed(1)}%` })), make("span", { class: "value", title: "elements of its tensors" }, count(one.times * one.params))];
    if (!one.is_block) return make("li", {}, make("div", { class: "line" }, ...line));
    return make("li", {}, make("details", {}, make("summary", { class: "line" }, ...line),
      make("ul", { class: "layers mono" }, one.layers.map((text) => make("li", {}, text)))));
  });
  const isOfFile = order === "file", made = zoo.madeOf(n(true), n(false));
  return make("section", {}, make("h3", {}, isOfFile ? `${made}, as the weights file names them` : `${made}, in order`),
    isOfFile ? make("p", { class: "soft small" }, "Only a weights file is known of this network. The order is that of the names in the file; the layers may run in another one.") : null,
    make("ol", { class: "blocks" }, rows));
}

function facts(told, { link, close, href }) {
  const name = make("h2", { class: "name" }, href ? make("a", { href }, told.name) : told.name);
  const head = make("div", { class: "row head" }, make("div", { class: "grow" }, name),
    close ? make("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "×") : null);
  const chips = make("div", { class: "row chips" }, chip(`family: ${told.family}`), chip(`${count(told.params)} ${noun(told.params, "parameter")}`),
    chip(`catalogue: ${told.catalogue}`), told.top1 === null ? null : chip(`top-1 ${told.top1.toFixed(1)}%`, "published accuracy on ImageNet"));
  const near = make("div", { class: "two" },
    neighbours("Best sources for it", "Similarity: the part of it that each can supply", told.sources, link),
    neighbours("Good source for", "Similarity: the part of each that it can supply", told.targets, link));
  return [head, chips, near, weights(told.weights), told.blocks.length ? blocks(told.blocks, told.order) : null].filter(Boolean);
}

// What is said of a name that no network has.
function unknown(alike, link) {
  const others = alike.flatMap((one, i) => [i ? ", " : "", link(one)]);
  return [make("p", { class: "soft" }, "There is no network of this name."), others.length ? make("p", { class: "alike" }, "Did you mean ", ...others, "?") : null].filter(Boolean);
}

zoo.facts = facts;
zoo.unknown = unknown;
zoo.chip = chip;
