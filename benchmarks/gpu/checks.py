"""What has to hold where the source, the target or both live on a device: the bits of the same transfer on the CPU.

Plain functions of a device and an empty folder, so that they need no test framework; any device will do, the CPU
as well. `CHECKS` names them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import torch
from torch import nn

import transfer
from gpu.networks import ResNet, VisionTransformer, randomise
from transfer.errors import InputError, TransferError
from transfer.execution.staging import SLOT_BYTES
from transfer.options import Options
from transfer.weights.checkpoint import save_module
from transfer.weights.devices import find_device, move_to

__all__ = ["CHECKS", "Check", "differences"]

Check = Callable[[torch.device, Path], None]
CPU = torch.device("cpu")
WAIT_CYCLES = 200_000_000
"""About a tenth of a second on a device."""


def differences(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that are not equal to the bit, wherever they live."""
    if list(found) != list(expected):
        return ["names"]
    return [
        name
        for name, tensor in found.items()
        if tensor.dtype != expected[name].dtype or not torch.equal(tensor.to(expected[name].device), expected[name])
    ]


def resnet(width: int, *, settled: bool = False) -> nn.Module:
    network = randomise(ResNet(width, (1, 2), 7), width)
    if settled:  # running statistics that fit the weights: a narrower target then gets others
        generator = torch.Generator().manual_seed(width)
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                fan_in = part.weight[0].numel()
                part.weight.data.copy_(torch.randn(part.weight.shape, generator=generator) * fan_in**-0.5)
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.5
        with torch.no_grad():
            for _ in range(6):
                network.train()(torch.randn(16, 3, 32, 32, generator=generator))
    return network.eval()


def transformer(width: int, image: int = 32, depth: int = 2) -> nn.Module:
    return randomise(VisionTransformer(width, depth, width // 4, image, 8, 7), width + image)


def linear_layers(*widths: int) -> nn.Module:
    return randomise(nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths))), 1)


def assert_as_on_cpu(
    source: nn.Module,
    target: nn.Module,
    source_device: torch.device,
    target_device: torch.device,
    options: Options | None = None,
) -> transfer.TransferReport:
    """Transfer twice, on the CPU and on the devices, and compare every bit.

    Parameters
    ----------
    source, target : nn.Module
        On the CPU; `target` is changed.
    source_device, target_device : torch.device
    options : Options, optional
    """
    there = copy.deepcopy(target).to(target_device)
    places = [tensor.data_ptr() for tensor in there.state_dict().values()]
    before = copy.deepcopy(target.state_dict())
    expected = transfer.transfer(source, target, options=options)
    assert differences(target.state_dict(), before), "nothing was transferred"
    report = transfer.transfer(copy.deepcopy(source).to(source_device), there, options=options)
    assert all(tensor.device.type == target_device.type for tensor in there.state_dict().values())
    assert places == [tensor.data_ptr() for tensor in there.state_dict().values()], "a tensor was replaced"
    assert not (found := differences(there.state_dict(), target.state_dict())), found
    assert report.tensors == expected.tensors
    assert torch.device(report.device).type == target_device.type
    return report


def every_way(
    build_source: Callable[[], nn.Module],
    build_target: Callable[[], nn.Module],
    dtype: torch.dtype,
    device: torch.device,
    _: Path,
) -> None:
    for source_device, target_device in product({CPU, device}, repeat=2):
        assert_as_on_cpu(build_source(), build_target().to(dtype), source_device, target_device)


def importance(device: torch.device, _: Path) -> None:
    """Order channels by importance and change statistics, from weights on the device."""
    source = resnet(16, settled=True)
    report = assert_as_on_cpu(source, resnet(8), device, device)
    assert any("contributed" in row.reason for row in report.tensors), "no statistics were changed"
    leading, chosen = resnet(8).to(device), resnet(8).to(device)
    transfer.transfer(source, leading, options=Options(channels="leading"))
    transfer.transfer(source, chosen)
    assert differences(leading.state_dict(), chosen.state_dict())


