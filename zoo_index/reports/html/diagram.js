// Two networks as columns of blocks, with ribbons between what was matched. Blocks unfold into layers, layers into tensors.
const { make, rows: { head, fill, isSingle } } = zoo;

function diagram(host, model, filter) {
  const sides = [model.sources, [model.target]];
  const svg = make("svg", { class: "ribbons", preserveAspectRatio: "none", "aria-hidden": "true" });
  const columns = ["source", "target"].map((name) => make("div", { class: `column ${name}` }));
  const inspector = make("div", { class: "inspector" });
  const middle = make("div", { class: "middle" }, svg);
  const empty = make("p", { class: "unmatched soft" }, "Nothing was matched");
  const grid = make("div", { class: "grid" }, ...sides.map((networks, i) => head(networks, i === 1)), make("div", { class: "heads-gap" }), columns[0], middle, columns[1]);
  const root = make("div", { class: "diagram" }, grid, inspector);
  let ribbons = [];
  let lit = null;

  function draw(onPaper = false) {
    const focused = document.activeElement; // rows that move lose the focus
    const { units, visible, height } = zoo.columns(sides, model, filter, onPaper);
    columns.forEach((column, i) => fill(column, units[i], sides[i], i === 1));
    if (focused && focused.node && root.contains(focused)) focused.focus({ preventScroll: true });
    grid.style.setProperty("--height", `${height}px`);
    svg.setAttribute("viewBox", `0 0 100 ${height}`);
    const [source, target] = sides.map((networks, i) => zoo.shown(networks, visible[i]));
    ribbons = zoo.ribbons(model.links.filter((each) => filter.admits(each.target)), source, target, visible.flat());
    svg.replaceChildren(...ribbons.map((ribbon) => ribbon.path));
    empty.remove();
    empty.textContent = visible[1].length ? "Nothing was matched" : "No tensor passes the filter";
    if (!ribbons.length && (!filter.isSet || !visible[1].length)) middle.append(empty);
  }

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

Object.assign(zoo, { diagram });
