"""Where a target lives: names of devices, and the way there. What needs CUDA is skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import nets
import pytest
import torch
from gpu.checks import CHECKS, Check
from torch import nn

from transfer.errors import InputError
from transfer.execution.staging import Lane, Stage
from transfer.weights.devices import find_device, move_to
from zoo_index.zoo.zoo import Zoo

CPU = torch.device("cpu")
HAS_CUDA = torch.cuda.is_available()
cuda = [pytest.mark.cuda, pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")]


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "CPU", "meta", "", "cpu:0"])
def test_names_that_are_no_device_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a device auto, cpu, cuda or cuda:N"):
        find_device(name)


def test_cpu_and_auto_are_always_there() -> None:
    assert find_device("cpu") == CPU
    assert find_device("auto").type == ("cuda" if HAS_CUDA else "cpu")


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"this machine or this build of torch has none; take --device cpu"):
        find_device(name)


def test_a_network_without_values_stays_to_be_refused() -> None:
    module = nn.Linear(2, 2, device="meta")
    assert move_to(module, CPU) is module


@pytest.mark.parametrize("slot_bytes", [16, 64, 1000, 2**20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool], ids=str)
def test_a_lane_brings_everything_whatever_fits_a_slot(slot_bytes: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    lane = Lane(CPU, slot_bytes=slot_bytes)
    sent = []
    for shape in ((), (1,), (7,), (3, 5), (0, 4), (2, 3, 4, 5), (1, 40), (40, 1)):
        part = (torch.rand(shape, generator=generator) * 9).to(dtype)
        place = torch.zeros(shape, dtype=dtype)
        lane.copy(part, place)
        sent.append((part, place))
    lane.finish()
    assert all(torch.equal(part, place) for part, place in sent)


def test_a_lane_casts_and_writes_into_a_box() -> None:
    part, whole = torch.arange(48.0).reshape(6, 8).t(), torch.zeros(10, 9, dtype=torch.float16)
    lane = Lane(CPU, slot_bytes=20)
    lane.copy(part, whole[1:9, 2:8])
    lane.finish()
    expected = torch.zeros(10, 9, dtype=torch.float16)
    expected[1:9, 2:8] = part
    assert torch.equal(whole, expected)


class _Ticket:
    """An event that notes when it is waited for."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def synchronize(self) -> None:
        self.log.append(f"wait {self.name}")

    def record(self, _stream: object) -> None:
        self.log.append(f"sent {self.name}")


def test_a_slot_is_filled_again_only_after_it_was_emptied() -> None:
    lane = Lane(CPU, slot_bytes=4)
    log: list[str] = []
    lane._left = [_Ticket(log, "a"), _Ticket(log, "b")]
    lane.copy(torch.arange(3.0), torch.zeros(3))
    lane.finish()
    assert log == ["wait a", "sent a", "wait b", "sent b", "wait a", "sent a", "wait a", "wait b"]


def test_a_stage_on_the_cpu_copies_at_once() -> None:
    place = torch.zeros(2, 3)
    stage = Stage()
    stage.copy(torch.ones(2, 3), place)
    assert torch.equal(place, torch.ones(2, 3))
    stage.finish()


def test_the_zoo_builds_a_target_where_it_is_told(tmp_path: Path) -> None:
    torch.save(nets.randomise(nets.mlp(3, 4, 2), 1).state_dict(), tmp_path / "w.pth")
    (tmp_path / "arch.py").write_text(
        "from torch import nn\ndef build_model():\n    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))\n"
    )
    zoo, target, source = Zoo(tmp_path / "zoo.db"), str(tmp_path / "arch.py"), str(tmp_path / "w.pth")
    assert zoo.transfer(target, source, device="cpu")[1].device == "cpu"
    with pytest.raises(InputError, match="expected a device"):
        zoo.transfer(target, source, device="tpu")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
def test_a_device_gives_what_the_cpu_gives(check: Check, device: str, tmp_path: Path) -> None:
    check(find_device(device), tmp_path)
