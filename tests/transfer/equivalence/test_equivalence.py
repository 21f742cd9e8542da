"""Networks that compute the same with other tensors: norms folded away or added, biases elsewhere, other norms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from nets import perturbed
from torch import nn
from torch.fx.experimental.optimization import fuse

import transfer
from transfer.equivalence.neighbours import norms_after, norms_before
from transfer.options import Options
from transfer.structure.standardization import standardize
from transfer.wiring import Wiring


@torch.no_grad()
def difference(source: nn.Module, target: nn.Module, *shape: int) -> float:
    """Largest difference of what two networks give, relative to the largest value."""
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    a, b = source.eval()(x), target.eval()(x)
    return float((a - b).abs().max() / a.abs().max())


def statuses(report: transfer.TransferReport) -> dict[str, str]:
    return {row.name: row.status for row in report.tensors}


def wiring(model: nn.Module) -> dict[str, Wiring]:
    return {layer.path: layer.wiring for layer in standardize(model).layers() if layer.wiring is not None}


class Net(nn.Module):
    """Convolutions, or whatever `layers` makes, with norms and activations between them, and a classifier."""

    def __init__(
        self,
        layer: Callable[[int, int], nn.Module],
        norm: Callable[[int], nn.Module] | None,
        widths: tuple[int, ...] = (8, 12, 16),
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for a, b in pairwise(widths):
            parts += [layer(a, b), *([norm(b)] if norm else []), nn.ReLU()]
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(widths[-1], 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        result: torch.Tensor = self.head(x.flatten(2).mean(2) if x.dim() > 2 else x)
        return result


def conv(*, bias: bool, groups: int = 1) -> Callable[[int, int], nn.Module]:
    return lambda a, b: nn.Conv2d(a, b, 3, padding=1, groups=groups, bias=bias)


def linear(*, bias: bool) -> Callable[[int, int], nn.Module]:
    return lambda a, b: nn.Linear(a, b, bias=bias)


def transposed(*, bias: bool, groups: int = 1) -> Callable[[int, int], nn.Module]:
    return lambda a, b: nn.ConvTranspose2d(a, b, 2, 2, groups=groups, bias=bias)


IMAGE, ROW = (8, 6, 6), (8,)
LAYERS = [
    (conv, {}, nn.BatchNorm2d, IMAGE),
    (conv, {"groups": 4}, nn.BatchNorm2d, IMAGE),
    (linear, {}, nn.BatchNorm1d, ROW),
    (transposed, {}, nn.BatchNorm2d, IMAGE),
    (transposed, {"groups": 2}, nn.BatchNorm2d, IMAGE),
]
by_layer = pytest.mark.parametrize(("layer", "kw", "norm", "shape"), LAYERS)


@pytest.mark.parametrize("has_bias", [True, False])
@by_layer
def test_batch_norms_are_folded_into_layers_without(layer, kw, norm, shape, has_bias: bool) -> None:
    source = perturbed(Net(layer(bias=has_bias, **kw), norm))
    target = Net(layer(bias=True, **kw), None)
    report = transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5
    assert set(statuses(report).values()) == {"copied"}
    assert report.coverage == 1


@by_layer
def test_a_folded_scale_stays_where_there_is_no_place_for_the_shift(layer, kw, norm, shape) -> None:
    source, target = perturbed(Net(layer(bias=False, **kw), norm)), Net(layer(bias=False, **kw), None)
    for part in source.modules():
        if isinstance(part, norm):
            part.bias.data.zero_(), part.running_mean.zero_()
    report = transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5
    assert "shift is lost" in report.tensors[0].reason


@by_layer
def test_a_norm_without_scale_is_folded(layer, kw, norm, shape) -> None:
    source = perturbed(Net(layer(bias=False, **kw), lambda n: norm(n, affine=False, eps=1e-2)))
    target = Net(layer(bias=True, **kw), None)
    transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5


@pytest.mark.parametrize("has_bias", [True, False])
@by_layer
def test_batch_norms_are_added(layer, kw, norm, shape, has_bias: bool) -> None:
    source = perturbed(Net(layer(bias=True, **kw), None))
    target = perturbed(Net(layer(bias=has_bias, **kw), lambda n: norm(n, eps=1e-2)), seed=1)
    report = transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5
    found = statuses(report)
    assert "fresh" not in {status for name, status in found.items() if not name.endswith("num_batches_tracked")}
    assert found["body.1.bias"] == ("identity" if has_bias else "copied")


@by_layer
def test_a_bias_is_taken_out_of_the_running_mean(layer, kw, norm, shape) -> None:
    source, target = perturbed(Net(layer(bias=True, **kw), norm)), Net(layer(bias=False, **kw), norm)
    report = transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5
    assert set(statuses(report).values()) == {"copied"}
    row = next(row for row in report.tensors if row.name == "body.1.running_mean")
    assert row.sources == ("body.1.running_mean", "body.0.bias")


@by_layer
def test_what_the_source_lacks_changes_nothing(layer, kw, norm, shape) -> None:
    source = perturbed(Net(layer(bias=False, **kw), lambda n: norm(n, affine=False)))
    target = perturbed(Net(layer(bias=True, **kw), norm), seed=1)
    report = transfer.transfer(source, target)
    assert difference(source, target, *shape) < 1e-5
    found = statuses(report)
    assert found["body.0.bias"] == found["body.1.weight"] == found["body.1.bias"] == "identity"
    assert "computes as with 1" in next(row.reason for row in report.tensors if row.name == "body.1.weight")


def test_a_bias_that_the_source_lacks_is_zero_in_every_layer() -> None:
    kept = nn.Sequential(nn.Linear(4, 6, bias=False), nn.LayerNorm(6, bias=False), nn.Linear(6, 3, bias=False))
    target = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    perturbed(kept), perturbed(target, 1)
    transfer.transfer(kept, target)
    assert difference(kept, target, 4) < 1e-6
    assert not any(target[i].bias.any() for i in range(3))


def test_a_classifier_that_stays_fresh_keeps_its_bias() -> None:
    source = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    target = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    before = target[2].bias.detach().clone()
    transfer.transfer(source, target)
    assert torch.equal(target[2].bias, before)


@by_layer
def test_without_folding_all_is_as_it_was(layer, kw, norm, shape) -> None:
    source, target = perturbed(Net(layer(bias=True, **kw), norm)), Net(layer(bias=True, **kw), None)
    report = transfer.transfer(source, target, options=Options(fold=False))
    weight = source.state_dict()["body.0.weight"]
    assert torch.equal(target.state_dict()["body.0.weight"], weight)
    assert all(row.folding is None for row in report.tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_folded(dtype: torch.dtype) -> None:
    source, target = perturbed(Net(conv(bias=True), nn.BatchNorm2d)), Net(conv(bias=True), None)
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in source.state_dict().items()}
    source.load_state_dict(state)  # rounded
    transfer.transfer(state, target)
    assert difference(source, target, *IMAGE) < 1e-5


def test_weights_of_another_shape_than_planned_are_refused() -> None:
    source, target = Net(conv(bias=True), nn.BatchNorm2d), Net(conv(bias=True), None)
    state = source.state_dict() | {"body.1.running_var": torch.ones(3)}
    with pytest.raises(transfer.ZooError, match=r"'body.1.running_var' of shape \(12,\) as planned, got \(3,\)"):
        transfer.transfer(state, target, source_structure=source)


def test_a_norm_of_a_bad_variance_is_not_folded_silently() -> None:
    source, target = Net(conv(bias=True), nn.BatchNorm2d), Net(conv(bias=True), None)
    source.body[1].running_var.fill_(float("nan"))
    before = target.state_dict()["body.0.weight"].clone()
    with pytest.raises(transfer.ZooError, match=r"NaN or infinity in source tensor 'body\.0\.weight'"):
        transfer.transfer(source, target)
    assert torch.equal(target.state_dict()["body.0.weight"], before)


# --- with other widths


def settle(model: nn.Module) -> None:
    """Let running statistics be those of some input, as in a trained network."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(64, 3, 6, 6, generator=torch.Generator().manual_seed(2)))
    model.eval()


