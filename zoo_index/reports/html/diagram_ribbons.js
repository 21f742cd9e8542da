// Ribbons between rows that are matched: their colour is the similarity, their thickness how much is taken.
const { make, HEIGHT } = zoo;
const LAST = 7; // of the colours of the scale, as diagram.css has them

// The colour of a similarity from 0 to 1, mixed of the two colours of the scale that it lies between.
function tint(score) {
  if (score === null) return "var(--soft)";
  const place = Math.min(Math.max(score, 0), 1) * LAST, i = Math.min(Math.floor(place), LAST - 1);
  return `color-mix(in srgb, var(--q${i + 1}) ${(100 * (place - i)).toFixed(1)}%, var(--q${i}))`;
}

// One ribbon for each two rows that are shown, of all that goes from one to the other.
function ribbons(links, source, target, rows) {
  const found = new Map();
  for (const node of rows) node.ribbons = [];
  for (const link of links) {
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
  const made = [...found.values()];
  const most = Math.max(...made.map((ribbon) => ribbon.n), 1);
  for (const ribbon of made) {
    ribbon.score = ribbon.weight ? ribbon.sum / ribbon.weight : null;
    ribbon.thick = 0.12 + 0.88 * (ribbon.n / most) ** 0.3;
    ribbon.a.ribbons.push(ribbon);
    ribbon.b.ribbons.push(ribbon);
  }
  for (const node of rows) fasten(node);
  made.sort((x, y) => y.n - x.n);
  for (const ribbon of made) ribbon.path = path(ribbon);
  return made;
}

// Ends of ribbons share the height of their row, in the order of where they lead.
function fasten(node) {
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

const f = (y) => y.toFixed(1);
function path(ribbon) {
  const { from: [a, b], to: [c, d] } = ribbon;
  const curve = ribbon.n
    ? `M0 ${f(a)}C45 ${f(a)} 55 ${f(c)} 100 ${f(c)}L100 ${f(d)}C55 ${f(d)} 45 ${f(b)} 0 ${f(b)}Z`
    : `M0 ${f((a + b) / 2)}C45 ${f((a + b) / 2)} 55 ${f((c + d) / 2)} 100 ${f((c + d) / 2)}`;
  const made = make("path", { d: curve, class: ribbon.n ? null : "bare" });
  made.style.setProperty("--tint", tint(ribbon.score));
  made.ribbon = ribbon;
  return made;
}

// What the colours and lines mean.
function legend() {
  return make("div", { class: "legend", role: "img", "aria-label": "Colour of a ribbon: similarity of the layers, from 0, yellow, to 1, blue. Thickness: number of elements. Dashed: matched, and nothing was taken." },
    make("span", { class: "soft" }, "similarity"),
    make("span", { class: "scale" }, ...["0", "0.5", "1"].map((one) => make("span", { class: "soft" }, one))),
    make("span", { class: "soft wide-only" }, " · thicker: more elements · "),
    make("i", { class: "dashes" }), make("span", { class: "soft" }, "matched, nothing taken"));
}

Object.assign(zoo, { ribbons, legend });
