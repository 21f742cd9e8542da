// Asking the server that the page came from. Its token, where it wants one, is kept for this tab alone.
const { make } = zoo;
const KEY = "zoo-token";

// Where the server's pages begin: below a path of a proxy, such as /zoo/, if there is one. Only the pages of
// architectures lie a level deeper; a name may have a slash in it.
const { pathname } = location, { below } = zoo.data;
const ROOT = pathname.slice(0, (below ? pathname.lastIndexOf(`/${below}/`) : pathname.lastIndexOf("/")) + 1);
const address = (path) => ROOT + path;
const pageOf = (name) => address(`architecture/${encodeURIComponent(name)}`);
for (const link of document.querySelectorAll("nav a")) link.href = address(link.getAttribute("href"));

const form = make("form", { class: "card login", hidden: true },
  make("h2", {}, "This server asks for its token"),
  make("p", { class: "soft" }, "It was printed where the server was started. It is kept until this tab is closed."));
const field = make("input", { type: "password", "aria-label": "Token", autocomplete: "off", class: "grow" });
const wrong = make("p", { class: "wrong", role: "alert" });
form.append(make("div", { class: "row" }, field, make("button", { class: "main", type: "submit" }, "Enter")), wrong);
const problem = make("p", { class: "card wrong", role: "alert", hidden: true });
document.querySelector("main").prepend(form, problem);

let entered = null;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, field.value.trim());
  field.value = "";
  form.hidden = true;
  if (entered) entered();
});

function token(failed) {
  form.hidden = false;
  wrong.textContent = failed ? "That was not the token of this server." : "";
  field.focus();
  return new Promise((resolve) => { entered = resolve; });
}

async function ask(path, options = {}, signal = undefined) {
  for (;;) {
    const known = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(known ? { Authorization: `Bearer ${known}` } : {}) };
    const response = await fetch(address(path), { ...options, headers, signal, redirect: "error" });
    if (response.status === 401) {
      sessionStorage.removeItem(KEY);
      await token(Boolean(known));
      continue;
    }
    const told = await response.json();
    if (!response.ok) throw new Error(told.detail || `The server answered ${response.status}.`);
    return told;
  }
}

// All of one architecture; of a name that means none, `name` is null, and `alike` has others. Names are looked up
// first, since a browser would write an answer of status 404 to its console.
async function architecture(name, isThere = false) {
  const known = isThere ? { name } : await ask(`api/resolve/${encodeURIComponent(name)}`);
  return known.name === null ? known : ask(`api/architecture/${encodeURIComponent(known.name)}`);
}

function complain(error) {
  if (error.name === "AbortError") return;
  problem.textContent = error instanceof TypeError ? "The server does not answer." : error.message;
  problem.hidden = false;
}

function calm() { problem.hidden = true; }

zoo.server = { address, pageOf, ask, architecture, complain, calm, problem };
