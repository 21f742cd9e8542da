"""What functions give on the meta device may be remembered: nobody sees the difference."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.nn import functional

from transfer.tracing import graph, recalling, usage
from transfer.tracing.recalling import recalled

NETWORKS = [
    "coatnet_nano_rw_224",
    "convnext_atto",
    "gcvit_xxtiny",
    "ghostnet_050",
    "mobilenetv3_small_050",
    "resnest14d",
    "sequencer2d_s",
    "swin_tiny_patch4_window7_224",
    "tf_efficientnet_b0",
    "volo_d1_224",
    "xcit_nano_12_p16_224",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_tells_the_same_with_and_without_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def traced() -> usage.Usage | None:
        with torch.device("meta"):
            return usage.trace_usage(timm.create_model(name))

    first, again = traced(), traced()
    monkeypatch.setattr(graph, "recalled", lambda func, args, kwargs: func(*args, **kwargs))
    plain = traced()
    assert plain is not None
    assert plain.order
    assert first == plain
    assert again == plain


@torch.no_grad()
def test_strides_types_and_identities_are_those_of_the_function() -> None:
    x = torch.empty(2, 8, 6, 4, device="meta")
    for given in (x, x.permute(0, 2, 3, 1), x[:, ::2], x.half()):
        for call in (
            (functional.gelu, (given,), {}),
            (torch.Tensor.add, (given, 1), {}),
            (torch.Tensor.add, (given, 1.0), {}),
            (torch.Tensor.mean, (given, [1, 2]), {"keepdim": True}),
            (torch.cat, ([given, given],), {"dim": 1}),
        ):
            expected = call[0](*call[1], **call[2])
            for _ in range(2):
                found = recalled(*call)
                assert found.is_meta
                assert (found.shape, found.stride(), found.dtype) == (
                    expected.shape,
                    expected.stride(),
                    expected.dtype,
                )
    for _ in range(2):
        assert recalled(functional.relu, (x,), {"inplace": True}) is x
        assert recalled(functional.relu, (x,), {}) is not x


@torch.no_grad()
def test_numbers_that_are_equal_but_of_another_type_are_told_apart() -> None:
    x = torch.ones(3, dtype=torch.long, device="meta")
    for _ in range(2):
        assert recalled(torch.Tensor.mul, (x, 2), {}).dtype == torch.long
        assert recalled(torch.Tensor.mul, (x, 2.0), {}).dtype == torch.float32


@torch.no_grad()
def test_what_goes_wrong_goes_wrong_each_time() -> None:
    x = torch.empty(1, 4, device="meta")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            recalled(functional.linear, (x, torch.empty(2, 5, device="meta")), {})


def test_values_and_gradients_are_never_made_up() -> None:
    known = len(recalling._KNOWN)
    x = torch.arange(3.0)
    with torch.no_grad():
        torch.testing.assert_close(recalled(torch.Tensor.mul, (x, 2), {}), 2 * x)
    weight = torch.empty(2, 3, device="meta", requires_grad=True)
    assert recalled(functional.linear, (x.to("meta"), weight), {}).requires_grad
    assert len(recalling._KNOWN) == known
