"""Pages of plans, transfers and rankings as a reader uses them: in a window, by mouse, by keys, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from browser import opened
from torch import nn

import transfer
import zoo_index
from zoo_index.foundation.counting import noun
from zoo_index.recommending.answers import Recommendation, Recommendations
from zoo_index.reports.page import in_bytes

HOSTILE = '</script><img src=x onerror="alert(1)">\u202egpj.\u05d0' + "a" * 5000


def mlp(width: int, depth: int, classes: int) -> nn.Sequential:
    body = [
        nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, width)) for _ in range(depth)
    ]
    return nn.Sequential(nn.Linear(3, width), *body, nn.Linear(width, classes))


def result(rank: int, name: str, similarity: float, **values: Any) -> Recommendation:
    known: dict[str, Any] = {
        "architecture": name,
        "family": "made",
        "catalogue": "timm",
        "paper_similarity": None,
        "coverage": similarity,
        "params": 1000 * rank,
        "license": "mit",
        "available": rank == 1,
        "input_size": "3x32x32",
        "n_classes": 4,
        "n_weights": 1,
        "top1": None,
        "benefit": "strong" if similarity > 0.5 else "none",
        "evidence": "measured",
    }
    return Recommendation(rank, name, similarity=similarity, **(known | values))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    source, target = mlp(16, 3, 4), mlp(24, 5, 7)
    plan = transfer.plan(source, target)
    zoo_index.save_html(plan, folder / "plan.html", source="small", target="large")
    zoo_index.save_html(transfer.transfer(mlp(8, 2, 3), mlp(8, 2, 3)), folder / "transfer.html")
    zoo_index.save_html(transfer.plan(nn.Linear(2, 3), nn.Linear(2, 3)), folder / "one.html")
    zoo_index.save_html(transfer.plan(nn.Linear(2, 3), nn.BatchNorm1d(6)), folder / "nothing.html")
    several = transfer.plan([source, nn.Conv2d(3, 8, 3)], nn.ModuleDict({"a": target, "b": nn.Conv2d(3, 8, 3)}))
    zoo_index.save_html(several, folder / "several.html", target="both")
    odd = {name: nn.Linear(3, 3) for name in (HOSTILE.replace(".", "_"), "\u05d0\u05d1", "x")}
    zoo_index.save_html(
        transfer.plan(nn.ModuleDict(odd), nn.ModuleDict(odd)), folder / "odd.html", source=HOSTILE, target=HOSTILE
    )
    with torch.device("meta"):
        deep = [timm.create_model("vit_tiny_patch16_224", depth=depth).state_dict() for depth in (100, 200)]
    zoo_index.save_html(transfer.plan(*deep), folder / "deep.html", source="d100", target="d200")
    found = [result(1, "small.a", 0.9), result(2, HOSTILE, 0.8, license=None), result(10, "other.b", 0.3)]
    target_values = {"name": "large.py", "params": 5000, "layers": 10, "blocks": 5, "fingerprint": "f"}
    answer = Recommendations(target_values, "dpiat", tuple(found), 3, 3, 0.1)
    zoo_index.save_html(answer, folder / "ranking.html", plans={"small.a": plan, HOSTILE: plan})
    return folder


def n_rows(page: Any, side: str) -> int:
    return int(page.locator(f".column.{side} .node").count())


SELDOM = ("transfer", "one", "nothing", "several", "deep")
NAMES = ["plan", "odd", "ranking", *(pytest.param(name, marks=pytest.mark.slow) for name in SELDOM)]


@pytest.mark.parametrize("name", NAMES)
def test_pages_fit_windows_of_every_width(browser: Any, pages: Path, name: str) -> None:
    for width, scheme in ((1280, "light"), (800, "dark"), (400, "light")):
        with opened(browser, pages / f"{name}.html", width=width, color_scheme=scheme) as visit:
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
            assert visit.page.locator(".diagram").is_visible()
            visit.page.get_by_role("button", name="Tensors", exact=True).first.click()
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_amounts_are_written_as_on_the_command_line(browser: Any, pages: Path) -> None:
    sizes, nouns = [0, 999, 23_800, 5.2e6, 1.5e9, 4e15], ["key", "entry", "day", "class", "layer"]
    with opened(browser, pages / "one.html") as visit:
        page = visit.page
        assert page.evaluate("(sizes) => sizes.map(zoo.bytes)", sizes) == [in_bytes(n) for n in sizes]
        said = page.evaluate("(nouns) => nouns.map((one) => zoo.noun(2, one))", nouns)
        assert said == [noun(2, n) for n in nouns]


def test_blocks_unfold_and_ribbons_follow(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "plan.html") as visit:
        page = visit.page
        blocks, ribbons = n_rows(page, "target"), page.locator(".ribbons path").count()
        assert ribbons >= blocks - 3
        page.locator(".column.target .node").nth(1).click()
        layers = n_rows(page, "target")
        assert layers > blocks
        assert page.locator(".ribbons path").count() > ribbons
        page.locator(".column.target .node").nth(2).click()
        assert n_rows(page, "target") > layers
        assert page.locator(".column.target .level3").first.get_attribute("aria-level") == "4"
        page.locator(".column.target .node").nth(1).click()
        assert n_rows(page, "target") == blocks
        for depth, name in enumerate(("Blocks", "Layers", "Tensors"), start=1):
            page.get_by_role("button", name=name, exact=True).click()
            assert page.locator(f".column.target .level{depth}").count() > 0
            assert page.locator(f".column.target .level{depth + 1}").count() == 0
        ends = page.evaluate(
            """() => [...document.querySelectorAll(".ribbons path")].map((path) => {
                const line = path.getBoundingClientRect();
                const gap = document.querySelector(".middle").getBoundingClientRect();
                return [line.left - gap.left, gap.right - line.right];
            })"""
        )
        assert all(abs(gap) < 2 for pair in ends for gap in pair)  # from column to column


def test_single_layers_stay_closed_among_layers_and_are_counted_apart(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "plan.html") as visit:
        page = visit.page
        assert "5 blocks and 2 single layers" in page.locator(".side-head.target").inner_text()
        page.get_by_role("button", name="Layers", exact=True).click()
        single = page.locator(".column.target .level1").first
        assert single.get_attribute("aria-expanded") == "false"
        page.get_by_role("button", name="Tensors", exact=True).click()
        assert single.get_attribute("aria-expanded") == "true"
        assert "matched, nothing taken" in page.locator(".card > .legend").inner_text()


def test_the_hints_cover_no_row(browser: Any, pages: Path) -> None:
    position = "getComputedStyle(document.querySelector('.inspector')).position"
    with opened(browser, pages / "deep.html") as visit:
        page = visit.page
        page.get_by_role("button", name="Blocks", exact=True).click()
        page.mouse.move(5, 5)
        assert page.evaluate(position) == "static"
        page.locator(".column.target .node").first.hover()
        assert page.evaluate(position) == "sticky"  # what is pointed at is told in sight
        assert page.evaluate("getComputedStyle(document.querySelector('.inspector')).pointerEvents") == "none"


def test_pointing_at_a_block_lights_what_it_is_matched_with(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "plan.html") as visit:
        page = visit.page
        page.locator(".column.target .node").first.hover()
        lit = page.locator(".node.lit").all_inner_texts()
        assert len(lit) == 2
        assert "filled" in page.locator(".inspector").inner_text()
        assert page.locator(".ribbons path.lit").count() == 1
        page.locator(".ribbons path").first.hover()
        assert " elements copied" in page.locator(".inspector").inner_text()
        assert "values" not in page.inner_text("body")  # tensors have elements, networks parameters
        page.mouse.move(5, 5)
        assert page.locator(".lit").count() == 0


def test_the_colour_of_a_ribbon_is_its_similarity_on_the_scale(browser: Any, tmp_path: Path) -> None:
    source = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 4))
    target = nn.Sequential(nn.Conv2d(3, 9, 3), nn.Conv2d(9, 30, 5), nn.Conv2d(30, 17, 3), nn.Linear(17, 9))
    zoo_index.save_html(transfer.plan(source, target), tmp_path / "plan.html")
    with opened(browser, tmp_path / "plan.html") as visit:
        page = visit.page
        assert page.inner_text(".legend .scale").split() == ["0", "0.5", "1"]
        found = page.evaluate(
            """() => {
                const paths = [...document.querySelectorAll(".ribbons path:not(.bare)")];
                const scale = (i) => { // the colours between which the scale runs
                    const probe = document.createElement("i");
                    probe.style.color = `var(--q${i})`;
                    document.body.append(probe);
                    return getComputedStyle(probe).color.match(/[0-9.]+/g).map(Number);
                };
                const parts = (path) => { // as rgb(0, 0, 255) or color(srgb 0 0 1)
                    const { fill } = getComputedStyle(path), numbers = fill.match(/[0-9.]+/g).map(Number);
                    return numbers.slice(0, 3).map((n) => (fill.startsWith("rgb") ? n : 255 * n));
                };
                return {
                    stops: [...Array(8).keys()].map(scale),
                    ribbons: paths.map((path) => [path.ribbon.score, parts(path)]),
                };
            }"""
        )
        scores = {score for score, _ in found["ribbons"]}
        assert len(scores) > 1
        for score, colour in found["ribbons"]:
            i = min(int(7 * score), 6)
            part = 7 * score - i
            mixed = [(1 - part) * a + part * b for a, b in zip(*found["stops"][i : i + 2], strict=True)]
            assert colour == pytest.approx(mixed, abs=1)


def test_tensors_are_filtered_and_sorted(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "plan.html") as visit:
        page = visit.page
        every = page.locator(".tensors tbody tr").count()
        chip = page.locator(".chip.fresh")
        chip.click()
        assert chip.get_attribute("aria-pressed") == "true"
        fresh = page.locator(".tensors tbody tr").count()
        assert 0 < fresh < every
        assert set(page.locator(".tensors td.status").all_inner_texts()) == {"fresh"}
        assert page.locator(".column.target .node").all_inner_texts()[0].startswith("6")
        assert n_rows(page, "target") == 1
        page.keyboard.press("Escape")
        assert page.locator(".tensors tbody tr").count() == every
        page.locator("input[type=search]").fill("bias 24")
        assert 0 < page.locator(".tensors tbody tr").count() < every
        assert " of " in page.locator(".told").inner_text()
        page.get_by_role("button", name="Clear").click()
        sizes = """() => [...document.querySelectorAll(".tensors tbody tr")].map((row) =>
            row.children[1].textContent.split("×").reduce((size, n) => size * Number(n), 1))"""
        head = page.locator(".tensors th").nth(1)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert page.evaluate(sizes) == sorted(page.evaluate(sizes))
        head.get_by_role("button").click()
        assert page.evaluate(sizes) == sorted(page.evaluate(sizes), reverse=True)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") is None


def test_a_page_is_read_by_keyboard_alone(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "plan.html") as visit:
        page, keys = visit.page, visit.page.keyboard
        focused = "document.activeElement.getAttribute('aria-label')"
        for _ in range(30):
            keys.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('role')") == "treeitem":
                break
        first, before = page.evaluate(focused), n_rows(page, "source")
        keys.press("ArrowDown")
        second = page.evaluate(focused)
        assert first.startswith("layer 0")
        assert second.startswith("block")
        keys.press("Enter")
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        assert n_rows(page, "source") > before
        keys.press("ArrowRight")
        assert page.evaluate(focused).startswith("layer 1.0")
        keys.press("ArrowLeft")
        assert page.evaluate(focused) == second
        keys.press("m")
        assert page.evaluate("document.activeElement.closest('.column').className").endswith("target")
        keys.press("End")
        keys.press("Home")
        keys.press(" ")
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        keys.press("/")
        assert page.evaluate("document.activeElement.type") == "search"
        keys.type("weight")
        assert page.locator(".told").inner_text()
        keys.press("Escape")
        assert page.locator(".told").inner_text() == ""


def test_dark_mode_follows_the_system_and_the_button(browser: Any, pages: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, pages / "transfer.html", color_scheme="dark") as visit:
        dark = visit.page.evaluate(background)
        visit.page.get_by_role("button", name="Light").click()
        light = visit.page.evaluate(background)
        assert dark != light
        visit.page.get_by_role("button", name="Dark").click()
        assert visit.page.evaluate(background) == dark
    with opened(browser, pages / "transfer.html", color_scheme="light") as visit:
        assert visit.page.evaluate(background) == light
        assert "Yours computes what its source computes" in visit.page.locator(".tiles").inner_text()


def test_foreign_text_is_shown_as_text(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "odd.html") as visit:
        visit.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        visit.page.get_by_role("button", name="Tensors", exact=True).click()
        visit.page.locator(".column.target .node").last.hover()
        assert visit.page.locator("img").count() == 0
        assert visit.page.locator("script").count() == 2
        assert "<img src=x onerror=" in visit.page.locator("h1").inner_text()
        assert "\\u202egpj" in visit.page.locator("h1").inner_text()
    with opened(browser, pages / "ranking.html") as visit:
        visit.page.get_by_role("button", name="</script>").first.click()
        assert visit.page.locator("img").count() == 0


def test_networks_of_one_block_and_of_nothing_in_common(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "one.html") as visit:
        assert visit.page.locator(".ribbons path").count() == 1
    with opened(browser, pages / "nothing.html") as visit:
        assert visit.page.locator(".unmatched").is_visible()
        assert "0.0%" in visit.page.locator(".figure").inner_text()


def test_each_of_several_sources_is_a_column_of_its_own(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "several.html") as visit:
        trees = visit.page.locator(".column.source [role=tree]")
        assert trees.count() == 2
        assert "supplies" in visit.page.locator(".supply").first.inner_text()


def test_deep_networks_begin_with_their_stages(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "deep.html") as visit:
        page = visit.page
        assert n_rows(page, "target") < 10
        page.get_by_role("button", name="Blocks", exact=True).click()
        assert page.locator(".column.target .level1").count() > 200
        assert page.locator(".ribbons path").count() > 100
        page.get_by_role("button", name="Tensors", exact=True).click()
        assert page.locator(".column.target .level3").count() > 2000
        page.get_by_role("button", name="Show 400 more").click()
        assert page.locator(".tensors tbody tr").count() == 500


@pytest.mark.parametrize("name", ["plan", "ranking", pytest.param("deep", marks=pytest.mark.slow)])
def test_paper_shows_what_matters_and_cuts_nothing(browser: Any, pages: Path, name: str) -> None:
    with opened(browser, pages / f"{name}.html", width=794) as visit:
        page = visit.page
        page.emulate_media(media="print")
        assert not page.locator(".inspector").is_visible()
        assert not page.locator(".filter-bar").first.is_visible()
        assert page.locator(".diagram").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 794
        assert page.evaluate(
            "[...document.querySelectorAll('.scroll')].every((box) => box.scrollWidth <= box.clientWidth + 1)"
        )
        assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_the_command_is_copied(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "ranking.html", permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.page.get_by_role("button", name="Copy").first.click()
        visit.page.get_by_text("copied", exact=True).wait_for()
        assert visit.page.evaluate("navigator.clipboard.readText()") == (
            "zoo transfer --target large.py --source small.a"
        )


def test_sources_are_sorted_filtered_and_looked_at(browser: Any, pages: Path) -> None:
    with opened(browser, pages / "ranking.html") as visit:
        page = visit.page
        names = page.locator(".sources .source")
        assert "Use small.a" in page.locator(".advice").inner_text()
        assert "--measure paper" in page.locator(".sources th", has_text="Paper").get_attribute("title")
        page.locator(".sources th").filter(has_text="Similarity").get_by_role("button").click()
        assert names.first.inner_text().endswith("small.a")
        page.locator(".sources th").filter(has_text="Similarity").get_by_role("button").click()
        assert names.first.inner_text().endswith("other.b")
        page.get_by_label("weights on this machine").check()
        assert names.count() == 1
        page.get_by_label("weights on this machine").uncheck()
        page.locator("input[type=search]").first.fill("unknown")
        assert names.count() == 1
        page.keyboard.press("Escape")
        assert names.count() == 3
        page.get_by_role("button", name="other.b").click()
        assert page.locator(".diagram").count() == 0
        assert "zoo plan --target large.py --source other.b" in page.locator(".closer").inner_text()
        page.get_by_role("button", name="small.a").last.click()
        assert page.locator(".diagram").count() == 1
