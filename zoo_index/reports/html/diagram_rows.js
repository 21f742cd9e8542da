// Rows of the diagram: a stage, block, layer or tensor each, with how much of it is filled or used.
const { make, count, noun, percent, tensorsOf, nameOf } = zoo;

const isSingle = (node) => node.level === 1 && node.index !== undefined; // a layer that is in no block
const amountOf = (nodes) => { const single = nodes.filter(isSingle).length; return zoo.madeOf(nodes.length - single, single); };

// What stands above a column.
function head(networks, isTarget) {
  const one = networks.length === 1 ? networks[0] : null;
  return make("div", { class: `side-head ${isTarget ? "target" : "source"}` },
    make("span", { class: "soft" }, isTarget ? "Target" : one ? "Source" : `${networks.length} sources`),
    one ? make("bdi", { title: one.name }, one.name) : null,
    one ? make("span", { class: "soft amount" }, `${count(one.size)} ${noun(one.size, "element")}, ${amountOf(one.blocks)}`) : null);
}

// Rows are made once and kept, so that the focus stays where it is.
function rowOf(node, isTarget) {
  if (node.row) return node.row;
  const tensors = tensorsOf(node);
  const size = tensors.reduce((sum, one) => sum + one.size, 0);
  let parts;
  if (isTarget) {
    node.totals = zoo.totals(tensors);
    parts = zoo.pieces(node.totals, tensors);
  } else {
    node.used = tensors.reduce((sum, one) => sum + Math.min(one.used, one.size), 0);
    parts = node.used ? [["used", node.used / (size || 1)]] : [];
  }
  node.size = size;
  const row = make("div", { class: `node level${node.level}`, role: "treeitem", tabindex: "-1", "aria-level": node.level + 1, "aria-label": spoken(node) },
    node.children.length ? make("span", { class: "twisty", "aria-hidden": "true" }) : make("span", { class: "dot" }),
    make("bdi", { class: "label" }, node.label),
    node.level ? null : make("span", { class: "amount" }, amountOf(node.children)),
    make("span", { class: "amount" }, node.tensor ? node.tensor.shape : count(size)),
    zoo.bar(parts));
  if (node.tensor && isTarget) row.classList.add(node.tensor.status);
  if (node.children.length) row.setAttribute("aria-expanded", "false");
  row.node = node;
  node.row = row;
  return row;
}

function spoken(node) {
  const what = node.index !== undefined ? "layer" : node.tensor ? "tensor" : ["stage", "block"][node.level];
  const found = node.totals;
  if (node.tensor && found) return `tensor ${node.tensor.name}, ${node.tensor.shape}, ${node.tensor.status}`;
  if (found) return `${what} ${nameOf(node)}, ${count(found.size)} ${noun(found.size, "element")}, ${percent(found.written / (found.size || 1))} filled`;
  return `${what} ${nameOf(node)}, ${count(node.size)} ${noun(node.size, "element")}, ${percent(node.used / (node.size || 1))} used`;
}

// Put the rows of a column into it, those of each network as a tree.
function fill(column, units, networks, isTarget) {
  const trees = [];
  let tree = null;
  for (const unit of units) {
    if (unit.network || !tree) {
      const network = unit.network ?? networks[0];
      tree = make("div", { role: "tree", class: "tree", "aria-label": `${isTarget ? "target" : "source"} ${network.name}` });
      if (unit.network) {
        const title = make("div", { class: "supply" }, make("bdi", { title: network.name }, network.name), make("span", { class: "soft amount" }, `supplies ${percent(network.coverage)}`));
        title.style.top = `${unit.y}px`;
        trees.push(title);
      }
      trees.push(tree);
    }
    for (const node of unit.rows) {
      const row = rowOf(node, isTarget);
      row.style.top = `${node.y}px`;
      if (node.children.length) row.setAttribute("aria-expanded", String(Boolean(node.open)));
      tree.append(row);
    }
  }
  column.replaceChildren(...trees);
  for (const each of column.querySelectorAll(".tree")) {
    const rows = [...each.children];
    if (rows.length && !rows.some((row) => row.tabIndex === 0)) rows[0].tabIndex = 0;
    rows.filter((row) => row.tabIndex === 0).slice(1).forEach((row) => { row.tabIndex = -1; });
  }
}

zoo.rows = { head, fill, isSingle };
