// Which rows of both networks are shown, and where: the shorter column lies beside what feeds it, or is fed by it.
const { HEIGHT, GAP, tensorsOf } = zoo;
const TITLE = 34; // pixels of the name of one of several sources

// Lay out the rows of `sides`, the sources and the target; returns the units of both and the rows that are visible.
function columns(sides, model, filter, onPaper) {
  const visible = [[], []];
  const units = sides.map((networks) => networks.flatMap((network) => {
    const found = unfolded(network, model, filter);
    if (networks.length > 1) found.unshift({ rows: [], network, height: TITLE });
    return found;
  }));
  const heights = units.map((each) => each.reduce((sum, unit) => sum + unit.height, 0));
  const long = heights[0] > heights[1] ? 0 : 1;
  let y = 0;
  for (const unit of units[long]) { unit.y = y; y += unit.height; }
  visible[long] = level(units[long]);
  align(units[1 - long], heights[long], long, shown(sides[long], visible[long]), filter);
  visible[1 - long] = level(units[1 - long]);
  if (onPaper) zoo.breakPages(visible);
  return { units, visible, height: Math.max(...visible.flat().map((node) => node.y + HEIGHT[node.level]), 40) };
}

// What the filter leaves out is not shown, and of the sources only what feeds the rest.
function passes(node, model, filter) {
  if (!filter.isSet) return true;
  const isWanted = node.side === model.target
    ? (tensor) => filter.admits(tensor)
    : (tensor) => tensor.links.some((link) => filter.admits(link.target));
  return tensorsOf(node).some(isWanted);
}

// Rows that stay together: a block with what is unfolded of it.
function unfolded(network, model, filter) {
  const units = [];
  const isShown = (node) => passes(node, model, filter);
  const add = (node) => {
    if (!isShown(node)) return;
    if (node.level === 0) { // a stage and its blocks need not stay together
      units.push({ rows: [node], height: HEIGHT[0] + GAP });
      if (node.open) node.children.forEach(add);
      return;
    }
    const rows = [];
    const walk = (inner) => { rows.push(inner); if (inner.open) inner.children.filter(isShown).forEach(walk); };
    walk(node);
    units.push({ rows, height: rows.reduce((sum, inner) => sum + HEIGHT[inner.level], 0) + GAP });
  };
  network.nodes.forEach(add);
  return units;
}

function level(units) {
  const rows = [];
  for (const unit of units) {
    let y = unit.y;
    for (const node of unit.rows) { node.y = y; y += HEIGHT[node.level]; rows.push(node); }
  }
  return rows;
}

function align(units, room, long, where, filter) {
  let next = 0;
  for (const unit of units) {
    let sum = 0;
    let weight = 0;
    let offset = 0;
    for (const row of unit.rows) {
      for (const tensor of row.open ? [] : tensorsOf(row)) {
        for (const link of tensor.links) {
          const node = filter.admits(link.target) ? where(long ? link.target : link.source) : null;
          if (!node) continue;
          const w = Math.sqrt(link.n) || 0.1;
          sum += w * (node.y + HEIGHT[node.level] / 2 - offset - HEIGHT[row.level] / 2);
          weight += w;
        }
      }
      offset += HEIGHT[row.level];
    }
    unit.wanted = weight ? sum / weight : next;
    unit.weight = weight || 0.01;
    next = unit.wanted + unit.height;
  }
  zoo.placed(units, room);
}

// The row that stands for a tensor now.
function shown(networks, rows) {
  const found = new Map(networks.map((network) => [network, new Array(network.tensors.length)]));
  for (const node of rows) if (!node.open) found.get(node.side).fill(node, node.first, node.end);
  return (tensor) => found.get(tensor.side)[tensor.index];
}

Object.assign(zoo, { columns, shown });
