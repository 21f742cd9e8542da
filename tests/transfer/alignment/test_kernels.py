from __future__ import annotations

from math import isclose

import numpy as np
import oracles
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.alignment import _kernels
from transfer.alignment.ranking import rank, similarities
from transfer.alignment.tables import tabulate
from transfer.structure.records import PLACEHOLDER, Architecture, Block, Item, Layer, Tensor

SCORES = st.sampled_from([0.0, 0.0, 0.25, 1 / 3, 0.5, 0.7071, 1.0])


@st.composite
def matrices(draw: st.DrawFn, largest: int = 7) -> np.ndarray:
    n, m = draw(st.integers(0, largest)), draw(st.integers(1, largest))
    return np.array([[draw(SCORES) for _ in range(m)] for _ in range(n)], dtype=float).reshape(n, m)


layers = st.one_of(
    st.just(Layer(PLACEHOLDER)),
    st.builds(
        lambda channels, kernel: Layer(
            f"conv{len(kernel)}d" if kernel else "linear", (Tensor("weight", (*channels, *kernel)),)
        ),
        st.tuples(st.integers(1, 9), st.integers(2, 9)),
        st.lists(st.integers(2, 5), max_size=3),
    ),
)
items = st.one_of(layers, st.lists(layers, min_size=0, max_size=6).map(lambda inner: Block(tuple(inner))))
architectures = st.lists(items, min_size=1, max_size=8).map(lambda found: Architecture("paper", tuple(found)))


def plain(architecture: Architecture) -> list[object]:
    def layer(value: Layer) -> tuple[str, tuple[int, ...]] | None:
        return (value.kind, value.dims) if value.dims is not None else None

    def item(value: Item) -> object:
        return [layer(inner) for inner in value.layers] if isinstance(value, Block) else layer(value)

    return [item(value) for value in architecture.items]


@given(matrices())
def test_align_equals_the_plain_programme(scores: np.ndarray) -> None:
    value, pairs = oracles.align(scores.tolist())
    assert isclose(_kernels.align_value(scores), value, abs_tol=1e-12)
    assert [tuple(pair) for pair in _kernels.trace(scores)] == pairs


@settings(max_examples=60)
@given(matrices(largest=4))
def test_align_is_the_best_of_all_alignments(scores: np.ndarray) -> None:
    expected = oracles.best_value_by_enumeration(scores.tolist())
    assert isclose(_kernels.align_value(scores), expected, abs_tol=1e-12)


@given(matrices(), SCORES)
def test_a_further_source_never_lowers_the_value(scores: np.ndarray, score: float) -> None:
    more = np.hstack([scores, np.full((len(scores), 1), score)])
    assert _kernels.align_value(more) >= _kernels.align_value(scores) - 1e-12


@given(st.lists(architectures, min_size=1, max_size=6), architectures)
def test_rank_equals_the_plain_programme(sources: list[Architecture], target: Architecture) -> None:
    values = rank(target, tabulate(sources, form="paper"))
    expected = [oracles.architecture_value(plain(source), plain(target)) for source in sources]
    np.testing.assert_allclose(values, expected, atol=1e-9)


@given(st.lists(architectures, min_size=2, max_size=6), architectures, st.randoms())
def test_rank_depends_neither_on_order_nor_on_company(
    sources: list[Architecture], target: Architecture, random: object
) -> None:
    table = tabulate(sources, form="paper")
    values = rank(target, table)
    order = list(range(len(sources)))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(rank(target, table.select(order)), values[order])
    for source, value in zip(sources, values, strict=True):
        assert rank(target, tabulate([source], form="paper"))[0] == value


@given(architectures, architectures)
def test_similarity_is_in_range_and_one_on_itself(source: Architecture, target: Architecture) -> None:
    table = tabulate([source, target], form="paper")
    values = rank(target, table)
    counts = np.array([source.n_scoring, target.n_scoring])
    if target.n_scoring:
        assert isclose(values[1], target.n_scoring, rel_tol=1e-12)
    for measure in ("paper", "dpiat"):
        raw = values / np.maximum(
            target.n_scoring if measure == "paper" else np.sqrt(target.n_scoring * counts), 1e-300
        )
        if target.n_scoring and source.n_scoring:
            assert (raw <= 1 + 1e-9).all()  # the clip in `similarities` only takes off rounding
        result = similarities(values, target.n_scoring, counts, measure=measure)
        assert ((result >= 0) & (result <= 1)).all()
        assert result[1] == (1.0 if target.n_scoring else 0.0) or isclose(result[1], 1.0)


def test_hundreds_of_layers_equal_the_plain_programme() -> None:
    random = np.random.default_rng(0)

    def architecture(n_blocks: int) -> Architecture:
        def layer() -> Layer:
            shape = tuple(int(d) for d in random.choice([8, 16, 32, 64], size=2))
            return Layer(str(random.choice(["conv2d", "linear"])), (Tensor("weight", shape),))

        return Architecture("paper", tuple(Block(tuple(layer() for _ in range(7))) for _ in range(n_blocks)))

    source, target = architecture(40), architecture(60)
    expected = oracles.architecture_value(plain(source), plain(target))
    assert isclose(rank(target, tabulate([source], form="paper"))[0], expected, rel_tol=1e-12)


def test_parallel_ranking_equals_single_sources() -> None:
    random = np.random.default_rng(1)
    sources = [
        Architecture(
            "paper",
            tuple(
                Block(
                    tuple(
                        Layer("linear", (Tensor("weight", tuple(random.integers(1, 50, 2).tolist())),))
                        for _ in range(4)
                    )
                )
                for _ in range(5)
            ),
        )
        for _ in range(80)
    ]
    table = tabulate(sources, form="paper")
    assert len(table.item_single) > 256  # enough to be shared among threads
    values = rank(sources[3], table)
    alone = [rank(sources[3], tabulate([source], form="paper"))[0] for source in sources]
    np.testing.assert_array_equal(values, alone)
