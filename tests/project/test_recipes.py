"""What stands in examples/ runs, and the pages of docs/ show it as it is."""

from __future__ import annotations

import ast
import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import timm
import torch
from nbclient import NotebookClient
from safetensors.torch import load_file
from torchvision.datasets import ImageFolder

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"
NOTEBOOK = ROOT / "examples" / "from_module_to_training_curve.ipynb"
PAGE = ROOT / "docs" / "recipes.md"

TRAIN = '''
"""What timm's train.py does first, with the arguments that it gives."""
import argparse

from timm import utils
from timm.data import resolve_data_config
from timm.models import create_model
from timm.optim import create_optimizer_v2

parser = argparse.ArgumentParser()
for name in ("model", "initial-checkpoint"):
    parser.add_argument(f"--{name}", default="")
parser.add_argument("--num-classes", type=int)
parser.add_argument("--input-size", nargs=3, type=int)
args = parser.parse_args()
utils.setup_default_logging()
model = create_model(
    args.model, pretrained=False, in_chans=3, num_classes=args.num_classes, drop_rate=0.0, drop_path_rate=None,
    drop_block_rate=None, global_pool=None, bn_momentum=None, bn_eps=None, scriptable=False,
    checkpoint_path=args.initial_checkpoint,
)
resolve_data_config(vars(args), model=model, verbose=True)
create_optimizer_v2(model, opt="adamw", lr=1e-3)
print(sum(float(value.double().sum()) for value in model.state_dict().values()))
'''
"""The script itself is in timm's repository, not in its package."""


def run(*command: str | Path, folder: Path) -> str:
    """Run Python as a user does; return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(printed: str) -> list[float]:
    found = re.findall(r"loss +([\d.]+)|'loss': '([\d.]+)'", printed)
    return [float(one or other) for one, other in found]


@pytest.fixture
def stored() -> Any:
    """The notebook with the outputs that it is kept with."""
    return nbformat.read(NOTEBOOK, as_version=4)


class TestNotebook:
    def test_it_is_stored_as_it_ran_from_top_to_bottom(self, stored: Any) -> None:
        nbformat.validate(stored)
        cells = [cell for cell in stored.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [output for cell in cells for output in cell.outputs]
        assert {output.output_type for output in outputs} == {"stream", "execute_result", "display_data"}
        assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}  # no warning

    def test_it_names_no_machine(self, stored: Any) -> None:
        assert stored.metadata == {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        assert all(not cell.metadata for cell in stored.cells)
        text = re.sub(r'"image/png": "[^"]*"', "", NOTEBOOK.read_text())
        assert not re.search(r"/(home|root|usr|tmp|work|mnt|Users)\b", text)

    def test_its_links_lead_somewhere(self, stored: Any) -> None:
        for cell in stored.cells:
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source if cell.cell_type == "markdown" else ""):
                assert (NOTEBOOK.parent / target).exists(), target

    def test_the_page_shows_its_picture_and_its_figures(self, stored: Any) -> None:
        (picture,) = (
            output.data["image/png"]
            for cell in stored.cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        )
        assert base64.b64decode(picture) == (ROOT / "docs" / "img" / "training-curve.png").read_bytes()
        page = (ROOT / "docs" / "notebook.md").read_text()
        for early, late in self.figures(stored).values():
            assert f"| {early:.2f} | {late:.2f} |".replace("0.", ".") in page

    @pytest.mark.slow
    def test_it_runs_and_shows_a_gain(self, stored: Any, tmp_path: Path) -> None:
        made = nbformat.from_dict({**stored, "cells": [{**cell} for cell in stored.cells]})
        for cell in made.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        NotebookClient(
            made, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
        random, started = self.figures(made).values()
        assert started[0] > random[0] + 0.05
        assert started[1] > random[1] + 0.02
        assert not list(tmp_path.iterdir())  # nothing is left behind

    @staticmethod
    def figures(notebook: Any) -> dict[str, tuple[float, float]]:
        """Mean accuracy after the early and the late step, by start; random initialisation first."""
        printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
        found = re.findall(r"^(.*?) +after \d+ steps ([\d.]+), after \d+ steps ([\d.]+)$", printed, re.M)
        assert [name.split()[0] for name, _, _ in found] == ["random", "started"]
        return {name: (float(early), float(late)) for name, early, late in found}


class TestRecipes:
    def test_the_page_shows_the_files(self) -> None:
        shown = dict(re.findall(r'^```python title="(\w+\.py)"\n(.*?)^```$', PAGE.read_text(), re.M | re.S))
        files = {path.name: path.read_text() for path in RECIPES.glob("*.py") if path.name != "network.py"}
        assert {name: text for name, text in shown.items() if name != "lite3.py"} == files

    def test_each_says_how_it_is_run(self) -> None:
        for path in RECIPES.glob("*.py"):
            if path.name != "network.py":
                assert f"python {path.name}" in (ast.get_docstring(ast.parse(path.read_text())) or "")

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["plain_torch", "lightning_module", "transformers_trainer"])
    def test_it_fills_the_network_and_trains_it(self, name: str, tmp_path: Path) -> None:
        printed = run(RECIPES / f"{name}.py", folder=tmp_path)
        filled = re.search(
            r"^started from efficientnet_lite0.pypi: ([\d.]+)% filled, (\d+) tensors fresh$", printed, re.M
        )
        assert filled, printed
        assert float(filled[1]) > 80
        assert filled[0] in PAGE.read_text()
        found = losses(printed)
        assert len(found) == 4
        assert min(found[2:]) < 0.8 * found[0]  # twenty steps are enough to see it learn

    @pytest.mark.slow
    def test_timms_script_loads_what_a_transfer_wrote(self, tmp_path: Path) -> None:
        start, script = tmp_path / "start.safetensors", tmp_path / "train.py"
        script.write_text(TRAIN)
        transferred = ["-m", "zoo_index", "transfer", "--auto", "--available", "-o", start, "--target"]
        run(*transferred, RECIPES / "timm_train.py", folder=tmp_path)
        arguments = ["--num-classes", "10", "--input-size", "3", "32", "32"]
        arguments += ["--model", "smallnet", "--initial-checkpoint", str(start)]
        printed = run(RECIPES / "timm_train.py", script, *arguments, folder=tmp_path)
        expected = sum(float(value.double().sum()) for value in load_file(start).values())
        assert float(printed.split()[-1]) == pytest.approx(expected)

    @pytest.mark.slow
    def test_the_digits_become_folders_of_images(self, tmp_path: Path) -> None:
        run(RECIPES / "digit_folders.py", folder=tmp_path)
        for part, n in {"train": 256, "validation": 104}.items():
            assert len(list((tmp_path / "digits" / part).glob("*/*.png"))) == n
            assert len(ImageFolder(tmp_path / "digits" / part).classes) == 10

    @pytest.mark.slow
    @pytest.mark.filterwarnings("default")
    def test_a_network_of_timm_needs_no_registration(self, tmp_path: Path) -> None:
        (text,) = re.findall(r'^```python title="lite3.py"\n(.*?)^```$', PAGE.read_text(), re.M | re.S)
        (tmp_path / "lite3.py").write_text(text)
        start = tmp_path / "start.safetensors"
        transferred = ["-m", "zoo_index", "transfer", "--auto", "--available", "-o", start, "--target", "lite3.py"]
        run(*transferred, folder=tmp_path)
        model = timm.create_model("efficientnet_lite3", num_classes=10, checkpoint_path=str(start))
        loaded = model.state_dict()
        for name, value in load_file(start).items():
            assert torch.equal(loaded[name], value), name
