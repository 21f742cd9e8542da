"""U-Nets of other widths: each stage feeds its own, and a wider one computes what the narrow one did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import nets
import pytest
import torch
from torch import nn

import transfer

NORMS = {
    "batch": {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

NARROW, WIDE = (4, 8, 16, 32, 40), (8, 16, 32, 64, 64)


def norm(kind: str, width: int, n_dims: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(2, width)
    return NORMS[kind][n_dims](width, affine=True) if kind != "none" else nn.Identity()


class Step(nn.Sequential):
    """Two convolutions with norms; the first one may halve the map."""

    def __init__(self, n_in: int, n_out: int, kind: str, n_dims: int, stride: int = 1) -> None:
        convolution = CONVOLUTIONS[n_dims]
        super().__init__(
            convolution(n_in, n_out, 3, stride, 1),
            norm(kind, n_out, n_dims),
            nn.LeakyReLU(0.01),
            convolution(n_out, n_out, 3, 1, 1),
            norm(kind, n_out, n_dims),
            nn.LeakyReLU(0.01),
        )


class Gate(nn.Module):
    """What is skipped, weighed by what comes from below."""

    def __init__(self, width: int, n_dims: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[n_dims]
        self.below, self.skipped = (convolution(width, width // 2, 1) for _ in range(2))
        self.weigh = convolution(width // 2, 1, 1)

    def forward(self, below: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
        """Weigh."""
        return skipped * self.weigh((self.below(below) + self.skipped(skipped)).relu()).sigmoid()


class UNet(nn.Module):
    """Encoder, decoder, and concatenations between them, in the order that `first` says."""

    def __init__(
        self,
        widths: Sequence[int],
        kind: str = "batch",
        n_dims: int = 2,
        *,
        up: str = "transposed",
        first: str = "up",
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.first = first
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            [Step(3, widths[0], kind, n_dims), *(Step(a, b, kind, n_dims, stride=2) for a, b in pairs)]
        )
        self.ups, self.steps = nn.ModuleList(), nn.ModuleList()
        for below, width in ((b, a) for a, b in reversed(pairs)):
            if up == "transposed":
                self.ups.append(TRANSPOSED[n_dims](below, width, 2, 2))
            elif up == "convolution":
                self.ups.append(nn.Sequential(nn.Upsample(scale_factor=2), CONVOLUTIONS[n_dims](below, width, 1)))
            else:
                self.ups.append(nn.Upsample(scale_factor=2))
            self.steps.append(Step(width + (below if up == "none" else width), width, kind, n_dims))
        self.gates = nn.ModuleList(Gate(width, n_dims) for width in widths[-2::-1]) if gated else None
        self.out = CONVOLUTIONS[n_dims](widths[0], 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment."""
        skips = []
        for step in self.down:
            x = step(x)
            skips.append(x)
        for i, (up, step, skip) in enumerate(zip(self.ups, self.steps, skips[-2::-1], strict=True)):
            x = up(x)
            kept = skip if self.gates is None else self.gates[i](x, skip)
            x = step(torch.cat([x, kept] if self.first == "up" else [kept, x], 1))
        out: torch.Tensor = self.out(x)
        return out


class Twice(nn.Module):
    """A convolution and its norm under two names each, as nnU-Net registers them."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(n_in, n_out, 3, stride, 1), nn.InstanceNorm2d(n_out, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, nn.LeakyReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the second names."""
        out: torch.Tensor = self.all_modules(x)
        return out


class Decoder(nn.Module):
    """Owns the encoder once more."""

    def __init__(self, encoder: nn.Sequential, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.stages = nn.ModuleList(nn.Sequential(Twice(2 * n, n), Twice(n, n)) for n in widths[-2::-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in list(pairwise(widths))[::-1])
        self.out = nn.Conv2d(widths[0], 2, 1)

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """Go up."""
        x = skips[-1]
        for up, stage, skip in zip(self.ups, self.stages, skips[-2::-1], strict=True):
            x = stage(torch.cat([up(x), skip], 1))
        out: torch.Tensor = self.out(x)
        return out


class TiedUNet(nn.Module):
    """Most tensors have four names."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(Twice(a, b, 1 if i == 0 else 2), Twice(b, b))
                for i, (a, b) in enumerate(zip((3, *widths), widths, strict=False))
            )
        )
        self.decoder = Decoder(self.encoder, widths)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        out: torch.Tensor = self.decoder(skips)
        return out


def crossed(report: transfer.TransferReport) -> list[str]:
    return [f"{row.source} -> {row.name}" for row in report.tensors if row.regions and row.source != row.name]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "instance", "n_dims": 3},
        {"kind": "batch"},
        {"kind": "none"},
        {"n_dims": 1, "kind": "instance"},
        {"up": "convolution", "first": "skip"},
        {"up": "none"},
        {"gated": True},
    ],
)
@pytest.mark.parametrize("widths", [(NARROW, WIDE), ((4, 8, 12, 16), (8, 8, 16, 32))])
def test_a_wider_one_computes_what_the_narrow_one_did(
    options: dict[str, object], widths: tuple[Sequence[int], Sequence[int]]
) -> None:
    torch.manual_seed(0)
    source, target = (UNet(each, **options) for each in widths)  # type: ignore[arg-type]
    nets.randomise(source, 0)
    report = transfer.transfer(source, target)
    assert not crossed(report)
    x = torch.randn(1, 3, *[32] * int(str(options.get("n_dims", 2))))
    with torch.no_grad():
        torch.testing.assert_close(target.eval()(x), source.eval()(x), rtol=1e-4, atol=1e-5)


def test_norms_over_groups_keep_stages_in_place() -> None:
    source, target = UNet(NARROW, "group"), UNet(WIDE, "group")
    report = transfer.transfer(source, target)
    assert not crossed(report)
    assert all(row.status != "fresh" for row in report.tensors)


def test_tensors_of_several_names_are_placed_by_any_of_them() -> None:
    torch.manual_seed(0)
    source, target = TiedUNet(NARROW), TiedUNet(WIDE)
    nets.randomise(source, 0)
    transfer.transfer(source, target)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(target.eval()(x), source.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"gated": True}, {"kind": "instance", "n_dims": 3}])
def test_a_narrower_one_is_fed_stage_by_stage(options: dict[str, object]) -> None:
    source, target = (UNet(widths, **options) for widths in (WIDE, NARROW))  # type: ignore[arg-type]
    plan = transfer.plan(source, target)
    assert plan.coverage == 1
    assert all(row.source == row.name for row in plan.tensors)


def test_a_deeper_and_wider_one_keeps_the_stages_that_both_have() -> None:
    source, target = UNet((8, 16, 32, 64)), UNet((16, 32, 64, 128, 256))
    plan = transfer.plan(source, target)
    fed = {row.name: row.source for row in plan.tensors if row.regions}
    assert all(fed[name] == name for name in fed if name[:6] in ("down.0", "down.1", "down.2", "down.3"))
    assert fed["ups.3.weight"] == "ups.2.weight"
