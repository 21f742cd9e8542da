// What drawing.py wrote, as blocks, layers and tensors that know each other; totals of any of them at once.
const STATUSES = ["copied", "cropped", "grown", "resampled", "identity", "fresh"];
const MEANINGS = {
  copied: "equal shape, copied whole",
  cropped: "filled from a part of a larger tensor",
  grown: "filled in part; the rest is zero or as initialised",
  resampled: "filled from the source on another grid",
  identity: "set to change nothing: inserted, or absent in the source",
  fresh: "nothing of the source; as initialised",
};

const MANY = 60;

// Of many blocks, neighbours whose names begin alike make a stage.
function staged(side) {
  const prefix = (node) => (node.path ?? node.label).replace(/\.?[^.]*$/, "");
  const found = [];
  for (const block of side.blocks) {
    const last = found.at(-1);
    if (last && prefix(block) && last.prefix === prefix(block)) last.members.push(block);
    else found.push({ prefix: prefix(block), members: [block] });
  }
  return found.map(({ prefix: label, members }) => {
    if (members.length === 1) return members[0];
    const stage = { side, level: 0, label, children: members, first: members[0].first, end: members.at(-1).end };
    for (const block of members) block.parent = stage;
    return stage;
  });
}

// A network: a tree of nodes, of which each covers the tensors from `first` up to `end`.
function network(values, texts, number) {
  const side = { name: values.name, number, coverage: values.coverage, similarity: values.similarity, blocks: [], layers: [] };
  side.tensors = values.names.map((id, i) => ({
    index: i, stored: texts[id < 0 ? -1 - id : id], isWhole: id < 0, shape: texts[values.shapes[i]], size: values.sizes[i], side, links: [],
  }));
  let layer = 0;
  let tensor = 0;
  values.ends.forEach((end, i) => {
    const first = tensor;
    const label = texts[values.blocks[i]];
    const block = { side, level: 1, label, children: [], first };
    for (; layer < end; layer++) {
      const [path, kind, last] = [texts[values.layers[3 * layer]], texts[values.layers[3 * layer + 1]], values.layers[3 * layer + 2]];
      const node = { side, level: 2, path, kind, children: [], first: tensor, end: last, index: layer };
      node.label = path.startsWith(`${label}.`) ? path.slice(label.length + 1) : path || "(loose)";
      for (; tensor < last; tensor++) {
        const one = side.tensors[tensor];
        one.layer = node;
        one.name = one.isWhole || !path ? one.stored : `${path}.${one.stored}`;
        node.children.push({ side, level: 3, label: one.stored, children: [], first: tensor, end: tensor + 1, parent: node, tensor: one });
      }
      side.layers.push(node);
      block.children.push(node);
    }
    block.end = tensor;
    let top = block;
    if (block.children.length === 1) { // a layer in no block stands for itself
      [top] = block.children;
      top.label = top.path || label;
      top.children.forEach((child) => { child.level = 2; });
      top.level = 1;
    } else block.children.forEach((child) => { child.parent = block; });
    side.blocks.push(top);
  });
  side.size = side.tensors.reduce((sum, one) => sum + one.size, 0);
  return side;
}

function model(values) {
  const { texts } = values;
  const target = network(values.target, texts, -1);
  const sources = values.sources.map((each, i) => network(each, texts, i));
  target.tensors.forEach((tensor, i) => {
    tensor.status = STATUSES[values.status[i]];
    tensor.written = values.written[i];
    tensor.operator = texts[values.operator[i]];
    tensor.reason = texts[values.reason[i]];
    tensor.tied = texts[values.tied[i]];
    tensor.counted = tensor.tied ? 0 : tensor.size; // what has two names counts once
  });
  for (const side of sources) for (const tensor of side.tensors) tensor.used = 0;
  const sides = [target, ...sources];
  const isStaged = sides.some((side) => side.blocks.length > MANY);
  for (const side of sides) side.nodes = isStaged ? staged(side) : side.blocks;
  const scores = new Map();
  const links = [];
  for (let i = 0; i < values.pairs.length; i += 4) {
    const [b, side, a, score] = values.pairs.slice(i, i + 4);
    scores.set(`${b} ${side} ${a}`, score / 1000);
    if (!scores.has(b)) scores.set(b, score / 1000);
  }
  const met = new Set();
  for (let i = 0; i < values.links.length; i += 4) {
    const [t, side, u, n] = values.links.slice(i, i + 4);
    const [tensor, source] = [target.tensors[t], sources[side].tensors[u]];
    const key = `${tensor.layer.index} ${side} ${source.layer.index}`;
    met.add(key);
    const link = { target: tensor, source, n, score: scores.get(key) ?? scores.get(tensor.layer.index) ?? null };
    links.push(link);
    tensor.links.push(link);
    source.links.push(link);
    source.used += n;
  }
  for (let i = 0; i < values.pairs.length; i += 4) { // matched, and still nothing was taken
    const [b, side, a, score] = values.pairs.slice(i, i + 4);
    const [to, from] = [target.layers[b], sources[side].layers[a]];
    if (met.has(`${b} ${side} ${a}`) || to.first === to.end || from.first === from.end) continue;
    links.push({ target: target.tensors[to.first], source: sources[side].tensors[from.first], n: 0, score: score / 1000 });
  }
  return { target, sources, links, isStaged };
}

// Elements of tensors by what happened to them, and those that were written.
function totals(tensors) {
  const found = { n: 0, size: 0, written: 0, tensors: {}, elements: {} };
  for (const status of STATUSES) found.tensors[status] = found.elements[status] = 0;
  for (const tensor of tensors) {
    found.n++;
    found.size += tensor.counted;
    found.written += tensor.written;
    found.tensors[tensor.status]++;
    found.elements[tensor.status] += tensor.counted;
  }
  return found;
}

// Pieces of a bar: share of all elements, by status; what of a grown tensor is not filled comes apart.
function pieces(found, tensors) {
  const parts = [];
  const whole = found.size || 1;
  let unfilled = 0;
  for (const tensor of tensors) if (tensor.status === "grown") unfilled += Math.max(tensor.counted - tensor.written, 0);
  for (const status of STATUSES) {
    const share = (found.elements[status] - (status === "grown" ? unfilled : 0)) / whole;
    if (share > 0) parts.push([status, share]);
    if (status === "grown" && unfilled) parts.push(["grown part", unfilled / whole]);
  }
  return parts;
}

// Widths go in by the object model: the page allows no style from elsewhere.
function bar(parts, label) {
  const element = zoo.make("span", label ? { class: "bar", role: "img", "aria-label": label } : { class: "bar", "aria-hidden": "true" });
  for (const [status, share] of parts) {
    const piece = zoo.make("i", { class: status });
    piece.style.flexGrow = share;
    element.append(piece);
  }
  const rest = 1 - parts.reduce((sum, part) => sum + part[1], 0);
  if (rest > 1e-6) {
    const piece = zoo.make("i", { class: "none" });
    piece.style.flexGrow = rest;
    element.append(piece);
  }
  return element;
}

const tensorsOf = (node) => node.side.tensors.slice(node.first, node.end);
const nameOf = (node) => (node.tensor ? node.tensor.name : node.path || node.label);

Object.assign(zoo, { model, totals, pieces, bar, tensorsOf, nameOf, STATUSES, MEANINGS });
