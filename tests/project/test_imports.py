"""The arrows between packages and modules, and a light command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HUB = {f"zoo_index/hub/{name}.py" for name in ("fetching", "headers", "queries")}
GATEKEEPERS = {
    "timm": {"zoo_index/catalogues/timm_catalogue.py"},
    "torchvision": {"zoo_index/catalogues/torchvision_catalogue.py"},
    "transformers": {"zoo_index/catalogues/transformers_structure.py"},
    "faiss": {"zoo_index/index/vectors.py"},
    "numba": {"transfer/alignment/_machine_code.py"},
    "llvmlite": {"transfer/alignment/_machine_code.py"},
    "psutil": {"zoo_index/contained/processes.py"},
    "psycopg": set(),  # SQLAlchemy loads it
    "sklearn": {"zoo_index/index/embedding.py", "zoo_index/index/layout.py"},
    "scipy": {"zoo_index/index/layout.py"},
    "starlette": {
        f"zoo_index/server/{name}.py" for name in ("api", "application", "endpoints", "guarding", "pages")
    },
    "uvicorn": {"zoo_index/server/connections.py", "zoo_index/server/running.py"},
    "click": {
        f"zoo_index/commands/{name}.py"
        for name in (
            "adding",
            "common",
            "completing",
            "files",
            "index",
            "listing",
            "main",
            "options",
            "pictures",
            "recommending",
            "serving",
            "setting_up",
            "transferring",
            "usage",
            "values",
            "watch",
        )
    },
    "alembic": {"zoo_index/database/migrate.py"},
    "dask": set(),
    "distributed": {"zoo_index/engines/dask_cluster.py", "zoo_index/engines/dask_worker.py"},
    "loky": set(),
    "multiprocessing": set(),
    "safetensors": {"transfer/weights/formats/safetensors_file.py"},
    "h5py": {"transfer/weights/formats/hdf5.py"},
    "onnx": {"transfer/weights/formats/onnx_graph.py"},
    "huggingface_hub": {"zoo_index/hub/library.py"},
    "urllib": {
        *(f"zoo_index/hub/{name}.py" for name in ("connecting", "downloading", "fetching", "queries")),
        "zoo_index/server/client.py",
    },
    "http": {"zoo_index/hub/connecting.py", "zoo_index/hub/downloading.py", "zoo_index/server/client.py"},
    "matplotlib": {"zoo_index/reports/plot.py"},
    "rich": {"zoo_index/reports/page.py"},
    "sqlalchemy": {
        str(path.relative_to(ROOT))
        for path in (ROOT / "zoo_index" / "database").glob("*.py")
        if path.name not in ("__init__.py", "entries.py", "opening.py")
    },
}
FORMATS = {"h5py", "onnx"}
"""Imported where a file needs them, and said to be missing where they are."""

NEEDED = {"torch", "numpy", "numba", "llvmlite", "safetensors", "transfer"}
TRANSFER_MAY_IMPORT = {*NEEDED, *FORMATS, *sys.stdlib_module_names}
HEAVY = {"torch", "timm", "numba", "llvmlite", "faiss", "sklearn", "pandas", "starlette", "uvicorn"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


SOURCES = sorted([*(ROOT / "transfer").rglob("*.py"), *(ROOT / "zoo_index").rglob("*.py")])


def test_transfer_stands_alone() -> None:
    for path in (ROOT / "transfer").rglob("*.py"):
        assert imported(path) <= TRANSFER_MAY_IMPORT, path.name


LAYERS = {
    "transfer": [
        {"errors", "processes", "wiring"},
        {"tracing"},
        {"structure", "regions"},
        {"operators", "options", "rearrangement"},
        {"weights"},
        {"alignment"},
        {"channels"},
        {"growth", "resampling"},
        {"equivalence"},
        {"planning"},
        {"narrowing"},
        {"execution"},
    ],
    "zoo_index": [
        {"errors"},
        {"foundation"},
        {"hub", "engines"},
        {"catalogues"},
        {"database"},
        {"index"},
        {"jobs"},
        {"recommending"},
        {"transferring"},
        {"zoo"},
        {"reports"},
        {"contained"},
        {"server"},
        {"commands"},
    ],
}
"""What stands in a package, lowest first; each imports only what stands above it in this list."""

UPWARD = {"transfer": {("structure", "weights")}, "zoo_index": set()}
"""A path may stand for a network; what reads it is imported where one is given."""


@pytest.mark.parametrize("package", LAYERS)
def test_the_parts_of_a_package_import_one_way(package: str) -> None:
    rank = {name: i for i, names in enumerate(LAYERS[package]) for name in names}
    arrows = set()
    for path in (ROOT / package).rglob("*.py"):
        own = path.relative_to(ROOT / package).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            module = str(node.module) if isinstance(node, ast.ImportFrom) else ""
            if not own.startswith("__") and module.startswith(f"{package}."):
                arrows.add((own, module.split(".")[1]))
    assert {a for arrow in arrows for a in arrow} <= set(rank)
    assert {(a, b) for a, b in arrows if a != b and rank[a] <= rank[b]} == UPWARD[package]


@pytest.mark.parametrize("library", sorted(GATEKEEPERS))
def test_each_library_has_its_gatekeepers(library: str) -> None:
    users = {str(path.relative_to(ROOT)) for path in SOURCES if library in imported(path)}
    assert users == GATEKEEPERS[library]


PRINTERS = {
    "zoo_index/reports/page.py": {"print"},
    "zoo_index/foundation/progress.py": {"print"},
    "zoo_index/commands/streams.py": {"print"},
    "zoo_index/commands/common.py": {"echo"},
}
"""The modules that print, by what they print with; each makes plain text of what it prints."""


def printing(path: Path) -> set[str]:
    """What a module calls that puts text on a stream."""
    called = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {function.id for function in called if isinstance(function, ast.Name)}
    names |= {function.attr for function in called if isinstance(function, ast.Attribute)}
    return names & {"print", "echo", "secho", "print_exception", "print_exc"}


def test_few_modules_print_and_those_print_plain_text() -> None:
    found = {str(path.relative_to(ROOT)): printing(path) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == PRINTERS
    for path in PRINTERS:
        assert "zoo_index.foundation.plain_text import" in (ROOT / path).read_text()


def modules_after(code: str, *arguments: str) -> set[str]:
    script = f"import sys; sys.argv = ['zoo', *{list(arguments)!r}]\n{code}\n"
    script += "print('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split("|"))


RUN = (
    "from zoo_index.commands.main import cli\n"
    "try:\n    cli()\nexcept SystemExit as error:\n    assert not error.code"
)


@pytest.mark.parametrize(
    "command", [(), ("--help",), ("recommend", "--help"), ("completion", "bash"), ("settings", "--help")]
)
def test_help_and_hints_import_next_to_nothing(
    command: tuple[str, ...], small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DB", str(small_index))
    assert not modules_after(RUN, *command) & (HEAVY | {"numpy", "sqlalchemy", "rich", "tomllib"})


@pytest.mark.parametrize("command", [("--help",), ("list",), ("show", "test_vit"), ("index", "status")])
def test_light_commands_import_nothing_heavy(
    command: tuple[str, ...], small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DB", str(small_index))
    loaded = modules_after(RUN, *command)
    assert not loaded & HEAVY


def test_recommending_for_an_indexed_name_needs_neither_torch_nor_timm(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DB", str(small_index))
    assert not modules_after(RUN, "recommend", "--target", "test_vit", "--json") & {"torch", "timm", "sklearn"}


@pytest.mark.parametrize(
    "command",
    [
        ("recommend",),
        ("plan", "-s", "test_resnet", "--verbose"),
        ("transfer", "-s", "{weights}", "-o", "{weights}.safetensors"),
    ],
    ids=lambda command: command[0],
)
def test_code_is_imported_by_a_process_of_its_own(
    command: tuple[str, ...], small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("ZOO_DB", str(small_index))
    network = tmp_path / "net.py"
    network.write_text("import torch\ndef build_model():\n    return torch.nn.Linear(3, 4)\n")
    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "weights.pth")
    arguments = [part.format(weights=tmp_path / "weights.pth") for part in command]
    assert not modules_after(RUN, *arguments, "--target", str(network)) & {"torch", "timm", "sklearn"}
    assert (tmp_path / "weights.pth.safetensors").exists() == (command[0] == "transfer")


def test_importing_the_packages_imports_nothing_heavy() -> None:
    assert not modules_after("import transfer, zoo_index, zoo_index.errors, transfer.errors") & (
        HEAVY | {"sqlalchemy", "click", "rich"}
    )


@pytest.mark.parametrize("package", ["transfer", "zoo_index"])
def test_public_names_exist_and_are_sorted(package: str) -> None:
    module = __import__(package)
    assert module.__all__ == sorted(module.__all__)
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def test_every_module_says_what_it_is_for() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


@pytest.mark.parametrize(
    ("page", "write"),
    [
        ("performance", "import report; report.main()"),
        ("quality", "from quality import report; report.write_page()"),
    ],
)
def test_the_pages_of_figures_are_made_of_the_results(tmp_path: Path, page: str, write: str) -> None:
    script = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import _writing; "
        f"_writing.DOCS = Path({str(tmp_path)!r}); {write}"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert (tmp_path / f"{page}.md").read_text() == (ROOT / "docs" / f"{page}.md").read_text()
    pictures = {path.name for path in (tmp_path / "img").iterdir()}
    assert pictures
    assert pictures <= {path.name for path in (ROOT / "docs" / "img").iterdir()}
