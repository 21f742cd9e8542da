// How high rows are, where the shorter of two columns lies beside the longer one, and what paper does to both.
const HEIGHT = [34, 34, 28, 24]; // of stages, blocks, layers, tensors, as diagram.css has them
const GAP = 6;
const SHEET = 1031.8; // pixels of a printed page: 297 mm without the margins in parts.css
const HEADING = 85; // pixels above the first row on paper, as diagram.css lays them out

// Where units of some heights lie if each is as near as can be to where it wants to be, in order (isotonic regression).
function placed(units, room) {
  const pools = [];
  let before = 0;
  for (const unit of units) {
    let pool = { sum: unit.weight * (unit.wanted - before), weight: unit.weight, units: [unit] };
    before += unit.height;
    while (pools.length && pools.at(-1).sum / pools.at(-1).weight > pool.sum / pool.weight) {
      const last = pools.pop();
      pool = { sum: last.sum + pool.sum, weight: last.weight + pool.weight, units: last.units.concat(pool.units) };
    }
    pools.push(pool);
  }
  let top = 0;
  for (const pool of pools) {
    const shift = Math.min(Math.max(pool.sum / pool.weight, 0), Math.max(room - before, 0));
    for (const unit of pool.units) { unit.y = top + shift; top += unit.height; }
  }
}

// On paper no row is cut in two: it goes to the next page, and what is below it with it.
function breakPages(columns) {
  for (const nodes of columns) {
    let shift = 0;
    let edge = SHEET - HEADING;
    for (const node of nodes) {
      node.y += shift;
      while (edge <= node.y) edge += SHEET;
      if (node.y + HEIGHT[node.level] > edge - 2) {
        shift += edge + 2 - node.y;
        node.y = edge + 2;
      }
    }
  }
}

Object.assign(zoo, { HEIGHT, GAP, placed, breakPages });
