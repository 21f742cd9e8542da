"""Several sources for one target: what the first leaves fresh is filled by the next."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from segmenters import Classifier, Decoder, Encoder, ResidualDecoder, Segmenter, made, same
from torch import Tensor, nn

import transfer
from transfer.errors import CoverageError, InputError, MethodError, TransferError
from transfer.planning.rest import left_of
from transfer.structure.records import Block


@pytest.fixture
def encoder() -> nn.Module:
    return made(Classifier, 1)


@pytest.fixture
def decoder() -> nn.Module:
    """Another encoder, the decoder of the target."""
    return made(Segmenter, 2, 16, 1)


def test_an_encoder_from_one_and_a_decoder_from_another(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    report = transfer.transfer([encoder, decoder], target)
    assert same(target.encoder, encoder.body)
    assert same(target.decoder, decoder.decoder)
    assert report.coverage == 1
    assert {row.supplier for row in report.tensors if row.name.startswith("encoder.")} == {"Classifier"}
    assert {row.supplier for row in report.tensors if row.name.startswith("decoder.")} == {"Segmenter"}
    assert [supply.name for supply in report.supplies] == ["Classifier", "Segmenter"]
    assert sum(supply.coverage for supply in report.supplies) == pytest.approx(report.coverage)
    assert report.supplies[1].similarity == 1  # what it has besides does not count against it
    assert report.source == "Classifier + Segmenter"
    assert report.function is not None
    assert report.function.verdict == "unknown"
    assert "several sources" in report.function.reason


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_do_as_well(suffix: str, encoder: nn.Module, decoder: nn.Module, tmp_path) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for path, network in zip(paths, (encoder, decoder), strict=True):
        (torch.save if suffix == ".pth" else save_file)(network.state_dict(), path)
    target = made(Segmenter, 3)
    report = transfer.transfer(paths, target)
    assert same(target.encoder, encoder.body)
    assert same(target.decoder, decoder.decoder)
    assert {row.supplier for row in report.tensors} == {path.name for path in paths}


def test_the_order_of_the_sources_decides(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    report = transfer.transfer([decoder, encoder], target)
    assert report.supplies[0].coverage > 0.99
    assert report.supplies[1].coverage == 0
    assert report.function is not None
    assert report.function.verdict == "equal"  # the first supplies all, so that it can be compared
    assert same(target.decoder, decoder.decoder)


@pytest.mark.parametrize("sizes", [(16, 3), (24, 3), (16, 2)])
def test_the_first_source_fills_its_part_as_it_would_alone(sizes: tuple[int, int], decoder: nn.Module) -> None:
    first = made(Classifier, 4, *sizes)
    encoder, both = made(Classifier, 3), made(Segmenter, 3)
    transfer.transfer(first, encoder)
    together = transfer.transfer([first, decoder], both)
    assert {row.supplier for row in together.tensors if row.name.startswith("encoder.")} == {"Classifier"}
    for name, value in both.encoder.state_dict().items():
        assert torch.equal(value, encoder.body.state_dict()[name]), name
    assert same(both.decoder, decoder.decoder)


class Attending(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 4, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.fc2(torch.relu(self.fc1(self.norm2(x))))


class AttendingDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(16, 32, 1)
        self.blocks = nn.Sequential(Attending(), Attending())
        self.head = nn.Linear(32, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.proj(x).flatten(2).transpose(1, 2)))


@pytest.mark.parametrize("kind", [ResidualDecoder, AttendingDecoder])
def test_residual_decoders_are_left_for_their_source(kind: type[nn.Module], encoder: nn.Module) -> None:
    """Alone, the first source would set what ends their branches to zero, or fill them itself."""

    class Both(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.encoder = Encoder(16, depth)
            self.decoder = kind()

        def forward(self, x: Tensor) -> Tensor:
            return self.decoder(self.encoder(x))

    target, second = made(Both, 3, 3), made(Both, 2, 1)
    report = transfer.transfer([encoder, second], target)
    assert report.coverage == 1
    assert same(target.encoder, encoder.body)
    assert same(target.decoder, second.decoder)


def test_a_source_that_supplies_nothing_changes_nothing(decoder: nn.Module) -> None:
    torch.manual_seed(0)
    stranger = nn.Sequential(nn.GRUCell(7, 9)).eval()
    target, alone = made(Segmenter, 3, 16, 1), made(Segmenter, 3, 16, 1)
    report = transfer.transfer([stranger, decoder], target)
    transfer.transfer(decoder, alone)
    assert same(target, alone)
    assert report.function is not None
    assert report.function.verdict == "equal"
    assert [round(supply.coverage, 6) for supply in report.supplies] == [0, 1]


def test_a_head_beside_the_decoder_is_not_taken_with_it(encoder: nn.Module) -> None:
    class WithHead(Segmenter):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__(width, depth)
            self.beside = nn.Conv2d(width, 7, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.encoder(x)
            return self.decoder(y), self.beside(y)

    target, second = made(WithHead, 3, 16, 3), made(WithHead, 2, 16, 1)
    before = target.beside.weight.detach().clone()
    report = transfer.transfer([encoder, second], target, options=transfer.Options(quiet_head=False))
    assert same(target.decoder, second.decoder)
    assert torch.equal(target.beside.weight, before)  # it reads the encoder, which is another network's
    assert {row.name for row in report.tensors if row.status == "fresh"} == {"beside.weight", "beside.bias"}


def test_a_list_of_one_is_one(encoder: nn.Module) -> None:
    alone, listed = made(Segmenter, 3), made(Segmenter, 3)
    rows = transfer.transfer(encoder, alone).tensors
    report = transfer.transfer([encoder], listed)
    assert report.tensors == rows
    assert not report.supplies
    assert same(alone, listed)
    assert transfer.plan([encoder], alone).tensors == transfer.plan(encoder, alone).tensors


def test_a_plan_names_the_suppliers(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    planned = transfer.plan([encoder, decoder], target, source_names=["a", "b"])
    assert [row.name for row in planned.tensors] == list(target.state_dict())
    assert {row.name: row.supplier for row in planned.tensors} == {
        name: "a" if name.startswith("encoder.") else "b" for name in target.state_dict()
    }
    assert planned.coverage == 1
    assert [supply["name"] for supply in planned.to_json()["supplies"]] == ["a", "b"]


def test_a_third_source_fills_what_two_leave() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder(16, 3)
            self.decoder = Decoder(16, 5)
            self.words = nn.Embedding(50, 12)
            self.mix = nn.GRUCell(12, 20)

        def forward(self, x: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
            return self.decoder(self.encoder(x)), self.mix(self.words(words))

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 12)
            self.cell = nn.GRUCell(12, 20)

        def forward(self, words: Tensor) -> Tensor:
            return self.cell(self.table(words))

    target, last = made(Three, 3), made(Words, 5)
    example = torch.zeros(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)
    report = transfer.transfer([made(Classifier, 1), made(Segmenter, 2, 16, 1), last], target, example=example)
    assert report.coverage == 1
    assert torch.equal(target.words.weight, last.table.weight)
    assert same(target.mix, last.cell)


def test_a_classifier_that_would_read_other_features_stays_fresh() -> None:
    first, second = made(Classifier, 1, 16, 3, 10), made(Classifier, 2, 16, 1, 7)
    target = made(Classifier, 3, 16, 3, 7)
    before = target.head.weight.detach().clone()
    report = transfer.transfer([first, second], target, options=transfer.Options(quiet_head=False))
    assert torch.equal(target.head.weight, before)
    assert report.supplies[1].coverage == 0
    assert {row.name for row in report.tensors if row.status == "fresh"} == {"head.weight", "head.bias"}


def test_tied_tensors_are_filled_once() -> None:
    class Tied(Segmenter):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.decoder[0]

    target, decoder = made(Tied, 3), made(Segmenter, 2, 16, 1)
    report = transfer.transfer([made(Classifier, 1), decoder], target)
    assert torch.equal(target.again.weight, decoder.decoder[0].weight)
    rows = {row.name: row for row in report.tensors}
    assert rows["again.weight"].tied_to == "decoder.0.weight"
    assert rows["again.weight"].supplier == "Segmenter"
    assert report.coverage == 1


def test_nothing_is_written_if_a_further_source_is_refused(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    decoder.decoder[2].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(TransferError, match=r"decoder\.2\.weight"):
        transfer.transfer([encoder, decoder], target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_least_coverage_is_that_of_all(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    with pytest.raises(CoverageError, match="'Classifier' fills"):
        transfer.transfer(encoder, target, min_coverage=0.99)
    transfer.transfer([encoder, decoder], target, min_coverage=0.99)
    with pytest.raises(CoverageError, match=r"'Classifier \+ Classifier \(2\)' fills"):
        transfer.transfer([encoder, encoder], target, min_coverage=0.999)


def test_sources_of_one_name_are_told_apart(encoder: nn.Module) -> None:
    report = transfer.transfer([encoder, made(Classifier, 7)], made(Segmenter, 3))
    assert [supply.name for supply in report.supplies] == ["Classifier", "Classifier (2)"]
    named = transfer.transfer([encoder, encoder], made(Segmenter, 3), source_name=["a", "a"])
    assert [supply.name for supply in named.supplies] == ["a", "a (2)"]
    names = ["a", "a", "a (2)"]
    third = transfer.transfer(
        [encoder, made(Segmenter, 5), made(Segmenter, 6)], made(Segmenter, 3), source_name=names
    )
    assert [supply.name for supply in third.supplies] == ["a", "a (3)", "a (2)"]
    assert sum(supply.coverage for supply in third.supplies) == pytest.approx(third.coverage)


def test_what_cannot_be_asked_with_several_sources_is_refused(encoder: nn.Module, decoder: nn.Module) -> None:
    target = made(Segmenter, 3)
    for ask in (transfer.plan, transfer.transfer):
        with pytest.raises(MethodError, match="one source with the published method, got 2"):
            ask([encoder, decoder], target, method="paper")
        with pytest.raises(InputError, match="at least one source"):
            ask([], target)
    with pytest.raises(InputError, match="source_name to be a list of 2, one for each source, got str"):
        transfer.transfer([encoder, decoder], target, source_name="a")
    with pytest.raises(InputError, match="source_structure to be a list of 2, one for each source, got 1"):
        transfer.transfer([encoder, decoder], target, source_structure=[encoder])
    with pytest.raises(InputError, match="source_names to be 2, one for each source, got 1"):
        transfer.plan([encoder, decoder], target, source_names=["a"])


def test_a_file_tells_as_many_classes_as_its_module(decoder: nn.Module) -> None:
    """A convolution in the end, in a file that does not say what the network returns."""
    for source in (decoder, decoder.state_dict()):
        rows = {row.name: row for row in transfer.plan(source, made(Segmenter, 3, 16, 1, 4)).tensors}
        assert rows["decoder.4.weight"].status == "fresh"
        assert "5 classes apart, the target 4" in rows["decoder.4.weight"].reason
        rows = {row.name: row for row in transfer.plan(source, made(Segmenter, 3, 16, 1)).tensors}
        assert rows["decoder.4.weight"].status == "copied"


def test_structures_belong_to_their_sources(encoder: nn.Module, decoder: nn.Module) -> None:
    states = [encoder.state_dict(), decoder.state_dict()]
    target = made(Segmenter, 3)
    with torch.device("meta"):
        structures = [Classifier(), Segmenter(16, 1)]
    report = transfer.transfer(states, target, source_structure=structures)
    assert report.coverage == 1
    assert same(target.decoder, decoder.decoder)


def test_what_is_left_keeps_its_blocks() -> None:
    architecture = transfer.standardize(made(Segmenter, 3))
    names = {tensor.name for tensor in architecture.tensors() if not tensor.name.startswith("encoder.2.conv1")}
    left = left_of(architecture, names - {"encoder.0.bias"})
    paths = [layer.path for layer in left.layers()]
    assert "encoder.0" not in paths  # a layer that is filled in part is not left
    assert "encoder.2.conv1" not in paths
    assert {"encoder.2.bn1", "encoder.2.conv2"} <= set(paths)
    assert sum(isinstance(item, Block) for item in left.items) == sum(
        isinstance(item, Block) for item in architecture.items
    )
