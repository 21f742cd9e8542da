// Two networks as columns of blocks, with ribbons between what was matched. Blocks unfold into layers, layers into tensors.
const { make, count, percent, number, plural, tensorsOf, nameOf } = zoo;
const { HEIGHT, GAP } = zoo;
const N_COLOURS = 8;

const isSingle = (node) => node.level === 1 && node.index !== undefined; // a layer that is in no block
const amountOf = (nodes) => { const single = nodes.filter(isSingle).length; return zoo.madeOf(nodes.length - single, single); };
const colour = (score) => (score === null ? "qn" : `q${Math.min(Math.floor(score * N_COLOURS), N_COLOURS - 1)}`);

function diagram(host, model, filter) {
  const sides = [model.sources, [model.target]];
  const svg = make("svg", { class: "ribbons", preserveAspectRatio: "none", "aria-hidden": "true" });
  const columns = sides.map((networks, i) => make("div", { class: `column ${i ? "target" : "source"}` }));
  const heads = sides.map((networks, i) => head(networks, i));
  const inspector = make("div", { class: "inspector" });
  const middle = make("div", { class: "middle" }, svg);
  const empty = make("p", { class: "unmatched soft" }, "Nothing was matched");
  const grid = make("div", { class: "grid" }, ...heads, make("div", { class: "heads-gap" }), columns[0], middle, columns[1]);
  const root = make("div", { class: "diagram" }, grid, inspector);
  let ribbons = [];
  let visible = [[], []];
  let lit = null;

  function head(networks, i) {
    const one = networks.length === 1 ? networks[0] : null;
    return make("div", { class: `side-head ${i ? "target" : "source"}` },
      make("span", { class: "soft" }, i ? "Target" : one ? "Source" : `${networks.length} sources`),
      one ? make("bdi", { title: one.name }, one.name) : null,
      one ? make("span", { class: "soft amount" }, `${count(one.size)} values, ${amountOf(one.blocks)}`) : null);
  }

  // Rows are made once and kept, so that the focus stays where it is.
  function rowOf(node) {
    if (node.row) return node.row;
    const tensors = tensorsOf(node);
    const isTarget = node.side === model.target;
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
    if (found) return `${what} ${nameOf(node)}, ${count(found.size)} values, ${percent(found.written / (found.size || 1))} filled`;
    return `${what} ${nameOf(node)}, ${count(node.size)} values, ${percent(node.used / (node.size || 1))} used`;
  }

  // What the filter leaves out is not shown, and of the sources only what feeds the rest.
  function passes(node) {
    if (!filter.isSet) return true;
    const isWanted = node.side === model.target
      ? (tensor) => filter.admits(tensor)
      : (tensor) => tensor.links.some((link) => filter.admits(link.target));
    return tensorsOf(node).some(isWanted);
  }

  function unfolded(network) {
    const units = [];
    const add = (node) => {
      if (!passes(node)) return;
      if (node.level === 0) { // a stage and its blocks need not stay together
        units.push({ rows: [node], height: HEIGHT[0] + GAP });
        if (node.open) node.children.forEach(add);
        return;
      }
      const rows = [];
      const walk = (inner) => { rows.push(inner); if (inner.open) inner.children.filter(passes).forEach(walk); };
      walk(node);
      units.push({ rows, height: rows.reduce((sum, inner) => sum + HEIGHT[inner.level], 0) + GAP });
    };
    network.nodes.forEach(add);
    return units;
  }

  function draw(onPaper = false) {
    const focused = document.activeElement; // rows that move lose the focus
    visible = [[], []];
    const units = sides.map((networks) => networks.flatMap((network) => {
      const found = unfolded(network);
      if (networks.length > 1) found.unshift({ rows: [], network, height: 34 });
      return found;
    }));
    const heights = units.map((each) => each.reduce((sum, unit) => sum + unit.height, 0));
    const long = heights[0] > heights[1] ? 0 : 1;
    let y = 0;
    for (const unit of units[long]) { unit.y = y; y += unit.height; }
    level(units[long]);
    align(units[1 - long], heights[long], long);
    level(units[1 - long]);
    if (onPaper) zoo.breakPages(visible);
    columns.forEach((column, i) => fill(column, units[i], i));
    if (focused && focused.node && root.contains(focused)) focused.focus({ preventScroll: true });
    const height = Math.max(...visible.flat().map((node) => node.y + HEIGHT[node.level]), 40);
    grid.style.setProperty("--height", `${height}px`);
    svg.setAttribute("viewBox", `0 0 100 ${height}`);
    weave();
  }

  function level(units) {
    for (const unit of units) {
      let y = unit.y;
      for (const node of unit.rows) { node.y = y; y += HEIGHT[node.level]; visible[node.side === model.target ? 1 : 0].push(node); }
    }
  }

  // Lay the shorter column beside what feeds it, or is fed by it.
  function align(units, room, long) {
    const where = shown(long);
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

  // The node that stands for a tensor now.
  function shown(i) {
    const found = new Map(sides[i].map((network) => [network, new Array(network.tensors.length)]));
    for (const node of visible[i]) if (!node.open) found.get(node.side).fill(node, node.first, node.end);
    return (tensor) => found.get(tensor.side)[tensor.index];
  }

  function fill(column, units, i) {
    const trees = [];
    let tree = null;
    for (const unit of units) {
      if (unit.network || !tree) {
        const network = unit.network ?? sides[i][0];
        tree = make("div", { role: "tree", class: "tree", "aria-label": `${i ? "target" : "source"} ${network.name}` });
        if (unit.network) {
          const title = make("div", { class: "supply" }, make("bdi", { title: network.name }, network.name), make("span", { class: "soft amount" }, `supplies ${percent(network.coverage)}`));
          title.style.top = `${unit.y}px`;
          trees.push(title);
        }
        trees.push(tree);
      }
      for (const node of unit.rows) {
        const row = rowOf(node);
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

  // One ribbon for each two nodes that are shown, of all that goes from one to the other.
  function weave() {
    const [source, target] = [shown(0), shown(1)];
    const found = new Map();
    for (const node of visible.flat()) node.ribbons = [];
    for (const link of model.links.filter((each) => filter.admits(each.target))) {
      const [a, b] = [source(link.source), target(link.target)];
      if (!a || !b) continue;
      const key = `${link.source.side.number} ${a.first} ${a.end} ${b.first} ${b.end}`;
      let ribbon = found.get(key);
      if (!ribbon) { ribbon = { a, b, n: 0, sum: 0, weight: 0, links: [] }; found.set(key, ribbon); }
      const weight = link.n || 1e-3;
      if (link.score !== null) { ribbon.sum += weight * link.score; ribbon.weight += weight; }
      ribbon.n += link.n;
      ribbon.links.push(link);
    }
    ribbons = [...found.values()];
    const most = Math.max(...ribbons.map((ribbon) => ribbon.n), 1);
    for (const ribbon of ribbons) {
      ribbon.score = ribbon.weight ? ribbon.sum / ribbon.weight : null;
      ribbon.thick = 0.12 + 0.88 * (ribbon.n / most) ** 0.3;
      ribbon.a.ribbons.push(ribbon);
      ribbon.b.ribbons.push(ribbon);
    }
    for (const node of visible.flat()) {
      const far = (ribbon) => (ribbon.a === node ? ribbon.b : ribbon.a).y;
      node.ribbons.sort((x, y) => far(x) - far(y));
      const band = HEIGHT[node.level] - 8;
      const total = node.ribbons.reduce((sum, ribbon) => sum + ribbon.thick * band, 0);
      const factor = total > band ? band / total : 1;
      let y = node.y + HEIGHT[node.level] / 2 - (factor * total) / 2;
      for (const ribbon of node.ribbons) {
        const thick = ribbon.thick * band * factor;
        ribbon[ribbon.a === node ? "from" : "to"] = [y, y + thick];
        y += thick;
      }
    }
    ribbons.sort((x, y) => y.n - x.n);
    svg.replaceChildren(...ribbons.map((ribbon) => {
      const { from: [a, b], to: [c, d] } = ribbon;
      const curve = ribbon.n
        ? `M0 ${f(a)}C45 ${f(a)} 55 ${f(c)} 100 ${f(c)}L100 ${f(d)}C55 ${f(d)} 45 ${f(b)} 0 ${f(b)}Z`
        : `M0 ${f((a + b) / 2)}C45 ${f((a + b) / 2)} 55 ${f((c + d) / 2)} 100 ${f((c + d) / 2)}`;
      ribbon.path = make("path", { d: curve, class: ribbon.n ? colour(ribbon.score) : "bare" });
      ribbon.path.ribbon = ribbon;
      return ribbon.path;
    }));
    empty.remove();
    empty.textContent = visible[1].length ? "Nothing was matched" : "No tensor passes the filter";
    if (!ribbons.length && (!filter.isSet || !visible[1].length)) middle.append(empty);
  }
  const f = (y) => y.toFixed(1);

  function light(what) {
    if (what === lit) return;
    root.querySelectorAll(".lit").forEach((element) => element.classList.remove("lit"));
    lit = what;
    root.classList.toggle("focusing", Boolean(what));
    inspector.replaceChildren(...(what ? zoo.inspected(what, model) : zoo.hints()));
    if (!what) return;
    for (const ribbon of what.links ? [what] : ribbonsOf(what)) for (const element of [ribbon.path, ribbon.a.row, ribbon.b.row]) element.classList.add("lit");
    if (what.row) what.row.classList.add("lit");
  }
  const ribbonsOf = (node) => ribbons.filter((ribbon) => inside(ribbon.a, node) || inside(ribbon.b, node));
  const inside = (node, outer) => node.side === outer.side && node.first >= outer.first && node.end <= outer.end;

  function toggle(node, open = !node.open) {
    if (!node.children.length || Boolean(node.open) === open) return;
    node.open = open;
    redraw(node);
  }

  // What the reader looks at stays where it is on the screen.
  function redraw(node) {
    const before = node ? node.row.getBoundingClientRect().top : 0;
    lit = null;
    draw();
    if (!node) return;
    const moved = node.row.getBoundingClientRect().top - before;
    if (Math.abs(moved) > 1) window.scrollBy({ top: moved, behavior: "instant" });
    light(node);
  }

  function unfoldTo(depth) {
    for (const networks of sides) for (const network of networks) for (const block of network.nodes) {
      const walk = (node) => { node.open = node.children.length > 0 && (isSingle(node) ? 2 : node.level) < depth; node.children.forEach(walk); };
      walk(block);
    }
    redraw(null);
  }

  function go(node) {
    for (const row of node.row.parentElement.children) row.tabIndex = -1;
    node.row.tabIndex = 0;
    node.row.focus();
  }

  const keys = {
    ArrowDown: (node, row) => row.nextElementSibling && go(row.nextElementSibling.node),
    ArrowUp: (node, row) => row.previousElementSibling && go(row.previousElementSibling.node),
    ArrowRight: (node) => (node.children.length ? (node.open ? go(node.children[0]) : toggle(node)) : null),
    ArrowLeft: (node) => (node.open ? toggle(node) : node.parent && go(node.parent)),
    Home: (node, row) => go(row.parentElement.firstElementChild.node),
    End: (node, row) => go(row.parentElement.lastElementChild.node),
    Enter: (node) => toggle(node),
    " ": (node) => toggle(node),
    m: (node) => { const [best] = ribbonsOf(node).sort((x, y) => y.n - x.n); if (best) go(inside(best.a, node) ? best.b : best.a); },
  };
  root.addEventListener("keydown", (event) => {
    const row = event.target.closest(".node");
    if (!row || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key](row.node, row);
  });
  const focused = () => document.activeElement && root.contains(document.activeElement) && document.activeElement.node;
  root.addEventListener("click", (event) => {
    const row = event.target.closest(".node");
    if (row) { toggle(row.node); go(row.node); }
  });
  root.addEventListener("pointerover", (event) => {
    const row = event.target.closest(".node");
    const what = row ? row.node : event.target.ribbon;
    if (what) light(what);
  });
  root.addEventListener("pointerleave", () => light(focused() || null));
  root.addEventListener("focusin", (event) => { if (event.target.node) light(event.target.node); });
  root.addEventListener("focusout", (event) => { if (!root.contains(event.relatedTarget)) light(null); });
  filter.onchange(() => redraw(null));
  window.addEventListener("beforeprint", () => {
    if (!root.isConnected) return; // another diagram has taken its place
    draw(true);
  });
  window.addEventListener("afterprint", () => root.isConnected && draw());
  host.append(root);
  inspector.replaceChildren(...zoo.hints());
  draw();
  return {
    unfoldTo,
    clear() { if (focused()) document.activeElement.blur(); light(null); },
  };
}

// The scale of the ribbons.
function legend() {
  const steps = Array.from({ length: N_COLOURS }, (_, i) => make("i", { class: `q${i}` }));
  return make("div", { class: "legend", role: "img", "aria-label": "Colour of a ribbon: similarity of the layers, from 0, pale, to 1, strong. Thickness: number of values. Dashed: matched, and nothing was taken." },
    make("span", { class: "soft" }, "similarity 0"), make("span", { class: "steps" }, ...steps), make("span", { class: "soft" }, "1"),
    make("span", { class: "soft wide-only" }, " · thicker: more values · "),
    make("i", { class: "dashes" }), make("span", { class: "soft" }, "matched, nothing taken"));
}

Object.assign(zoo, { diagram, legend });