def file_in_pieces(suffix: str, device: torch.device, folder: Path) -> None:
    """Bring tensors larger than a slot, one of them with rows larger than a slot."""
    for widths in ((1000, 2 * SLOT_BYTES // 4000, 3), (SLOT_BYTES // 4 + 1000, 3)):
        source, target = linear_layers(*widths), randomise(linear_layers(*widths), 9).to(device)
        generator = torch.Generator().manual_seed(3)
        for tensor in source.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
        path = folder / f"weights.{suffix}"
        if suffix == "safetensors":
            save_module(source, path, {})
        else:
            torch.save(source.state_dict(), path)
        transfer.transfer(path, target)
        assert not (found := differences(target.state_dict(), source.state_dict())), found
        path.unlink()


def files_to_narrower(device: torch.device, folder: Path) -> None:
    """Read boxes of a file, cast and send them."""
    for source, narrow in ((transformer(32), partial(transformer, 16)), (resnet(16), partial(resnet, 8))):
        path = folder / "weights.safetensors"
        save_module(source, path, {})
        for dtype in (torch.float32, torch.float16):
            expected, target = narrow().to(dtype), narrow().to(dtype).to(device)
            transfer.transfer(path, expected)
            transfer.transfer(path, target)
            assert not (found := differences(target.state_dict(), expected.state_dict())), found


def saved_again(device: torch.device, folder: Path) -> None:
    source, target = transformer(16), transformer(8).to(device)
    transfer.transfer(source, target)
    save_module(target, folder / "target.safetensors", {})
    again = transformer(8)
    transfer.transfer(folder / "target.safetensors", again)
    assert not differences(target.state_dict(), again.state_dict())


def resampled(device: torch.device, _: Path) -> None:
    """Bring position embeddings to another image size, to the bit as on the CPU."""
    for source_device in {CPU, device}:
        for dtype in (torch.float32, torch.bfloat16):
            source, target = transformer(8, 64).to(dtype), transformer(8, 32).to(dtype)
            assert_as_on_cpu(source, target, source_device, device)
            assert target.pos_embed.shape != source.pos_embed.shape


def ties(device: torch.device, _: Path) -> None:
    def tied(width: int, seed: int) -> nn.Module:
        network = nn.ModuleDict({"embed": nn.Embedding(11, width), "body": nn.Linear(width, width)})
        network["head"] = nn.Linear(width, 11, bias=False)
        randomise(network, seed)
        network["head"].weight = network["embed"].weight
        return network

    source, expected, target = tied(8, 1), tied(6, 2), tied(6, 2).to(device)
    transfer.transfer(source, expected)
    for where in {CPU, device}:
        transfer.transfer(source.to(where), target)
        assert target["head"].weight is target["embed"].weight
        assert not (found := differences(target.state_dict(), expected.state_dict())), found


def not_contiguous(device: torch.device, _: Path) -> None:
    """Fill transposed, strided and channels-last parameters, and leave their strides alone."""
    for source_device, dtype in product({CPU, device}, (torch.float32, torch.bfloat16)):
        source, target, expected = resnet(8), resnet(8).to(dtype), resnet(8).to(dtype)
        randomise(target, 5)
        target.to(device, memory_format=torch.channels_last)
        wide = torch.zeros(target.fc.weight.shape[1], 2 * target.fc.weight.shape[0], dtype=dtype, device=device)
        target.fc.weight.data = wide[:, ::2].t()
        strides = [tensor.stride() for tensor in target.state_dict().values()]
        transfer.transfer(source, expected)
        transfer.transfer(source.to(source_device), target)
        assert strides == [tensor.stride() for tensor in target.state_dict().values()]
        assert not (found := differences(target.state_dict(), expected.state_dict())), found
        assert not wide[:, 1::2].any(), "written beside the parameter"


def on_several_devices(device: torch.device, _: Path) -> None:
    """Split source and target over the CPU and the device, each in its own way."""
    source, target, expected = resnet(12), resnet(8), resnet(8)
    transfer.transfer(source, expected)
    source.stages[0].to(device)
    source.fc.bias = nn.Parameter(source.fc.bias.to(device))
    target.to(device)
    target.stages[1].to(CPU)
    target.bn1.to(CPU)
    report = transfer.transfer(source, target)
    assert set(report.device.split(", ")) == {str(tensor.device) for tensor in target.state_dict().values()}
    assert target.stages[1][0].conv1.weight.device.type == "cpu"
    assert not (found := differences(target.state_dict(), expected.state_dict())), found


def between_devices(device: torch.device, _: Path) -> None:
    """Go from and to the last of several devices, while another is the current one."""
    if device.type == "cpu" or torch.get_device_module(device).device_count() < 2:
        return
    last = torch.device(device.type, torch.get_device_module(device).device_count() - 1)
    for source_device, target_device in ((last, device), (device, last), (CPU, last), (last, CPU)):
        assert_as_on_cpu(resnet(8), resnet(6), source_device, target_device)


def on_a_stream_of_the_caller(device: torch.device, _: Path) -> None:
    """Let what the caller queued on his stream before come before, and what he queues after come after."""
    backend = torch.get_device_module(device)
    source = linear_layers(1000, SLOT_BYTES // 4000 + 100, 3)
    for source_device in {CPU, device}:
        target = randomise(copy.deepcopy(source), 2).to(device)
        given = copy.deepcopy(source).to(source_device)
        backend.synchronize()
        stream = backend.Stream(device)
        with backend.stream(stream), torch.no_grad():
            _wait(device)
            for tensor in target.state_dict().values():
                tensor.fill_(-1)  # late, were the transfer not to wait for it
            transfer.transfer(given, target)
            copies = {name: tensor.clone() for name, tensor in target.state_dict().items()}
        backend.synchronize()
        for state in (copies, target.state_dict()):
            assert not (found := differences(state, source.state_dict())), found


def source_still_being_written(device: torch.device, _: Path) -> None:
    """Read a source whose values are under way on the current stream once they are there."""
    backend = torch.get_device_module(device)
    source, expected = resnet(8), resnet(6)
    transfer.transfer(source, expected)
    for target_device in {CPU, device}:
        given, target = randomise(resnet(8), 7).to(device), resnet(6).to(target_device)
        values = copy.deepcopy(source).to(device)
        backend.synchronize()
        with backend.stream(backend.Stream(device)), torch.no_grad():
            _wait(device)
            for name, tensor in given.state_dict().items():
                tensor.copy_(values.state_dict()[name])
            transfer.transfer(given, target)
        backend.synchronize()
        assert not (found := differences(target.state_dict(), expected.state_dict())), found


def _wait(device: torch.device) -> None:
    """Keep the current stream busy for a while."""
    if device.type == "cuda":
        torch.cuda._sleep(WAIT_CYCLES)


def nothing_is_written(
    place: tuple[str, int], value: float, dtype: torch.dtype, match: str, device: torch.device, _: Path
) -> None:
    """Refuse a value that must not be copied by name, before anything is written."""
    name, index = place
    for source_device in {CPU, device}:
        source, target = resnet(8).to(source_device), resnet(6).to(dtype).to(device)
        before = copy.deepcopy(target.state_dict())
        source.state_dict()[name].view(-1)[index] = value
        message = _refusal(TransferError, partial(transfer.transfer, source, target))
        assert match in message, message
        assert name in message, message
        assert not differences(target.state_dict(), before)


def _refusal(kind: type[Exception], action: Callable[[], object]) -> str:
    """Return what is said when an action is refused."""
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError("it was not refused")


def nonfinite_where_allowed(device: torch.device, _: Path) -> None:
    for source_device in {CPU, device}:
        source, target = linear_layers(3, 4, 2).to(source_device), linear_layers(3, 4, 2).to(device)
        source[1].weight.data[1, 2] = float("nan")
        transfer.transfer(source, target, allow_nonfinite=True)
        assert target[1].weight.isnan().nonzero().tolist() == [[1, 2]]


def settings_of_the_caller(
    enter: Callable[[torch.device], AbstractContextManager[object]], device: torch.device, _: Path
) -> None:
    """Transfer alike whatever the caller set for his own networks."""
    for build in (partial(resnet, settled=True), lambda width: transformer(width, 64 if width == 16 else 32)):
        for source_device in {CPU, device}:
            source, expected, target = build(16), build(8), build(8).to(device)
            transfer.transfer(source, expected)
            source.to(source_device)
            with enter(device):
                transfer.transfer(source, target)
            assert not (found := differences(target.state_dict(), expected.state_dict())), found


class _CoarseMatrices:
    """Products of matrices in a coarser type (TF32 on CUDA)."""

    def __enter__(self) -> None:
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self._before)


def names_of_devices(device: torch.device, _: Path) -> None:
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == CPU
    found = find_device(str(device))
    assert found.type == device.type
    moved = move_to(resnet(6), found)
    assert all(tensor.device == found for tensor in moved.state_dict().values())
    message = _refusal(InputError, partial(find_device, "cuda:999"))
    assert ("which this machine has, got" if device.type == "cuda" else "this machine") in message, message


TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WAYS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "full": (lambda: resnet(8), lambda: randomise(resnet(8), 4)),
    "narrower ResNet": (lambda: resnet(12), lambda: resnet(8)),
    "wider ResNet": (lambda: resnet(8), lambda: resnet(12)),
    "narrower transformer": (lambda: transformer(32), lambda: transformer(16)),
    "wider, deeper transformer": (lambda: transformer(16), lambda: transformer(32, depth=3)),
}
CHECKS: dict[str, Check] = {
    **{
        f"{way}, {name}: the same bits every way": partial(every_way, *WAYS[way], dtype)
        for way in WAYS
        for name, dtype in TYPES.items()
    },
    "narrowing by importance from the device": importance,
    "safetensors file larger than a slot": partial(file_in_pieces, "safetensors"),
    "torch file larger than a slot": partial(file_in_pieces, "pth"),
    "files into narrower networks": files_to_narrower,
    "saved from the device and read again": saved_again,
    "resampled position embeddings": resampled,
    "tied parameters": ties,
    "parameters that are not contiguous": not_contiguous,
    "source and target on several devices": on_several_devices,
    "between two devices of a kind": between_devices,
    "on a stream of the caller": on_a_stream_of_the_caller,
    "a source still being written": source_still_being_written,
    "NaN is refused": partial(
        nothing_is_written, ("fc.weight", 0), float("nan"), torch.float32, "NaN or infinity in source tensor"
    ),
    "what float16 cannot hold is refused": partial(
        nothing_is_written, ("conv1.weight", 3), 1e6, torch.float16, "within the range of torch.float16"
    ),
    "NaN passes where it may": nonfinite_where_allowed,
    "a default device": partial(settings_of_the_caller, lambda device: device),
    "autocast": partial(settings_of_the_caller, lambda device: torch.autocast(device.type, dtype=torch.bfloat16)),
    "autocast of the CPU": partial(settings_of_the_caller, lambda _: torch.autocast("cpu", dtype=torch.bfloat16)),
    "coarse products of matrices": partial(settings_of_the_caller, lambda _: _CoarseMatrices()),
    "inference mode": partial(settings_of_the_caller, lambda _: torch.inference_mode()),
    "names of devices": names_of_devices,
}
