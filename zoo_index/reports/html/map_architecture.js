// The page of one architecture; its address names it.
const { make } = zoo;
const { address, pageOf } = zoo.server;
const name = zoo.decoded(location.pathname.slice(address("architecture/").length));
const page = document.getElementById("page");
const to = (other) => make("a", { href: pageOf(other), class: "other" }, other);
document.title = name;

function show(told) {
  document.title = told.name;
  const [first] = told.weights; // its name leads to the same architecture where two catalogues have one of that name
  const asked = first.architecture === told.name ? told.name : first.name;
  const tools = make("p", { class: "links" }, make("a", { href: address(`#${encodeURIComponent(told.name)}`) }, "Show on the map"), " · ",
    make("a", { href: address(`recommend#${encodeURIComponent(asked)}`) }, "Find sources for it"));
  const [head, chips, ...rest] = zoo.facts(told, { link: to });
  page.append(make("div", { class: "card" }, head, chips, tools, ...rest));
}

function miss(alike) {
  page.append(make("div", { class: "card" }, make("h2", { class: "name" }, name), ...zoo.unknown(alike, to),
    make("p", { class: "links" }, make("a", { href: address("") }, "Look for it on the map"))));
}

zoo.server.architecture(name).then((told) => (told.name === null ? miss(told.alike) : show(told))).catch(zoo.server.complain);