@pytest.mark.parametrize("channels", ["importance", "leading"])
def test_a_narrower_network_without_norms_is_the_narrower_one_with_norms(channels) -> None:
    torch.manual_seed(3)
    source = perturbed(Net(conv(bias=True), nn.BatchNorm2d, (3, 24, 32, 40)))
    settle(source)
    with_norms, without_biases = (Net(conv(bias=bias), nn.BatchNorm2d, (3, 12, 16, 20)) for bias in (True, False))
    without = Net(conv(bias=True), None, (3, 12, 16, 20))
    options = Options(channels=channels)
    reports = [transfer.transfer(source, net, options=options) for net in (with_norms, without_biases, without)]
    assert difference(with_norms, without, 3, 6, 6) < 1e-5
    assert difference(with_norms, without_biases, 3, 6, 6) < 1e-5
    for report in reports:
        assert {row.status for row in report.tensors} == {"cropped", "copied"}
        assert any("without what the channels contributed" in row.reason for row in report.tensors)


def test_a_wider_network_without_norms_computes_the_same() -> None:
    source = perturbed(Net(conv(bias=True), nn.BatchNorm2d, (3, 12, 16, 20)))
    target = Net(conv(bias=True), None, (3, 24, 32, 40))
    transfer.transfer(source, target)
    assert difference(source, target, 3, 6, 6) < 1e-5


