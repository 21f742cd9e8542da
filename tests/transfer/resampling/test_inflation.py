"""Kernels of other dimensions: a still video gives what the picture gave, and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm import create_model
from torch import nn
from torch.nn import functional

import transfer
from transfer.options import Options
from transfer.planning.planned import PlannedTensor
from transfer.resampling.dimensions import SpreadKernel, SumKernel

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Residual(nn.Module):
    """Two convolutions beside a shortcut; zeros around pictures, frames repeated over time."""

    def __init__(self, n_dims: int, i: int, o: int, stride: int, *, factorised: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = self._conv(n_dims, i, o, stride, factorised), NORMS[n_dims](o)
        if factorised:
            self.time, self.time_bn = nn.Conv3d(o, o, (3, 1, 1), bias=False), NORMS[3](o)
        self.conv2, self.bn2 = self._conv(n_dims, o, o, 1, factorised), NORMS[n_dims](o)
        self.factorised = factorised
        self.down = None
        if stride > 1 or i != o:
            steps = (1, stride, stride)[-n_dims:]
            self.down = nn.Sequential(CONVOLUTIONS[n_dims](i, o, 1, steps, bias=False), NORMS[n_dims](o))

    @staticmethod
    def _conv(n_dims: int, i: int, o: int, stride: int, factorised: bool) -> nn.Module:
        size = (1 if factorised else 3, 3, 3)[-n_dims:]
        made: nn.Module = CONVOLUTIONS[n_dims](
            i, o, size, (1, stride, stride)[-n_dims:], (0, 1, 1)[-n_dims:], bias=False
        )
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.down is None else self.down(x)
        y = functional.relu(self.bn1(self.conv1(frames(x, self.conv1))))
        if self.factorised:
            y = functional.relu(self.time_bn(self.time(frames(y, self.time))))
        return functional.relu(shortcut + self.bn2(self.conv2(frames(y, self.conv2))))


def frames(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    """Repeat the first and the last frame as often as a kernel over time reaches beyond them."""
    if x.dim() < 5:
        return x
    reach = conv.kernel_size[0] // 2
    return functional.pad(x, (0, 0, 0, 0, reach, reach), mode="replicate")


class Net(nn.Module):
    """A small residual network for signals, images or videos."""

    def __init__(self, n_dims: int, width: int = 8, depth: int = 1, n_classes: int = 5, **options: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            CONVOLUTIONS[n_dims](
                3, width, (1, 5, 5)[-n_dims:], (1, 2, 2)[-n_dims:], (0, 2, 2)[-n_dims:], bias=False
            ),
            NORMS[n_dims](width),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        for k in range(2):
            blocks = [Residual(n_dims, width << max(k - 1, 0), width << k, 1 + k, **options)]
            blocks += [Residual(n_dims, width << k, width << k, 1, **options) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
        self.fc = nn.Linear(2 * width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.flatten(2).mean(2))


def trained(model: nn.Module, seed: int = 0) -> nn.Module:
    """Values of ordinary size everywhere, statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dim() > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
            elif tensor.is_floating_point():
                low = -0.3 if name.endswith(("bias", "mean")) else 0.5
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.6 + low)
    return model.eval()


@torch.no_grad()
def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max() / a.abs().max())


def still(picture: torch.Tensor, n_frames: int = 6) -> torch.Tensor:
    return picture.unsqueeze(-3).expand(*picture.shape[:2], n_frames, *picture.shape[2:])


def row(report: transfer.TransferReport, name: str) -> PlannedTensor:
    return next(tensor for tensor in report.tensors if tensor.name == name)


