"""Images of more or fewer channels: the old ones keep their weights, new ones count for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from timm import create_model
from torch import nn

import transfer
from transfer.errors import MethodError
from transfer.options import Options
from zoo_index.commands.main import cli

ZERO = Options(image_channels="zero")


def perturbed(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor)).add_(0.01 * torch.rand_like(tensor))
    return model.eval()


@torch.no_grad()
def difference(source: nn.Module, target: nn.Module, x: torch.Tensor, n_more: int) -> float:
    noise = 10 * torch.randn(len(x), n_more, *x.shape[2:])
    a, b = source(x), target.eval()(torch.cat([x, noise], 1))
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize(("old", "new"), [(3, 4), (3, 6), (1, 3), (4, 5), (1, 2)])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_whatever_new_channels_hold_the_others_give_what_they_gave(name: str, old: int, new: int) -> None:
    source, target = (create_model(name, in_chans=n) for n in (old, new))
    report = transfer.transfer(perturbed(source), target, options=ZERO)
    side = source.default_cfg["input_size"][-1]
    assert difference(source, target, torch.randn(2, old, side, side), new - old) < 1e-5
    row = next(t for t in report.tensors if t.shape[1:2] == (new,) and t.operator == "keep image channels")
    assert row.status == "grown"
    assert row.n_written * new == torch.Size(row.shape).numel() * old  # zeros are not of the source


def test_by_default_weights_are_adapted() -> None:
    source, target = (create_model("test_resnet", in_chans=n) for n in (3, 4))
    report = transfer.transfer(perturbed(source), target)
    assert difference(source, target, torch.randn(2, 3, 64, 64), 1) > 0.01
    assert any(t.operator == "adapt input channels" for t in report.tensors)


@pytest.mark.parametrize("options", [{}, {"zero_new_inputs": False}, {"resample": False}])
def test_it_does_not_hang_on_other_options(options: dict[str, Any]) -> None:
    source, target = (create_model("test_resnet", in_chans=n) for n in (3, 4))
    transfer.transfer(perturbed(source), target, options=Options(image_channels="zero", **options))
    assert difference(source, target, torch.randn(2, 3, 64, 64), 1) < 1e-5


def test_channels_that_the_target_lacks_are_taken_for_zero() -> None:
    source, target = (create_model("test_resnet", in_chans=n) for n in (4, 3))
    transfer.transfer(perturbed(source), target, options=ZERO)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = source(torch.cat([x, torch.zeros(2, 1, 64, 64)], 1)), target.eval()(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_fewer_channels_are_not_made_louder_where_no_norm_follows() -> None:
    source, target = (nn.Sequential(nn.Conv2d(n, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)) for n in (4, 3))
    transfer.transfer(source, target, options=ZERO)
    assert torch.equal(target[0].weight, source[0].weight[:, :3])


def test_other_layers_are_filled_as_ever() -> None:
    source, target = (nn.Sequential(nn.Conv2d(3, n, 3), nn.BatchNorm2d(n), nn.Conv2d(n, 8, 3)) for n in (8, 12))
    one, other = (transfer.plan(source, target, options=options) for options in (ZERO, Options()))
    assert one.tensors == other.tensors


def test_pixels_of_space_to_depth_keep_theirs_one_by_one() -> None:
    """Channels lie pixel by pixel: those of RGB, then of RGB and depth."""
    source, target = (nn.Sequential(nn.Conv2d(16 * n, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)) for n in (3, 4))
    transfer.transfer(source, target, options=ZERO)
    old, new = source[0].weight.view(8, 16, 3, 3, 3), target[0].weight.view(8, 16, 4, 3, 3)
    assert torch.equal(new[:, :, :3], old)
    assert not new[:, :, 3].any()


def test_patches_are_resized_beside_it() -> None:
    source, small = (nn.Sequential(nn.Conv2d(3, 8, n, n)) for n in (16, 8))
    target = nn.Sequential(nn.Conv2d(4, 8, 8, 8))
    transfer.transfer(source, small)
    transfer.transfer(source, target, options=ZERO)
    assert torch.equal(target[0].weight[:, :3], small[0].weight)
    assert not target[0].weight[:, 3].any()


def test_videos_and_signals_have_channels_as_well() -> None:
    for kind, size in ((nn.Conv3d, (2, 9, 9)), (nn.Conv1d, (30,))):
        source, target = (nn.Sequential(kind(n, 8, 2), nn.ReLU(), kind(8, 4, 1)).eval() for n in (3, 5))
        transfer.transfer(source, target, options=ZERO)
        assert difference(source, target, torch.randn(2, 3, *size), 2) < 1e-5
    source, target = nn.Sequential(nn.Conv2d(3, 8, 3)), nn.Sequential(nn.Conv3d(4, 8, 3))
    transfer.transfer(source, target, options=ZERO)
    torch.testing.assert_close(target[0].weight[:, :3].sum(2), source[0].weight)
    assert not target[0].weight[:, 3].any()


def test_the_command_line_has_it(small_index: Path, tmp_path: Path) -> None:
    torch.save(create_model("test_resnet").state_dict(), tmp_path / "source.pt")
    torch.save(create_model("test_resnet", in_chans=4).state_dict(), tmp_path / "target.pt")
    arguments = [
        "--db",
        str(small_index),
        "plan",
        "--source",
        str(tmp_path / "source.pt"),
        "--target",
        str(tmp_path / "target.pt"),
        "--json",
    ]
    for more, operator in (([], "adapt input channels"), (["--image-channels", "zero"], "keep image channels")):
        done = CliRunner().invoke(cli, [*arguments, *more])
        assert done.exit_code == 0, done.output
        assert operator in {row["operator"] for row in json.loads(done.stdout)["tensors"]}


def test_another_word_is_refused() -> None:
    with pytest.raises(MethodError, match="expected image_channels 'adapt' or 'zero', got 'keep'"):
        Options(image_channels="keep")  # type: ignore[arg-type]
