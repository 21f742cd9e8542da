"""The map and the pages of the server as a reader uses them: by mouse, by keys, light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import browser, opened
from click.testing import CliRunner
from nets import block_stack
from safetensors.torch import save_file
from serving import COMMAND, Server, serving

from zoo_index.commands.main import cli
from zoo_index.reports.html.map import map_page

__all__ = ["browser"]  # a fixture

READY = "() => window.zoo && window.zoo.mapSeconds"


@pytest.fixture(scope="module")
def file(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("map") / "zoo.html"
    caches = {name: str(place.parent) for name in ("HF_HUB_CACHE", "TORCH_HOME")}
    done = CliRunner().invoke(cli, ["--db", str(small_index), "explore", "--html", str(place)], env=caches)
    assert done.exit_code == 0, done.output
    assert "7 architectures" in done.output
    return place


def at(page: Any, name: str) -> tuple[float, float]:
    """Where an architecture is drawn, found by moving over the map until its name shows."""
    box = page.locator("#map").bounding_box()
    for y in range(20, int(box["height"]), 9):
        for x in range(20, int(box["width"]), 9):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if page.locator("#tip strong").is_visible() and page.locator("#tip strong").inner_text() == name:
                return box["x"] + x, box["y"] + y
    raise AssertionError(f"{name} is not drawn")


def pixels(page: Any) -> int:
    """How many different colours the map has."""
    return int(
        page.evaluate(
            """() => {
                const map = document.getElementById("map"), seen = new Set();
                const drawn = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
                for (let i = 0; i < drawn.length; i += 4) if (drawn[i + 3]) seen.add(drawn.slice(i, i + 3).join());
                return seen.size;
            }"""
        )
    )


def test_the_file_is_searched_filtered_and_opened(browser: Any, file: Path) -> None:
    with opened(browser, file) as visit:
        page = visit.page
        page.wait_for_function(READY)
        assert page.inner_text("#told") == "7 architectures"
        assert pixels(page) > 10
        page.fill("#search", "vit")
        assert page.locator("#found button").all_inner_texts()[0].startswith("test_vit")
        assert "2 found" in page.inner_text("#told")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.inner_text("#facts h2") == "test_vit"
        assert page.url.endswith("#test_vit")
        assert page.locator("#facts .near").first.locator("li").first.inner_text().startswith("test_vit2")
        page.locator("#facts .near button", has_text="test_vit2").first.click()
        assert page.inner_text("#facts h2") == "test_vit2"
        page.locator("#facts summary").first.click()
        assert page.locator("#facts .layers").first.is_visible()
        page.click("#facts .close")
        assert not page.locator("#facts").is_visible()
        page.select_option("#most", "1000000")
        shown = page.inner_text("#told")
        assert shown.endswith("of 7 architectures")
        assert int(shown.split()[0]) < 7
        page.click("#reset")
        page.click("[data-family=resnet]")
        assert page.inner_text("#told") == "1 of 7 architectures"
        page.click("[data-family=vision_transformer]")
        assert page.inner_text("#told") == "3 of 7 architectures"
        page.click("#reset")
        page.check("#available")
        assert page.inner_text("#told") == "1 of 7 architectures"


def many_families(place: Path, n: int) -> Path:
    """A map of families of 2, 3, ... architectures, the largest one first."""
    family = [i for i in range(n) for _ in range(n + 1 - i)]
    places = [[100 + 9800 * (i % 25) // 25, 100 + 9800 * (i // 25) // 25] for i in range(len(family))]
    columns = {key: [0] * len(family) for key in ("catalogue", "weights")}
    points = {
        "name": [f"net{i}" for i in range(len(family))],
        "x": [x for x, _ in places],
        "y": [y for _, y in places],
        "family": family,
        "params": [10**6] * len(family),
        "top1": [None] * len(family),
        "offers": [[0]] * len(family),
        **columns,
    }
    names = [f"family{i:02}" for i in range(n)]
    summary = {"architectures": len(family), "families": names, "licenses": ["mit"], "catalogues": ["timm"]}
    place.write_text(map_page({"map": {**summary, "kind": "points", "points": points, "hidden": 0}, "note": ""}))
    return place


def test_every_family_has_a_colour_when_it_is_asked_for(browser: Any, tmp_path: Path) -> None:
    with opened(browser, many_families(tmp_path / "many.html", 30)) as visit:
        page = visit.page
        page.wait_for_function(READY)
        dot = "(name) => document.querySelector(`[data-family=${name}] .dot`).style.background"
        grey = page.evaluate(dot, "family29")
        assert page.inner_text("#legend .about").startswith("Grey: 10 smaller families, 65 architectures")
        assert page.evaluate(dot, "family19") != grey
        page.hover("[data-family=family29]")
        assert page.evaluate(dot, "family29") != grey
        page.mouse.move(5, 5)
        assert page.evaluate(dot, "family29") == grey
        for name in ("family00", "family28", "family29"):
            page.click(f"[data-family={name}]")
        page.mouse.move(5, 5)
        colours = {page.evaluate(dot, name) for name in ("family00", "family28", "family29")}
        assert len(colours - {grey}) == 3
        assert page.inner_text("#told") == "36 of 495 architectures"
        page.click("#reset")
        assert page.evaluate(dot, "family29") == grey
        page.fill("#family", "LY2")
        assert page.locator("#legend .family").count() == 10
        assert page.evaluate(dot, "family29") != grey
        page.wait_for_function("() => zoo.labels.length && zoo.labels.every((text) => text.startsWith('family2'))")
        page.fill("#family", "family27")
        page.keyboard.press("Enter")
        assert page.inner_text("#told") == "4 of 495 architectures"
        page.keyboard.press("Escape")
        assert page.locator("#legend .family").count() == 30
        page.fill("#family", "nothing")
        assert page.inner_text("#legend") == "No family has this in its name."


def test_of_one_thing_the_map_speaks_as_of_one(browser: Any, small_index: Path, tmp_path: Path) -> None:
    arguments = ["--db", str(small_index), "explore", "--search", "test_vit2", "--html", str(tmp_path / "one.html")]
    done = CliRunner().invoke(cli, arguments)
    assert "map of 1 architecture saved" in done.output
    with opened(browser, tmp_path / "one.html") as visit:
        page = visit.page
        page.wait_for_function(READY)
        assert page.inner_text("#told") == "1 architecture · search=test_vit2"
        page.fill("#search", "vit")
        page.keyboard.press("Enter")
        assert "1 set of weights" in page.inner_text("#facts")


def test_of_a_weights_file_the_order_is_said_to_be_that_of_its_names(browser: Any, file: Path) -> None:
    with opened(browser, f"{file.as_uri()}#pypi:efficientnet_lite0") as visit:
        page = visit.page
        page.wait_for_selector("#facts .blocks")
        title = page.locator("#facts section", has=page.locator(".blocks")).locator("h3")
        assert title.inner_text().endswith(", as the weights file names them")
        assert "the layers may run in another one" in page.inner_text("#facts")
        page.goto(f"{file.as_uri()}#efficientnet_lite0")
        page.wait_for_function("() => document.querySelector('#facts h2').textContent === 'efficientnet_lite0'")
        assert title.inner_text().endswith(", in order")
        assert "may run in another" not in page.inner_text("#facts")


def test_what_is_not_there_is_said_to_be_missing(browser: Any, file: Path) -> None:
    with opened(browser, file) as visit:
        page = visit.page
        page.goto(f"{page.url}#nosuch")
        page.wait_for_selector("text=There is no network of this name")
        page.fill("#search", "qqq")
        assert page.inner_text("#nothing") == "No network with “qqq” in its name"
        page.fill("#search", "resnet")
        assert not page.locator("#nothing").is_visible()
        page.select_option("#most", "1000000")
        page.fill("#search", "qqq")
        assert page.inner_text("#nothing").endswith("passes the filters")
        page.keyboard.press("Escape")
        assert not page.locator("#nothing").is_visible()


def test_a_chosen_architecture_hides_no_name_of_another(browser: Any, file: Path) -> None:
    with opened(browser, file) as visit:
        page = visit.page
        page.wait_for_function(READY)
        page.wait_for_function("() => zoo.labels.length === 7")
        page.fill("#search", "test_resnet")
        page.keyboard.press("Enter")
        page.wait_for_selector("#facts .weights li")
        assert page.locator("#facts .chip").first.inner_text() == "family: resnet"
        assert "single layer" in page.locator("#facts h3").last.inner_text()
        page.click("#all")
        page.wait_for_function("() => zoo.labels.length === 7 && zoo.labels[0] === 'test_resnet'")


@pytest.mark.slow
def test_by_keys_and_by_mouse_every_architecture_is_reached(browser: Any, file: Path) -> None:
    with opened(browser, file, width=900, height=700) as visit:
        page = visit.page
        page.wait_for_function(READY)
        x, y = at(page, "test_resnet")
        page.mouse.click(x, y)
        assert page.inner_text("#facts h2") == "test_resnet"
        page.keyboard.press("Escape")
        page.focus("#map")
        seen = set()
        for key in ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"] * 3:
            page.keyboard.press(key)
            seen.add(page.inner_text("#told"))
        assert len(seen) >= 4
        page.keyboard.press("Enter")
        assert page.inner_text("#facts h2") in seen
        before = page.evaluate("document.getElementById('map').toDataURL()")
        for key in ("+", "+", "Shift+ArrowLeft"):
            page.keyboard.press(key)
        page.wait_for_function("before => document.getElementById('map').toDataURL() !== before", arg=before)
        page.click("#in")
        page.click("#all")
        page.mouse.move(300, 300)
        page.mouse.wheel(0, -300)
        page.mouse.down()
        page.mouse.move(350, 340)
        page.mouse.up()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 800, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_windows_and_schemes(browser: Any, file: Path, width: int, scheme: str) -> None:
    with opened(browser, file, width=width, color_scheme=scheme) as visit:
        page = visit.page
        page.wait_for_function(READY)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colour = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(colour)
        dark = sum(map(int, before[4:-1].split(","))) < 300
        assert dark == (scheme == "dark")
        page.click("#theme")
        assert page.evaluate(colour) != before
        page.goto(f"{page.url.partition('#')[0]}#test_convnext")
        page.wait_for_selector("#facts .weights li")


def test_pages_of_the_server(browser: Any, server: Server, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(
        {name: value.clone() for name, value in block_stack(16, 2).state_dict().items()},
        tmp_path / "my.safetensors",
        {"output_dir": "/home/me", "prompt": "private"},
    )
    with opened(browser, f"{server.url}/") as visit:
        page = visit.page
        page.wait_for_function(READY)
        assert page.inner_text("#told") == "7 architectures"
        page.fill("#search", "convnext")
        page.keyboard.press("Enter")
        page.click("#facts h2 a")
        page.wait_for_selector("main .weights li")
        assert page.title() == "test_convnext"
        page.click("text=Find sources for it")
        page.wait_for_selector(".ranking tbody tr")
        assert page.locator(".ranking tbody tr").first.inner_text().split()[1].startswith("test_convnext")
        page.set_input_files("#file", str(tmp_path / "my.safetensors"))
        with page.expect_request("**/api/recommend") as sent:
            page.click("#question button.main")
        body = json.loads(sent.value.post_data)
        assert set(body) == {"header", "k", "filters"}
        assert all(set(told) == {"dtype", "shape"} for told in body["header"].values())  # and no private words
        page.wait_for_function("() => document.querySelector('#answer h2')?.textContent.includes('my.safetensors')")
        page.goto(f"{server.url}/recommend/?name=test_convnext&x=1")  # by way of /recommend
        page.wait_for_selector(".ranking tbody tr")
        assert page.input_value("#name") == "test_convnext"
        page.goto(f"{server.url}/recommend?name=%3Cimg%20src%3Dx%3E%26")
        page.wait_for_selector(".wrong.card")
        assert page.input_value("#name") == "<img src=x>&"
        assert "<img src=x>&" in page.inner_text(".wrong.card")
        assert page.locator("main img").count() == 0
        assert "404" in visit.complaints.pop()  # the browser's, of a name that nobody knows
        page.goto(f"{server.url}/recommend#%E0%A4%A")  # no text: as if nothing were there
        page.reload()
        assert page.input_value("#name") == ""
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_page_of_sources_says_what_to_take_and_what_it_cannot_read(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "last.ckpt").write_bytes(bytes(9_000_000))
    (tmp_path / "arch.json").write_text("{}")
    with opened(browser, f"{server.url}/recommend") as visit:
        page = visit.page
        wrong = page.locator(".wrong.card")
        page.set_input_files("#file", str(tmp_path / "last.ckpt"))
        assert "run zoo standardize -t last.ckpt -o arch.json first" in wrong.inner_text()
        box, form = wrong.bounding_box(), page.locator("#question").bounding_box()
        assert (box["x"], box["width"]) == (form["x"], form["width"])
        assert box["y"] > form["y"]
        page.click("#question button.main")
        assert "expected a .safetensors file or what zoo standardize wrote" in wrong.inner_text()
        page.set_input_files("#file", str(tmp_path / "arch.json"))
        assert not wrong.is_visible()
        save_file({"odd.weight": torch.ones(3, 3, 3, 3, 3, 3, 3)}, tmp_path / "odd$&.safetensors")
        page.set_input_files("#file", str(tmp_path / "odd$&.safetensors"))
        page.click("#question button.main")
        wrong.wait_for()
        assert "like those of 'odd$&.safetensors'" in wrong.inner_text()
        visit.complaints.clear()  # of the status, which is as it has to be
        page.fill("#name", "test_vit")
        page.keyboard.press("Enter")
        page.wait_for_selector(".ranking")
        told = server.ask("/api/recommend", {"name": "test_vit", "k": 10, "filters": {}}).json["advice"]
        assert page.inner_text("#answer .advice") == told["text"]
        assert page.inner_text("#answer .next code") == f"zoo plan -t YOUR_NETWORK -s {told['source']}"
        assert page.inner_text("#answer .evidence").startswith(f"Row {told['rank']}, {told['source']}, ")
        assert "Coverage" in page.locator(".ranking th").all_inner_texts()


def test_addresses_that_lead_nowhere_say_where_to_go(browser: Any, server: Server) -> None:
    with opened(browser, f"{server.url}/architecture/test_vit3") as visit:
        page = visit.page
        page.wait_for_selector("text=There is no network of this name")
        page.locator(".alike a").first.click()
        page.wait_for_selector("main .weights li")
        assert page.title().startswith("test_vit")
        page.goto(f"{server.url}/#test_vit3")
        page.locator("#facts .alike button").first.click()
        page.wait_for_selector("#facts .weights li")
        entry = server.ask("/api/architecture/test_vit").json["weights"][0]["name"]
        page.goto(f"{server.url}/architecture/{entry}")
        page.wait_for_function("() => document.title === 'test_vit'")
        assert page.goto(f"{server.url}/no/such/page").status == 404
        page.click("main >> text=Recommend")
        assert page.url == f"{server.url}/recommend"
        assert visit.complaints == [
            "Failed to load resource: the server responded with a status of 404 (Not Found)"
        ]
        visit.complaints.clear()  # of the page that is not there, as it has to be


FEW = "import zoo_index.server.atlas as atlas; atlas.Atlas.picture.__kwdefaults__['most'] = 3; "
"""A server that shows more than three architectures as cells, as one of a large index does more than 5,000."""


@pytest.mark.slow
def test_of_a_large_index_the_server_sends_what_is_in_sight(browser: Any, small_index: Path) -> None:
    with serving(small_index, command=FEW + COMMAND) as large, opened(browser, f"{large.url}/") as visit:
        page = visit.page
        page.wait_for_function(READY)
        assert page.inner_text("#told") == "7 architectures · a dot is many of them: zoom in"
        page.hover("[data-family=resnet]")
        page.wait_for_function("() => zoo.labels.join() === 'resnet'")
        page.click("[data-family=resnet]")
        page.wait_for_function("() => document.getElementById('told').textContent === '1 of 7 architectures'")
        page.mouse.move(5, 5)
        page.wait_for_function("() => zoo.labels.join() === 'test_resnet'")
        page.click("#reset")
        page.wait_for_function("() => document.getElementById('told').textContent.includes('a dot is many')")
        page.fill("#search", "test_vit2")
        page.locator("#found button").first.click()
        page.wait_for_selector("#facts .weights li")
        page.wait_for_function("() => zoo.labels.includes('test_vit2')")


@pytest.fixture(scope="module")
def guarded(small_index: Path) -> Iterator[Server]:
    with serving(small_index, "--token", "sesame-sesame-sesame") as found:
        yield found


@pytest.mark.slow
def test_a_browser_gives_the_token_once(browser: Any, guarded: Server, tmp_path: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{guarded.url}/")
    page.fill(".login input", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=not the token")
    page.fill(".login input", guarded.token)
    page.keyboard.press("Enter")
    page.wait_for_function(READY)
    page.goto(f"{guarded.url}/recommend")
    page.fill("#name", "nothing")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=expected an entry or architecture of the index, got 'nothing'")
    (tmp_path / "odd.json").write_text('{"forms": [1]}')
    page.set_input_files("#file", str(tmp_path / "odd.json"))
    page.click("#question button.main")
    page.wait_for_selector("text=expected a form with 'items'")
    page.goto(f"{guarded.url}/api")
    assert page.locator("main section").count() == 10
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    context.close()