def holding(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval()


@st.composite
def convolutions(draw: st.DrawFn, transposed: bool = False) -> tuple[nn.Module, nn.Module, tuple[int, int]]:
    """Two convolutions of one to three dimensions, equal in the last ones; and how many dimensions they have."""
    low, high = sorted(draw(st.sets(st.integers(1, 3), min_size=2, max_size=2)))
    kernel = [draw(st.integers(1, 4)) for _ in range(high)]
    kernel[-1] = max(kernel[-1], 2)  # else one has a single position
    groups = draw(st.sampled_from([1, 2, 4]))
    kinds = TRANSPOSED if transposed else CONVOLUTIONS
    stride = [draw(st.integers(1, n)) if transposed else 1 for n in kernel]
    made = [kinds[n](4, 8, tuple(kernel[-n:]), tuple(stride[-n:]), groups=groups) for n in (low, high)]
    return made[0], made[1], (low, high)


def spread_over(x: torch.Tensor, n_new: int, size: int) -> torch.Tensor:
    for _ in range(n_new):
        x = x.unsqueeze(2)
    return x.expand(*x.shape[:2], *(size,) * n_new, *x.shape[2 + n_new :])


def middle_of(
    y: torch.Tensor, n_new: int, kernel: tuple[int, ...], size: int, stride: tuple[int, ...]
) -> torch.Tensor:
    """What lies, along the first dimensions, where the kernel does not reach beyond the ends of the input."""
    for d in range(n_new):
        y = y.narrow(2 + d, kernel[d] - 1, size * stride[d] - kernel[d] + 1)
    return y


@settings(max_examples=60)
@given(convolutions(), st.integers(0, 99))
def test_what_does_not_change_along_new_dimensions_gives_what_it_gave(
    layers: tuple[nn.Module, nn.Module, tuple[int, int]], seed: int
) -> None:
    small, large, (low, high) = layers
    torch.manual_seed(seed)
    report = transfer.transfer(holding(trained(small, seed)), holding(large))
    assert report.coverage == 1
    x = torch.randn(2, 4, *(9,) * low)
    expected, found = small(x), large(spread_over(x, high - low, 7))
    assert difference(found, spread_over(expected, high - low, 1).expand_as(found)) < 1e-5


@settings(max_examples=60)
@given(convolutions(transposed=True), st.integers(0, 99))
def test_transposed_convolutions_spread_what_one_place_reads(
    layers: tuple[nn.Module, nn.Module, tuple[int, int]], seed: int
) -> None:
    small, large, (low, high) = layers
    torch.manual_seed(seed)
    assert transfer.transfer(holding(trained(small, seed)), holding(large)).coverage == 1
    x = torch.randn(2, 4, *(5,) * low)
    n_new, kernel, stride = high - low, large.kernel_size, large.stride
    found = middle_of(large(spread_over(x, n_new, 6)), n_new, kernel, 6, stride)
    assert found.numel()
    assert difference(found, spread_over(small(x), n_new, 1).expand_as(found)) < 1e-5


@settings(max_examples=60)
@given(convolutions(), st.integers(0, 99))
def test_what_is_constant_along_dimensions_that_go_gives_what_it_gave(
    layers: tuple[nn.Module, nn.Module, tuple[int, int]], seed: int
) -> None:
    small, large, (low, high) = layers
    torch.manual_seed(seed)
    assert transfer.transfer(holding(trained(large, seed)), holding(small)).coverage == 1
    x = torch.randn(2, 4, *(9,) * low)
    expected = large(spread_over(x, high - low, 7))
    assert difference(expected, spread_over(small(x), high - low, 1).expand_as(expected)) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(3,), (5,), (1,), (2,), (2, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_there_and_back_is_exact(dtype: torch.dtype, size: tuple[int, ...], stride: int) -> None:
    torch.manual_seed(0)
    kernel = torch.randn(6, 4, 3, dtype=dtype)
    strides = (stride,) * len(size)
    spread = SpreadKernel(size, strides)(kernel)
    assert spread.shape == (6, 4, *size, 3)
    assert spread.dtype == dtype
    back = SumKernel(strides)(spread)
    if dtype == torch.float64:
        torch.testing.assert_close(back, kernel, rtol=1e-15, atol=0)
    else:
        assert torch.equal(back, kernel)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 1, 1)])
