"""What the documents name is there, and what they show runs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pages
import pytest
from browser import chromium

from zoo_index.commands.main import cli
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
LANGUAGES = {"console", "python", "text", "toml", "json", "yaml", "csv", "bash"}
OURS = ("benchmarks", "examples", "tests", "transfer", "zoo_index")
HELD_ELSEWHERE = {"notebook.md", "recipes.md"}
"""Pages whose examples are files in examples/, which have tests of their own."""

QUICK = {"quickstart.md"}
"""Pages whose examples run in every run of the tests; the others need `make sweep`."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_promise_names_tests_that_there_are() -> None:
    text = (DOCS / "reliability.md").read_text()
    table = text[text.index("| fault |") :].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) > 20
    there = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    for row in rows:
        assert len(row) == 3, row
        modules = [name for name in re.findall(r"\btest_\w+", row[2]) if name in there]
        assert modules or row[2] == "the same", row
        sources = "".join(there[name].read_text() for name in modules)
        for name in set(re.findall(r"\btest_\w+", row[2])) - set(modules):
            assert f"def {name}(" in sources, name


def files() -> set[str]:
    """Every file and folder of the project, from its root and from within its packages."""
    found = set()
    for top in ("transfer", "zoo_index", "tests", "benchmarks", "examples", "migrations", "data", "deploy", "docs"):
        for path in (ROOT / top).rglob("*"):
            if "__pycache__" not in path.parts:
                parts = path.relative_to(ROOT).parts
                found |= {"/".join(parts[i:]) for i in range(len(parts))}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_pages_name_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    titles = {block.title for block in pages.blocks(page)}
    named = re.findall(r"`(\w[\w/]*/\w[\w/]*(?:\.py)?|\w+\.py)`", text)
    ours = {name.rstrip("/") for name in named if name.endswith(".py") or name.split("/")[0] in OURS} - titles
    assert ours - {"file.py", "net.py", "train.py"} <= files()  # the reader's, and timm's


@pytest.mark.parametrize("package", ["transfer", "zoo_index"])
def test_every_public_name_is_described(package: str) -> None:
    described = re.findall(rf"^::: {package}\.(\w+)$", (DOCS / "api.md").read_text(), re.M)
    assert sorted(described) == importlib.import_module(package).__all__


def commands(command: click.Command, path: str) -> Iterator[str]:
    """Every command that is shown, by what is typed."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


def script(name: str) -> ModuleType:
    """A script of the documents as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_described() -> None:
    page = script("reference").on_page_markdown((DOCS / "commands.md").read_text())
    headings = set(re.findall(r"^#+ (zoo[^{]*) {", page, re.M))
    assert headings == set(commands(cli, "zoo"))
    assert len(headings) > 25
    for option in ("--available", "--min-coverage FLOAT", "--state KEY"):
        assert f"`{option}" in page
    for line in re.findall(r"^zoo .*$", cli.commands["recommend"].help or "", re.M):
        assert f"\n{line}\n" in page


def test_the_folders_of_the_code_are_described() -> None:
    text = (DOCS / "architecture.md").read_text()
    for package in ("transfer", "zoo_index"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").exists():
                assert f"`{folder.name}/`" in text, folder.name


def test_pictures_are_those_that_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = script("pictures")
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    pictures.draw_all()
    assert len(list(tmp_path.iterdir())) > 5
    for path in tmp_path.iterdir():
        assert path.read_text() == (DOCS / "img" / path.name).read_text(), path.name


EXAMPLES = [page for page in sorted(DOCS.glob("*.md")) if page.name not in HELD_ELSEWHERE]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_are_run_or_say_why_not(page: Path) -> None:
    text = page.read_text()
    for block in pages.blocks(page):
        assert block.language in LANGUAGES, block.place
        if block.language == "bash" and not block.reason:
            assert not any(line.startswith("zoo ") for line in block.lines), f"{block.place}: fence it as console"
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    assert not re.search(r"^    (\$|zoo |pip |import |from )", prose, re.M), "an example that is not fenced"


@pytest.fixture(scope="module")
def shipped_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index as the first use makes it."""
    place = tmp_path_factory.mktemp("shipped") / "zoo.db"
    Zoo(place).ensure()
    return place


RUN = [
    pytest.param(page, marks=[] if page.name in QUICK else pytest.mark.slow, id=page.name)
    for page in EXAMPLES
    if any(block.language in pages.RUN and not block.reason for block in pages.blocks(page))
]


@pytest.mark.parametrize("page", RUN)
def test_examples_print_what_the_page_says(page: Path, shipped_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "zoo.db"
    index.write_bytes(shipped_index.read_bytes())
    (tmp_path / "work").mkdir()
    with pages.working_in(tmp_path / "work", index):
        for told in pages.run(page):
            printed = "\n".join(told.printed)
            assert pages.agrees(told), f"{told.place}: now prints\n{printed}\n`make docs-examples` writes it"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_is_built_without_a_warning_and_asks_no_other_host(site: Path) -> None:
    assert {page.stem for page in DOCS.glob("*.md")} <= {page.stem for page in site.glob("*.html")}
    for page in site.glob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?([^\"' >]+)", page.read_text())
        loaded += re.findall(r"<link[^>]*\shref=[\"']?([^\"' >]+)", page.read_text())
        assert [address for address in loaded if "//" in address] == [], page.name


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_in_a_browser_without_errors(site: Path, scheme: str) -> None:
    program = chromium()
    script = f"""
import json, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from playwright.sync_api import sync_playwright
SimpleHTTPRequestHandler.log_message = lambda *_: None
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory={str(site)!r}))
threading.Thread(target=server.serve_forever, daemon=True).start()
place = f"http://127.0.0.1:{{server.server_port}}"
heard = []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="{program}", args=["--no-sandbox"])
    page = browser.new_context(color_scheme="{scheme}", viewport={{"width": 400, "height": 900}}).new_page()
    page.on("request", lambda r: r.url.startswith(("http", "ws")) and place not in r.url and heard.append(r.url))
    page.on("console", lambda m: m.type == "error" and heard.append(m.text))
    page.on("pageerror", lambda e: heard.append(str(e)))
    for path in sorted(Path({str(site)!r}).glob("*.html")):
        page.goto(f"{{place}}/{{path.name}}")
        page.wait_for_load_state("networkidle")
        if page.evaluate("document.documentElement.scrollWidth") > 400:
            heard.append(f"{{path.name}} is wider than the screen")
    for index in (f"{{place}}/index.html", Path({str(site / "index.html")!r}).as_uri()):  # and from the folder
        page.goto(index)
        page.click("label[for=__search]:visible")
        page.locator("input.md-search__input").press_sequentially("optimizer")
        page.wait_for_selector(".md-search-result__item", state="attached")
        page.locator(".md-search-result__item a").first.click()
        page.wait_for_load_state()
        if "optimizer" not in page.inner_text("article").lower():
            heard.append(f"{{page.url}} has not what was searched")
    browser.close()
print(json.dumps(heard))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    heard = [line for line in done.stdout.splitlines() if line]
    assert heard == ["[]"]