def test_a_wider_network_without_biases_computes_the_same() -> None:
    source = perturbed(Net(conv(bias=True), nn.BatchNorm2d, (3, 12, 16, 20)))
    target = Net(conv(bias=False), nn.BatchNorm2d, (3, 24, 32, 40))
    transfer.transfer(source, target)
    assert difference(source, target, 3, 6, 6) < 1e-5


def test_an_image_of_other_colours_goes_with_folding() -> None:
    source = perturbed(Net(conv(bias=True), nn.BatchNorm2d, (3, 12, 16)))
    with_norms, without = (Net(conv(bias=True), norm, (1, 12, 16)) for norm in (nn.BatchNorm2d, None))
    transfer.transfer(source, with_norms)
    report = transfer.transfer(source, without)
    assert report.tensors[0].status == "resampled"
    assert difference(with_norms, without, 1, 6, 6) < 1e-5


def test_one_source_feeds_towers_with_norms_and_without() -> None:
    source = perturbed(Net(conv(bias=True), nn.BatchNorm2d, (3, 12, 16)))
    rows = transfer.plan(source, Net(conv(bias=True), None, (3, 12, 16))).tensors
    names = [row.folding.names for row in rows if row.folding is not None]
    assert names[0] == ("body.1.weight", "body.1.running_mean", "body.1.running_var")
    # what is folded is said row by row: the source's tensors are read as they are by all others
    plain = transfer.plan(source, Net(conv(bias=True), nn.BatchNorm2d, (3, 12, 16))).tensors
    assert all(row.folding is None for row in plain)


# --- where something lies between a layer and the norm that follows it