def test_a_header_that_tells_no_stride_is_taken_for_the_usual_one(stride: tuple[int, ...]) -> None:
    source, target = nn.ConvTranspose2d(4, 2, 2, 2), nn.ConvTranspose3d(4, 2, 2, stride)
    transfer.transfer(holding(source).state_dict(), holding(target))
    torch.testing.assert_close(
        target.weight, (source.weight / (2 if stride[0] == 1 else 1))[:, :, None].expand(4, 2, 2, 2, 2)
    )
    back = nn.ConvTranspose2d(4, 2, 2, 2)
    transfer.transfer(holding(target).state_dict(), holding(back))
    torch.testing.assert_close(back.weight, source.weight / (2 if stride[0] == 1 else 1))


def test_a_still_video_gives_what_the_picture_gave() -> None:
    source, target = trained(Net(2)), Net(3).eval()
    report = transfer.transfer(source, target)
    assert report.coverage == 1
    assert row(report, "stages.0.0.conv1.weight").status == "resampled"
    assert row(report, "stages.0.0.conv1.weight").operator == "inflate over time"
    assert row(report, "stem.0.weight").status == "copied"  # one position in time: but for its shape the same
    picture = torch.randn(2, 3, 20, 24)
    assert difference(source(picture), target(still(picture))) < 1e-5
    back = Net(2).eval()
    report = transfer.transfer(target, back)
    assert row(report, "stages.0.0.conv1.weight").operator == "sum over time"
    for name, tensor in source.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], tensor, rtol=1e-6, atol=0)


def test_a_deeper_and_wider_network_of_videos_contains_one_of_images() -> None:
    source = trained(Net(2, width=6))
    picture = torch.randn(2, 3, 20, 24)
    for options in ({"depth": 2}, {"width": 8}, {"width": 8, "depth": 3}):
        target = Net(3, **options).eval()
        if "width" not in options:
            target = Net(3, width=6, **options).eval()
        transfer.transfer(source, target)
        assert difference(source(picture), target(still(picture))) < 1e-4, options


def test_kernels_over_time_alone_start_as_identity() -> None:
    source, target = trained(Net(2)), Net(3, factorised=True).eval()
    report = transfer.transfer(source, target)
    assert row(report, "stages.0.0.conv1.weight").status == "copied"
    assert row(report, "stages.0.0.time.weight").status == "identity"
    picture = torch.randn(2, 3, 20, 24)
    assert difference(source(picture), target(still(picture))) < 1e-4


