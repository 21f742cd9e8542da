// Every tensor of the target in a table that can be sorted; the filter decides which are in it.
const { make, number, percent, plural } = zoo;
const FIRST = 100;
const MORE = 400;

const share = (tensor) => (tensor.size ? tensor.written / tensor.size : 0);
const COLUMNS = [
  { name: "Tensor", key: (tensor) => tensor.name, cell: (tensor) => name(tensor), kind: "name" },
  { name: "Shape", key: (tensor) => tensor.size, cell: (tensor) => tensor.shape, kind: "number" },
  { name: "What happened", key: (tensor) => zoo.STATUSES.indexOf(tensor.status), cell: (tensor) => make("span", { class: `tag ${tensor.status}` }, tensor.status), kind: "status" },
  { name: "Filled", key: share, cell: (tensor) => (tensor.written ? percent(share(tensor)) : "–"), kind: "number" },
  { name: "From", key: (tensor) => (tensor.links[0] ? tensor.links[0].source.name : ""), cell: from, kind: "name" },
  { name: "How and why", key: (tensor) => how(tensor), cell: how, kind: "why" },
];

// A name of some thousand characters scrolls in its cell.
const name = (tensor) => make("bdi", { class: tensor.name.length > 200 ? "mono long" : "mono" }, tensor.name);

function from(tensor) {
  const names = [...new Set(tensor.links.map((link) => link.source))];
  const cells = names.slice(0, 3).map((one) => make("div", {}, name(one), " ", make("span", { class: "soft" }, one.shape)));
  if (names.length > 3) cells.push(make("div", { class: "soft" }, `and ${names.length - 3} more`));
  return cells.length ? cells : "–";
}

function how(tensor) {
  const operator = tensor.operator && tensor.operator !== "copy" ? tensor.operator : "";
  return [operator, tensor.reason].filter(Boolean).join("; ");
}

function tensorTable(model, filter) {
  let column = null;
  let direction = 1;
  let most = FIRST;
  const heads = COLUMNS.map((each) => make("th", { scope: "col", class: each.kind }, make("button", { type: "button", onclick: () => {
    if (column === each && direction < 0) column = null; // the third time: the order of the network
    else if (column === each) direction = -1;
    else { column = each; direction = 1; }
    draw();
  } }, each.name)));
  const body = make("tbody");
  const note = make("p", { class: "soft note" });
  const more = make("button", { type: "button", onclick: () => { most += MORE; draw(); } });
  const element = make("section", { class: "card" },
    make("h2", {}, "Every tensor"), note,
    make("div", { class: "scroll" }, make("table", { class: "tensors" }, make("thead", {}, make("tr", {}, ...heads)), body)),
    make("div", { class: "row more screen" }, more));

  function rowOf(tensor) {
    return (tensor.line ??= make("tr", {}, ...COLUMNS.map((each) => make("td", { class: each.kind, "data-label": each.name }, each.cell(tensor)))));
  }

  function draw() {
    const rows = model.target.tensors.filter(filter.admits);
    if (column) {
      const keys = new Map(rows.map((tensor) => [tensor, column.key(tensor)]));
      const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
      rows.sort((a, b) => direction * compare(keys.get(a), keys.get(b)) || a.index - b.index);
    }
    heads.forEach((head, i) => {
      if (COLUMNS[i] === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...rows.slice(0, most).map(rowOf));
    const left = rows.length - most;
    note.textContent = `${plural(rows.length, "tensor")}${left > 0 ? `, the first ${number(most)} shown` : ""}${column ? "" : ", in the order of the network"}`;
    more.textContent = `Show ${number(Math.min(left, MORE))} more`;
    more.hidden = left <= 0;
  }

  filter.onchange(() => { most = FIRST; draw(); });
  draw();
  return element;
}

Object.assign(zoo, { tensorTable });
