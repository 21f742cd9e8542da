// The page of one architecture; its address names it.
const { make } = zoo;
const name = zoo.decoded(location.pathname.replace(/^\/architecture\//, ""));
const page = document.getElementById("page");
const to = (other) => make("a", { href: `/architecture/${encodeURIComponent(other)}`, class: "other" }, other);
document.title = name;
zoo.server.ask(`/api/architecture/${encodeURIComponent(name)}`).then((told) => {
  const tools = make("p", { class: "links" }, make("a", { href: `/#${encodeURIComponent(name)}` }, "Show on the map"), " · ",
    make("a", { href: `/recommend#${encodeURIComponent(name)}` }, "Find sources for it"));
  const [head, chips, ...rest] = zoo.facts(told, { link: to });
  page.append(make("div", { class: "card" }, head, chips, tools, ...rest));
}).catch(zoo.server.complain);
