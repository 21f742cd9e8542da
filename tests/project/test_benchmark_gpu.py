"""`make cuda`: its logic is tried on the CPU, with nothing at hand but what it may need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import report
import torch
from gpu import __main__ as command
from gpu import speed
from gpu.checks import CHECKS
from gpu.networks import ResNet, VisionTransformer, resnet50, vit_large
from gpu.speed import BOXES, Network, Target
from torch import nn

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
OTHERS = (
    "_pytest", "alembic", "click", "faiss", "hypothesis", "loky", "matplotlib", "psutil", "pytest", "rich", "scipy",
    "sklearn", "sqlalchemy", "timm", "torchvision", "transformers", "zoo_index",
)  # fmt: skip


def small_resnet(width: int = 8) -> nn.Module:
    return ResNet(width, (1, 1), 7)


def small_transformer(width: int = 16) -> nn.Module:
    return VisionTransformer(width, 1, width // 4, 32, 8, 7)


NETWORKS = (
    Network(
        "resnet",
        small_resnet,
        (Target("full", small_resnet), Target("narrowed", lambda: small_resnet(6), sources=("file",))),
    ),
    Network("vit", small_transformer, (Target("cropped", lambda: small_transformer(8), BOXES),)),
)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MOST_ROUNDS", 2)


def test_figures_are_kept_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpu.checks.CHECKS", {"fine": lambda *_: None})
    command.run(CPU, NETWORKS, tmp_path / "cuda.json", seconds=60)
    figures = json.loads((tmp_path / "cuda.json").read_text())
    assert list(tmp_path.iterdir()) == [tmp_path / "cuda.json"]
    assert figures["checks"]["passed"] == 1
    assert set(figures["versions"]) == {"torch", "numpy", "numba", "safetensors"}
    full, narrowed, cropped = figures["transfers"]
    assert [row["source"] for row in full["rows"]] == ["file", "CPU module", "device module"]
    assert full["bytes"] == sum(tensor.nbytes for tensor in small_resnet().state_dict().values())
    for found in (full, narrowed, cropped):
        for row in found["rows"]:
            assert row["gb_per_s"] == pytest.approx(found["bytes"] / row["seconds"] / 1e9)
            assert row["of_copies"]["pinned"] == pytest.approx(row["gb_per_s"] / found["copies_gb_per_s"]["pinned"])
            assert ("of_load" in row) == (found is full)
    assert full["compared"] == (full["rounds"] + 1) * 6  # transfers and loads from three kinds of sources
    page = report.cuda({**figures, "driver": "1.2"})
    assert page.count("| resnet | full |") == 3
    assert f"| {report.seconds(full['rows'][0]['seconds'])} |" in page
    assert "make cuda" in page
    printed = capsys.readouterr().out
    assert "1 of 1 checks passed" in printed
    assert "resnet narrowed" in printed


def test_nothing_is_kept_if_a_check_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("other bits")

    monkeypatch.setattr("gpu.checks.CHECKS", {"fine": lambda *_: None, "broken": broken})
    figures = command.run(CPU, (), tmp_path / "cuda.json")
    assert not list(tmp_path.iterdir())
    assert figures["checks"]["failed"] == ["broken"]
    assert "FAILED broken" in capsys.readouterr().out


def test_a_wrong_transfer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = speed.transfer.transfer

    def wrong(source: object, target: nn.Module, **options: object) -> object:
        report = right(source, target, **options)  # type: ignore[arg-type]
        if isinstance(source, Path) and target is not seen.setdefault(0, target):
            next(target.parameters()).data.view(-1)[0] += 1e-6
        return report

    seen: dict[int, nn.Module] = {}
    monkeypatch.setattr(speed.transfer, "transfer", wrong)
    with pytest.raises(AssertionError, match=r"transfer file: \['conv1\.weight'\]"):
        list(speed.measure(NETWORKS[:1], CPU, 60))


def test_what_there_is_no_time_for_is_left_out() -> None:
    found = list(speed.measure(NETWORKS, CPU, 0))
    assert found == [
        {"network": "resnet", "kind": "full", "left_out": "no time was left"},
        {"network": "resnet", "kind": "narrowed", "left_out": "no time was left"},
        {"network": "vit", "kind": "cropped", "left_out": "no time was left"},
    ]


def test_networks_are_as_large_as_their_models() -> None:
    with torch.device("meta"):
        for network, n in ((resnet50(), 25_557_032), (vit_large(), 304_326_632)):
            assert sum(parameter.numel() for parameter in network.parameters()) == n
            assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)


def without_others(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has no other packages than those that are needed."""
    names = [*OTHERS, *blocked]
    script = f"import sys; sys.modules.update(dict.fromkeys({names!r})); {code}"
    environment = {**os.environ, "PYTHONPATH": f".{os.pathsep}benchmarks", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250
    )


def test_nothing_else_is_needed() -> None:
    names = ["narrower ResNet, float16: the same bits every way", "resampled position embeddings"]
    assert set(names) <= set(CHECKS)
    found = without_others(
        "import torch, gpu.speed, gpu.checks; from pathlib import Path; from gpu import __main__ as command; "
        "from gpu.networks import ResNet; from gpu.speed import Network, Target; "
        f"gpu.checks.CHECKS = {{name: gpu.checks.CHECKS[name] for name in {names!r}}}; "
        "build = lambda: ResNet(8, (1, 1), 7); "
        "command.run(torch.device('cpu'), [Network('r', build, [Target('full', build)])], None, 60)"
    )
    assert found.returncode == 0, found.stderr
    assert "2 of 2 checks passed" in found.stdout


@NO_CUDA
def test_a_machine_without_a_device_says_so_in_a_line() -> None:
    found = without_others("from gpu.__main__ import main; sys.exit(main([]))")
    assert found.returncode == 2
    assert found.stderr.startswith("expected a CUDA device, found none (torch ")
    assert found.stderr.count("\n") == 1
    assert not found.stdout


def test_a_python_without_a_package_says_so_in_a_line() -> None:
    script = (
        "import importlib.util as u, sys; find = u.find_spec; "
        "u.find_spec = lambda name: None if name in ('torch', 'numba') else find(name); "
        "from gpu.__main__ import main; sys.exit(main([]))"
    )
    found = without_others(script)
    assert found.returncode == 2
    assert "found no torch, no numba; install them" in found.stderr
    assert found.stderr.count("\n") == 1
