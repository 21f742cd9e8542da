"""Sorted files of one network in the words of another library: which layer is which."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import transfer
from transfer.structure.counterparts import counterparts
from transfer.structure.headers import header_of
from transfer.structure.order import read_like
from transfer.structure.records import Signature
from transfer.structure.sequences import aligned, aligned_value
from transfer.structure.siblings import best_order
from transfer.structure.words import likeness, meanings, place
from zoo_index.catalogues.timm_catalogue import build

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, n_out: int, n_in: int) -> Shapes:
    return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}


def norm(name: str, n: int) -> Shapes:
    return {f"{name}.weight": (n,), f"{name}.bias": (n,)}


def header(*parts: Shapes) -> dict[str, Signature]:
    return {name: Signature(shape, "float32") for part in parts for name, shape in part.items()}


def shuffled(named: dict[str, Signature], seed: int = 0) -> dict[str, Signature]:
    names = sorted(named)
    random.Random(seed).shuffle(names)
    return {name: named[name] for name in names}


def plain(depth: int, n: int = 16) -> dict[str, Signature]:
    """A transformer as timm writes it."""
    blocks = [
        part
        for i in range(depth)
        for part in (
            norm(f"blocks.{i}.norm1", n),
            linear(f"blocks.{i}.attn.qkv", 3 * n, n),
            linear(f"blocks.{i}.attn.proj", n, n),
            norm(f"blocks.{i}.norm2", n),
            linear(f"blocks.{i}.mlp.fc1", 4 * n, n),
            linear(f"blocks.{i}.mlp.fc2", n, 4 * n),
        )
    ]
    tokens: Shapes = {"cls_token": (1, 1, n), "pos_embed": (1, 17, n)}
    stem: Shapes = {"patch_embed.proj.weight": (n, 3, 4, 4), "patch_embed.proj.bias": (n,)}
    return header(stem, tokens, *blocks, norm("norm", n), linear("head", 10, n))


def hub(depth: int, n: int = 16) -> dict[str, Signature]:
    """The same as transformers writes it."""
    blocks = [
        part
        for i in range(depth)
        for part in (
            linear(f"vit.encoder.layer.{i}.attention.attention.query", n, n),
            linear(f"vit.encoder.layer.{i}.attention.attention.key", n, n),
            linear(f"vit.encoder.layer.{i}.attention.attention.value", n, n),
            linear(f"vit.encoder.layer.{i}.attention.output.dense", n, n),
            linear(f"vit.encoder.layer.{i}.intermediate.dense", 4 * n, n),
            linear(f"vit.encoder.layer.{i}.output.dense", n, 4 * n),
            norm(f"vit.encoder.layer.{i}.layernorm_before", n),
            norm(f"vit.encoder.layer.{i}.layernorm_after", n),
        )
    ]
    tokens: Shapes = {
        "vit.embeddings.cls_token": (1, 1, n),
        "vit.embeddings.position_embeddings": (1, 17, n),
        "vit.embeddings.patch_embeddings.projection.weight": (n, 3, 4, 4),
        "vit.embeddings.patch_embeddings.projection.bias": (n,),
    }
    return header(tokens, *blocks, norm("vit.layernorm", n), linear("classifier", 10, n))


def vision(depth: int, n: int = 16) -> dict[str, Signature]:
    """The same as torchvision writes it."""
    blocks: list[Shapes] = []
    for i in range(depth):
        path = f"encoder.layers.encoder_layer_{i}"
        blocks += [
            norm(f"{path}.ln_1", n),
            {f"{path}.self_attention.in_proj_weight": (3 * n, n), f"{path}.self_attention.in_proj_bias": (3 * n,)},
            linear(f"{path}.self_attention.out_proj", n, n),
            norm(f"{path}.ln_2", n),
            linear(f"{path}.mlp.0", 4 * n, n),
            linear(f"{path}.mlp.3", n, 4 * n),
        ]
    stem: Shapes = {"conv_proj.weight": (n, 3, 4, 4), "conv_proj.bias": (n,), "class_token": (1, 1, n)}
    positions: Shapes = {"encoder.pos_embedding": (1, 17, n)}
    return header(stem, positions, *blocks, norm("encoder.ln", n), linear("heads.head", 10, n))


DIALECTS = {"plain": plain, "hub": hub, "vision": vision}


def place_in(named: dict[str, Signature]) -> dict[str, str]:
    """What a tensor of any dialect is, in one word for all dialects."""
    words = {
        "norm1": "first", "ln_1": "first", "layernorm_before": "first", "norm2": "second", "ln_2": "second",
        "layernorm_after": "second", "qkv": "qkv", "query": "qkv", "key": "qkv", "value": "qkv",
        "self_attention.in_proj_": "qkv", "attn.proj": "out", "attention.output": "out", "out_proj": "out",
        "fc1": "up", "intermediate": "up", "mlp.0": "up", "fc2": "down", "mlp.3": "down", "output": "down",
        "patch": "patch", "conv_proj": "patch", "cls": "class", "class_token": "class", "pos": "position",
        "head": "head", "classifier": "head",
    }  # fmt: skip
    found = {}
    for name in named:
        what = next((meant for word, meant in words.items() if word in name), "last")
        number = next((part for part in name.replace("_", ".").split(".") if part.isdigit()), "")
        found[name] = f"{what} {number if what in ('first', 'second', 'qkv', 'out', 'up', 'down') else ''}"
    return found


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(DIALECTS, 2)))
def test_each_dialect_is_understood_in_each_other(one: str, other: str) -> None:
    source, target = DIALECTS[one](11), DIALECTS[other](11)
    found = counterparts(shuffled(source), target)
    assert found.is_same
    assert found.is_sure
    own, others = place_in(source), place_in(target)
    names = found.by_name()
    assert names.keys() == target.keys()
    for name, sources in names.items():
        assert {own[s] for s in sources} == {others[name]}, name
        assert all(
            s.rpartition(".")[2][-4:] == name[-4:] for s in sources if "token" not in name and "pos" not in name
        )


def test_query_key_and_value_come_in_this_order() -> None:
    found = counterparts(shuffled(hub(3)), plain(3)).by_name()
    path = "vit.encoder.layer.2.attention.attention"
    assert found["blocks.2.attn.qkv.bias"] == (f"{path}.query.bias", f"{path}.key.bias", f"{path}.value.bias")
    assert found["blocks.2.attn.proj.bias"] == ("vit.encoder.layer.2.attention.output.dense.bias",)


def test_key_and_value_are_no_feed_forward_layer_of_their_size() -> None:
    def block(q: str, k: str, v: str, up: str) -> dict[str, Signature]:
        sizes = ((q, 8, 8), (k, 8, 8), (v, 8, 8), ("attn.proj", 8, 8), (up, 16, 8), ("mlp.fc2", 8, 16))
        return header(*(linear(f"b.{i}.{name}", n, m) for i in range(3) for name, n, m in sizes))

    source = block("self.attention.query", "attention.key", "attention.value", "intermediate.dense")
    found = counterparts(shuffled(source), block("attn.q", "attn.k", "attn.v", "mlp.fc1")).by_name()
    assert found["b.1.attn.k.weight"] == ("b.1.attention.key.weight",)
    assert found["b.1.mlp.fc1.weight"] == ("b.1.intermediate.dense.weight",)


def test_the_order_of_a_shuffled_file_says_nothing() -> None:
    source = hub(4)
    assert counterparts(shuffled(source, 1), plain(4)) == counterparts(shuffled(source, 2), plain(4))


def test_names_that_mean_nothing_leave_the_order_a_guess() -> None:
    source = hub(4)
    names = ["".join(word) for word in itertools.product("abcdefg", repeat=3)]
    random.Random(0).shuffle(names)
    paths = dict(zip(dict.fromkeys(name.rpartition(".")[0] for name in source), names, strict=False))
    renamed = {f"{paths[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": s for name, s in source.items()}
    assert not read_like(shuffled(renamed), plain(4))[1]
    assert read_like(shuffled(source), plain(4))[1]


def test_a_shortcut_is_found_by_shape_where_words_say_nothing() -> None:
    def conv(name: str, n_out: int, n_in: int, k: int = 1) -> Shapes:
        statistics = {f"{name}.n.running_mean": (n_out,), f"{name}.n.running_var": (n_out,)}
        return {f"{name}.c.weight": (n_out, n_in, k, k), **norm(f"{name}.n", n_out), **statistics}

    sizes = [(0, 8, 8), (1, 16, 32), (2, 32, 64)]  # of a stage: number, width inside, channels that enter
    own = ((conv(f"a.{i}.zu", 4 * n, m), conv(f"a.{i}.yr.0", n, m), conv(f"a.{i}.yr.1", n, n, 3),
            conv(f"a.{i}.yr.2", 4 * n, n)) for i, n, m in sizes)  # fmt: skip
    others = ((conv(f"s{i}.one", n, m), conv(f"s{i}.two", n, n, 3), conv(f"s{i}.three", 4 * n, n),
               conv(f"s{i}.four", 4 * n, m)) for i, n, m in sizes)  # fmt: skip
    source, target = header(*itertools.chain(*own)), header(*itertools.chain(*others))
    found = counterparts(shuffled(source), target).by_name()
    for i, (mine, wanted) in itertools.product(
        range(3), {"one": "yr.0", "two": "yr.1", "three": "yr.2", "four": "zu"}.items()
    ):
        assert found[f"s{i}.{mine}.c.weight"] == (f"a.{i}.{wanted}.c.weight",)
        assert found[f"s{i}.{mine}.n.running_mean"] == (f"a.{i}.{wanted}.n.running_mean",)


def test_lists_of_parts_meet_a_list_of_blocks() -> None:
    n, depth = 12, 5
    source = header(
        *(linear(f"attentions.{i}.q_lin", n, n) for i in range(depth)),
        *(norm(f"layer_norm1.{i}", n) for i in range(depth)),
        *(linear(f"ffns.{i}.lin1", 4 * n, n) for i in range(depth)),
        *(linear(f"ffns.{i}.lin2", n, 4 * n) for i in range(depth)),
        *(norm(f"layer_norm2.{i}", n) for i in range(depth)),
    )
    target = header(
        *(
            part
            for i in range(depth)
            for part in (
                linear(f"layer.{i}.query", n, n),
                norm(f"layer.{i}.norm1", n),
                linear(f"layer.{i}.mlp.fc1", 4 * n, n),
                linear(f"layer.{i}.mlp.fc2", n, 4 * n),
                norm(f"layer.{i}.norm2", n),
            )
        )
    )
    found = counterparts(shuffled(source), target).by_name()
    for i in range(depth):
        assert found[f"layer.{i}.norm1.weight"] == (f"layer_norm1.{i}.weight",)
        assert found[f"layer.{i}.norm2.weight"] == (f"layer_norm2.{i}.weight",)
        assert found[f"layer.{i}.mlp.fc2.weight"] == (f"ffns.{i}.lin2.weight",)


def test_a_deeper_target_keeps_the_order_of_a_block() -> None:
    source = hub(4)
    found = [layer.path for layer in counterparts(shuffled(source), plain(9)).order]
    block = [path.removeprefix("vit.encoder.layer.2.") for path in found if "layer.2." in path]
    assert block == [
        "layernorm_before",
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
        "layernorm_after",
        "intermediate.dense",
        "output.dense",
    ]


def test_a_large_header_is_read_in_half_a_second() -> None:
    source, target = hub(120), plain(120)
    assert len(source) > 1900
    started = time.process_time()
    assert counterparts(shuffled(source), target).is_sure
    assert time.process_time() - started < 2  # 0.4 s where nothing else runs


@pytest.mark.parametrize("seed", range(20))
def test_alignment_is_the_best_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (5, 6)) / 2
    pairs = aligned(weights)
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
    best = max(
        sum(weights[i, j] for i, j in zip(rows, columns, strict=True))
        for k in range(6)
        for rows in itertools.combinations(range(5), k)
        for columns in itertools.combinations(range(6), k)
    )
    assert sum(weights[i, j] for i, j in pairs) == best == aligned_value(weights)


@pytest.mark.parametrize("seed", range(10))
def test_siblings_come_in_the_order_of_the_other_network(seed: int) -> None:
    children = ["au", "be", "ci", "do", "ex"]
    random.Random(seed).shuffle(children)
    own = [f"list.{i}.{child}" for i in (2, 10, 1) for child in sorted(children)]
    wanted = [f"list.{i}.{child}" for i in (1, 2, 10) for child in children]
    kinds = [name.rpartition(".")[2] for name in wanted]
    weights = np.array([[float(name.rpartition(".")[2] == kind) for kind in kinds] for name in own])
    order, undecided = best_order(own, weights, [f"other.{i}" for i in range(len(wanted))])
    assert [own[i] for i in order] == wanted
    assert not undecided


def test_siblings_that_are_alike_are_undecided() -> None:
    own = [f"list.{i}.{child}" for i in range(3) for child in ("au", "be", "ci")]
    kinds = [name[-2:].replace("ci", "au") for name in own]
    weights = np.array([[float(a == b) for b in kinds] for a in kinds])
    _, undecided = best_order(own, weights, [f"other.{i}" for i in range(9)])
    assert {own[i][-2:] for i in undecided} == {"au", "ci"}


def test_words() -> None:
    assert meanings("q_proj") == meanings("query") == meanings("to_q")
    assert meanings("layernorm_before") == meanings("norm1") == meanings("ln_1") == meanings("input_layernorm")
    assert meanings("LayerNorm") == meanings("norm")
    assert not meanings("layers")
    assert likeness("attention.output.dense", "attn.proj") > likeness("attention.output.dense", "mlp.fc2")
    assert likeness("output.dense", "mlp.fc2") > likeness("output.dense", "mlp.fc1")
    assert likeness("zu.yr", "attn.proj") == 0
    usual = ["patch_embed", "cls_token", "pos_embed", "norm1", "attn", "norm2", "fc1", "fc2", "norm", "head"]
    assert sorted(usual, key=place) == usual


PAIRS = {
    "mobilenet": (torchvision.models.mobilenet_v2, "mobilenetv2_100"),
    "regnet": (torchvision.models.regnet_y_400mf, "regnety_004"),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_a_sorted_file_of_another_library_gives_the_same_outputs(
    name: str, backwards: bool, tmp_path: Path
) -> None:
    one, other = PAIRS[name][0](), build(PAIRS[name][1], device="cpu")
    source, target = (other, one) if backwards else (one, other)
    nets.randomise(source, 1)
    save_file(source.state_dict(), tmp_path / "sorted.safetensors")
    report = transfer.transfer(tmp_path / "sorted.safetensors", target)
    assert report.counts()["copied"] == len(report.tensors)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(source.eval()(x), target.eval()(x), atol=1e-4)


def test_a_sorted_file_with_known_names_is_read_by_them() -> None:
    module: nn.Module = build("test_vit")
    executed = {t.name: header_of(module)[t.name] for t in transfer.standardize(module).tensors()}
    architecture, is_sure = read_like(shuffled(header_of(module)), executed)
    assert is_sure
    assert [t.name for t in architecture.tensors()] == list(executed)