def test_a_kernel_over_time_takes_nothing_of_an_image() -> None:
    source = holding(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
    target = holding(nn.Conv3d(4, 8, (1, 3, 3)), nn.BatchNorm3d(8), nn.Conv3d(8, 5, (3, 1, 1)))
    report = transfer.transfer(source, target)
    assert row(report, "0.weight").status == "copied"
    assert row(report, "2.weight").status == "fresh"


def test_a_kernel_of_another_size_is_cropped_as_well() -> None:
    source, target = nn.Conv2d(4, 8, 5), nn.Conv3d(4, 6, 3)
    report = transfer.transfer(holding(source), holding(target), options=Options(channels="leading", rescale=False))
    torch.testing.assert_close(
        target.weight, (source.weight[:6, :, 1:4, 1:4] / 3)[:, :, None].expand(6, 4, 3, 3, 3)
    )
    assert report.coverage == 1
    back = nn.Conv2d(4, 8, 5)
    transfer.transfer(holding(target), holding(back))
    torch.testing.assert_close(back.weight[:6, :, 1:4, 1:4], source.weight[:6, :, 1:4, 1:4])
    edge = back.weight[:6].clone()
    edge[..., 1:4, 1:4] = 0
    assert not edge.any()


def test_a_narrower_network_of_videos_does_as_one_of_images() -> None:
    """Channels by importance and statistics without what was cut, as between images."""
    source, images, videos = trained(Net(2, width=12)), Net(2, width=8).eval(), Net(3, width=8).eval()
    transfer.transfer(source, images)
    report = transfer.transfer(source, videos)
    assert report.coverage == 1
    picture = torch.randn(2, 3, 20, 24)
    assert difference(images(picture), videos(still(picture))) < 1e-5


def test_plain_networks_that_lose_inputs_are_rescaled_alike() -> None:
    def plain(n_dims: int, width: int) -> nn.Module:
        conv = CONVOLUTIONS[n_dims]
        return holding(conv(3, width, 3), nn.ReLU(), conv(width, width, 3), nn.ReLU(), conv(width, 4, 3))

    source, images, videos = trained(plain(2, 12)), plain(2, 8), plain(3, 8)
    transfer.transfer(source, images)
    transfer.transfer(source, videos)
    picture = torch.randn(2, 3, 12, 12)
    found = videos(still(picture, 7))
    assert difference(images(picture), found[:, :, 0]) < 1e-5


def test_image_channels_and_patches_go_together_with_other_dimensions() -> None:
    source, target = nn.Conv2d(3, 8, 16, 16), nn.Conv3d(1, 8, (2, 8, 8), (2, 8, 8))
    report = transfer.transfer(holding(source), holding(target))
    assert row(report, "0.weight").operator == "inflate over time, adapt input channels, resample patches"
    small = nn.Conv2d(1, 8, 8, 8)
    transfer.transfer(holding(source), holding(small))
    picture = torch.randn(2, 1, 24, 24)
    assert difference(small(picture), target(still(picture, 2))[:, :, 0]) < 1e-5


def test_without_resampling_they_stay_fresh() -> None:
    source, target = trained(Net(2)), Net(3)
    before = target.stages[0][0].conv1.weight.clone()
    report = transfer.transfer(source, target, options=Options(resample=False))
    assert row(report, "stages.0.0.conv1.weight").reason == "4 dimensions in the source, 5 in the target"
    assert row(report, "stages.0.0.bn1.weight").status == "copied"
    assert torch.equal(target.stages[0][0].conv1.weight, before)


def test_video_networks_of_torchvision_take_a_resnet() -> None:
    from torchvision.models import video

    source, target = trained(create_model("resnet18")), video.r3d_18(weights=None)
    report = transfer.transfer(source, target)
    n_head = sum(p.numel() for p in target.fc.parameters())
    n_all = sum(t.numel() for t in target.state_dict().values())
    assert report.coverage == pytest.approx(1 - n_head / n_all)
    assert [t.name for t in report.tensors if t.status == "fresh"] == ["fc.weight", "fc.bias"]
    expected = source.layer3[1].conv2.weight[:, :, None].expand(-1, -1, 3, -1, -1) / 3
    torch.testing.assert_close(target.layer3[1].conv2[0].weight, expected)
    back = create_model("resnet18")
    transfer.transfer(target, back)
    torch.testing.assert_close(back.layer3[1].conv2.weight, source.layer3[1].conv2.weight)


def test_one_that_is_alike_is_nearer_than_one_that_is_not() -> None:
    target = Net(3)
    like = transfer.similarity(Net(2), target)
    assert transfer.similarity(Net(3), target) == 1 > like
    assert like > transfer.similarity(Net(2, depth=4), target)
    assert like > transfer.similarity(
        nn.Sequential(*(nn.Conv2d(3 if not i else 8, 8, 3) for i in range(9))), target
    )


def test_convolutions_along_channels_are_no_kernels() -> None:
    """Those of ECA read one channel and give one."""
    assert transfer.similarity(nn.Sequential(nn.Conv1d(1, 1, 3)), nn.Sequential(nn.Conv2d(1, 1, 3))) == 0
    assert transfer.similarity(
        nn.Sequential(nn.Conv1d(2, 2, 3)), nn.Sequential(nn.Conv2d(2, 2, 3))
    ) == pytest.approx(1 / 3)