class PreNorm(nn.Module):
    """Adds a convolution to its input before a norm reads the sum."""

    def __init__(self, *, norm: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 6, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.second = nn.Conv2d(6, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.first(x)
        result: torch.Tensor = self.second(self.norm(x).relu())
        return result


def test_a_norm_behind_an_addition_is_not_folded() -> None:
    source, target = perturbed(PreNorm()), PreNorm(norm=False)
    transfer.transfer(source, target)
    assert torch.equal(source.first.weight, target.first.weight)
    assert wiring(source)["first"].feeds == ""


def test_a_bias_before_an_addition_stays_in_the_running_mean() -> None:
    source, target = perturbed(PreNorm()), PreNorm(bias=False)
    transfer.transfer(source, target)
    assert torch.equal(source.norm.running_mean, target.norm.running_mean)


class Flattened(nn.Module):
    """Flattens tokens for a norm, as LeViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)
        return self.out(self.norm(x.flatten(0, 1)).reshape_as(x).relu())


def test_tokens_may_be_flattened_before_the_norm() -> None:
    assert wiring(Flattened())["fc"].feeds == "norm"


def test_neighbours_are_told_by_order_and_width() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1)
    )
    form = standardize(network)
    assert {path: norm.path for path, norm in norms_after(form).items()} == {"0": "1"}
    assert {path: norm.path for path, norm in norms_before(form).items()} == {"2": "1", "4": "3"}


def test_the_epsilon_of_norms_is_known() -> None:
    norm = norms_after(standardize(Net(conv(bias=True), lambda n: nn.BatchNorm2d(n, eps=1e-3))))["body.0"]
    assert norm.epsilon == 1e-3
    assert norm == replace(norm, epsilon=0.0)


# --- norms of another kind


def test_scale_and_bias_go_to_norms_of_another_kind() -> None:
    source = perturbed(timm.create_model("resnet18", num_classes=10))
    target = timm.create_model("resnet18", num_classes=10, norm_layer="groupnorm")
    report = transfer.transfer(source, target)
    assert set(statuses(report).values()) == {"copied"}
    ours, theirs = target.state_dict(), source.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    back = timm.create_model("resnet18", num_classes=10)
    report = transfer.transfer(target, back)
    left = {row.name: row.reason for row in report.tensors if row.status != "copied"}
    assert set(left) == {n for n in theirs if n.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert set(left.values()) == {"the norm of the source keeps no statistics"}
    assert all(
        torch.equal(value, ours[name])
        for name, value in back.state_dict().items()
        if name in ours and name not in left
    )


class Residual(nn.Module):
    """Adds what its body makes of the input."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.body(x)
        return result


def test_norms_before_layers_meet_too() -> None:
    def block(norm: Callable[[int], nn.Module]) -> nn.Module:
        return Residual(norm(8), nn.ReLU(), nn.Conv2d(8, 6, 1), norm(6), nn.ReLU(), nn.Conv2d(6, 8, 1))

    source = perturbed(nn.Sequential(nn.Conv2d(3, 8, 3), block(nn.BatchNorm2d), block(nn.BatchNorm2d)))
    target = nn.Sequential(*(nn.Conv2d(3, 8, 3), *(block(lambda n: nn.GroupNorm(2, n)) for _ in range(2))))
    report = transfer.transfer(source, target)
    assert set(statuses(report).values()) == {"copied"}
    assert all(row.name == row.source for row in report.tensors)


# --- real networks


def vgg(*, norms: bool, bias: bool = True) -> nn.Module:
    """VGG-11 as torchvision builds it, with a small classifier."""
    layers = torchvision.models.vgg
    features = layers.make_layers(layers.cfgs["A"], batch_norm=norms)
    for i, part in enumerate(features):
        if isinstance(part, nn.Conv2d) and not bias:
            features[i] = nn.Conv2d(part.in_channels, part.out_channels, 3, padding=1, bias=False)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


@pytest.mark.parametrize("has_norms", [True, False])
def test_vgg_with_and_without_batch_norms(has_norms: bool) -> None:
    source, target = perturbed(vgg(norms=has_norms)), vgg(norms=not has_norms)
    report = transfer.transfer(source, target)
    assert difference(source, target, 3, 64, 64) < 1e-4
    found = {row.status for row in report.tensors if not row.name.endswith("num_batches_tracked")}
    assert found == ({"copied"} if has_norms else {"copied", "identity"})


def test_vgg_with_biases_and_without() -> None:
    source, target = perturbed(vgg(norms=True)), vgg(norms=True, bias=False)
    report = transfer.transfer(source, target)
    assert difference(source, target, 3, 64, 64) < 1e-4
    assert set(statuses(report).values()) == {"copied"}
    back = vgg(norms=True)
    transfer.transfer(target, back)
    assert difference(source, back, 3, 64, 64) < 1e-4


def test_a_state_dict_is_folded_as_its_module() -> None:
    source, target, other = perturbed(vgg(norms=True)), vgg(norms=False), vgg(norms=False)
    transfer.transfer(source, target)
    transfer.transfer(source.state_dict(), other)
    assert difference(target, other, 3, 64, 64) == 0


REAL = ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "regnet_y_400mf", "shufflenet_v2_x0_5"]


def with_norms(name: str) -> nn.Module:
    model: nn.Module = torchvision.models.get_model(name, num_classes=10).eval()
    return model


@pytest.mark.parametrize("name", REAL)
def test_real_networks_lose_the_batch_norms_that_torch_folds_away(name: str) -> None:
    source, target = perturbed(with_norms(name)), fuse(with_norms(name)).eval()
    report = transfer.transfer(source, target)
    assert difference(source, target, 3, 64, 64) < 1e-5
    assert {row.status for row in report.tensors} == {"copied"}


@pytest.mark.parametrize("name", REAL)
def test_real_networks_get_the_batch_norms_back(name: str) -> None:
    source, target = perturbed(fuse(with_norms(name)).eval()), perturbed(with_norms(name), seed=1)
    report = transfer.transfer(source, target)
    assert difference(source, target, 3, 64, 64) < 1e-5
    found = {row.status for row in report.tensors if not row.name.endswith("num_batches_tracked")}
    assert found == {"copied", "identity"}
