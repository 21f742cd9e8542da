"""What a user may name as target, and what is said where that is no network."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from transfer.errors import CheckpointError, TargetError
from transfer.weights.checkpoint import Checkpoint, save_module
from zoo_index.errors import UnknownNameError
from zoo_index.recommending.targets import build_target, open_target, split_code

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(3, width)
"""
SECOND = NET.replace("Net", "Other").replace("width=4", "width=5")


def written(folder: Path, text: str, name: str = "net.py") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def width(spec: str) -> int:
    """Build a network both ways and return the width of its layer."""
    module, on_cpu = open_target(spec), build_target(spec)
    assert isinstance(module, nn.Module)
    assert {t.device.type for t in on_cpu.state_dict().values()} == {"cpu"}
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in (module, on_cpu)]
    assert shapes[0] == shapes[1]
    return next(iter(shapes[0].values()))[0]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("net.py", ("net.py", "")),
        ("net.py:Net", ("net.py", "Net")),
        ("a/b.py:make_net", ("a/b.py", "make_net")),
        ("package.module:Net", ("package.module", "Net")),
        ("resnet50", None),
        ("resnet50.a1_in1k", None),
        ("weights.pth", None),
        ("net.py:", None),
        ("net.py:My-Net", None),
        (":Net", None),
    ],
)
def test_split_code(spec: str, parts: tuple[str, str] | None) -> None:
    assert split_code(spec) == parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NET, 4),
        (NET + SECOND + "def build_model():\n    return Other(7)\n", 7),
        (NET + SECOND + "def make_model(width=8):\n    return Net(width)\n", 8),
        (NET + SECOND + "model = Other(9)\n", 9),
        (NET + "model = Net(3)\ndef make_model():\n    return Net(2)\ndef build_model():\n    return Net(1)\n", 1),
        (NET + SECOND + "build_model = Net\n", 4),
        (NET + "import functools\nbuild_model = functools.partial(Net, 6)\n", 6),
        (NET + "def build_model(*args, **kwargs):\n    return Net(*args, **kwargs)\n", 4),
        (NET + SECOND.replace("width=5", "width"), 4),
        (NET + "from torch.nn import Linear\nbuild_model = lambda: Linear(2, 5)\n", 5),
    ],
    ids=[
        "class",
        "build_model",
        "make_model",
        "model",
        "order",
        "class_factory",
        "partial",
        "any",
        "parts",
        "lambda",
    ],
)
def test_a_file_without_a_name(tmp_path: Path, text: str, expected: int) -> None:
    assert width(written(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("Net", 4), ("Other", 5), ("make_wide", 64), ("ready", 2), ("build_model", 1)]
)
def test_a_name_in_a_file(tmp_path: Path, name: str, expected: int) -> None:
    rest = "def make_wide():\n    return Net(64)\nready = Net(2)\ndef build_model():\n    return Net(1)\n"
    assert width(written(tmp_path, NET + SECOND + rest) + f":{name}") == expected


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, NET, "nets/net.py")
    monkeypatch.chdir(tmp_path)
    assert width("nets/net.py") == width("./nets/net.py:Net") == 4


def test_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "", "zoo_test_package/__init__.py")
    written(tmp_path, NET + SECOND, "zoo_test_package/inner.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    try:
        assert width("zoo_test_package.inner:Other") == 5
    finally:
        for name in ("zoo_test_package", "zoo_test_package.inner"):
            sys.modules.pop(name, None)


def test_a_module_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, NET, "zoo_test_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert width("zoo_test_module:Net") == 4
    finally:
        sys.modules.pop("zoo_test_module", None)


def test_a_timm_name_is_built_on_the_meta_device() -> None:
    module = open_target("test_resnet")
    assert isinstance(module, nn.Module)
    assert all(tensor.is_meta for tensor in module.state_dict().values())
    assert not any(tensor.is_meta for tensor in build_target("test_resnet.r160_in1k").state_dict().values())


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "weights"])
def test_a_checkpoint(tmp_path: Path, name: str) -> None:
    save_module(nn.Linear(3, 2), tmp_path / name, {})
    checkpoint = open_target(str(tmp_path / name))
    assert isinstance(checkpoint, Checkpoint)
    assert list(checkpoint.header) == ["weight", "bias"]
    with pytest.raises(TargetError, match="is a checkpoint without a module; give a Python file that builds it"):
        build_target(str(tmp_path / name))


def test_a_missing_checkpoint() -> None:
    with pytest.raises(CheckpointError, match=r"found nothing at 'nosuch\.pth'"):
        open_target("nosuch.pth")


VALUES = (
    NET + "        self.n = int(self.fc.weight.sum().item() * 0) + 2\n        self.out = nn.Linear(self.n, 2)\n"
)


def test_a_network_that_needs_values_is_built_on_the_cpu(tmp_path: Path) -> None:
    module = open_target(written(tmp_path, VALUES))
    assert isinstance(module, nn.Module)
    assert {t.device.type for t in module.state_dict().values()} == {"cpu"}
    assert open_target(written(tmp_path, NET, "plain.py")).fc.weight.is_meta


def test_the_path_is_restored_and_helpers_are_found(tmp_path: Path) -> None:
    before = list(sys.path)
    written(tmp_path, NET, "zoo_test_helper.py")
    early = "import sys\nsys.path.append('elsewhere')\nfrom zoo_test_helper import Net\n"
    late = "def build_model():\n    from zoo_test_helper import Net\n    return Net(6)\n"
    assert width(written(tmp_path, late, "late.py")) == 6
    assert sys.path == before
    assert width(written(tmp_path, early + "build_model = Net\n", "early.py")) == 4
    assert sys.path == before
    with pytest.raises(TargetError, match="raised ZeroDivisionError"):
        open_target(written(tmp_path, early + "1 / 0\n", "broken.py"))
    assert sys.path == before
    assert width(written(tmp_path, NET + "import sys\nsys.path = sys.path[1:]\n")) == 4
    assert sys.path == before


def test_two_targets_have_helpers_of_the_same_name(tmp_path: Path) -> None:
    target = "from zoo_test_blocks import Net as Base\nclass Mine(Base):\n    pass\n"
    for folder, text in (("a", NET), ("b", NET.replace("width=4", "width=6"))):
        written(tmp_path, text, f"{folder}/zoo_test_blocks.py")
        written(tmp_path, target, f"{folder}/net.py")
    a, b = str(tmp_path / "a" / "net.py"), str(tmp_path / "b" / "net.py")
    assert [width(a), width(b), width(a)] == [4, 6, 4]


def test_what_a_target_prints_stays_off_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_target(
        written(tmp_path, NET + "print('at import')\ndef build_model():\n    print('built')\n    return Net()\n")
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["at import", "built"]


MAKER = NET + "\ndef build_model():\n    "
BAD = {
    "raises": (
        NET + "raise RuntimeError('no\\nluck')\n",
        "net.py",
        r"raised RuntimeError: no luck \(line 8\); mend",
    ),
    "imports": ("import zoo_nosuch\n" + NET, "net.py", r"No module named 'zoo_nosuch' \(line 1\)"),
    "syntax": (NET + "def broken(:\n    pass\n", "net.py", r"raised SyntaxError: invalid syntax \(line 8\); mend"),
    "bracket": ("x = (1,\n", "net.py", r"raised SyntaxError: '\(' was never closed \(line 1\)"),
    "indent": ("if True:\nx = 1\n", "net.py", r"raised IndentationError: .* \(line 2\)"),
    "nulls": ("x = 1\0\n", "net.py", r"raised \w+: source code .* null bytes"),
    "exits": ("import sys\nsys.exit(3)\n" + NET, "net.py", r"called exit\(3\) \(line 2\)"),
    "exits_silently": (NET + "raise SystemExit\n", "net.py", r"called exit\(None\)"),
    "nothing": (
        "x = 1\n",
        "net.py",
        r"no build_model, .* and no torch\.nn\.Module class; add a function build_model",
    ),
    "empty": ("", "net.py", "expected a network in"),
    "imported_only": ("from torch.nn import Linear\n", "net.py", r"no torch\.nn\.Module class"),
    "several": (NET + SECOND, "net.py", r"found Net, Other; name one, e\.g\. .*net\.py:Other, or add a function"),
    "arguments": (NET.replace("width=4", "width, a, *, b"), "net.py", "it needs width, a, b; give them defaults"),
    "factory_arguments": (NET + "def make_model(n):\n    ...\n", "net.py", r"make_model\(\) .* it needs n;"),
    "number": (MAKER + "return 3\n", "net.py", r"build_model\(\) in .* torch\.nn\.Module, got int"),
    "returns_none": (MAKER + "Net()\n", "net.py", "got NoneType"),
    "returns_class": (MAKER + "return Net\n", "net.py", r"return a torch\.nn\.Module, got type"),
    "no_factory": (NET + "build_model = 3\n", "net.py", r"expected 'build_model' in .*, got int"),
    "missing_name": (NET + SECOND, "net.py:Nett", r"expected 'Nett' in .*, found Net, Other; check the name"),
    "missing_any": ("x = 1\n", "net.py:Net", r"expected 'Net' in .*, found nothing of the kind"),
    "not_callable": (NET + "x = [1]\n", "net.py:x", r"expected 'x' in .* torch\.nn\.Module, .* got list"),
    "other_class": ("class Net:\n    pass\n", "net.py:Net", r"return a torch\.nn\.Module, got Net"),
    "factory_raises": (MAKER + "return Net('a')\n", "net.py", r"raised TypeError: .* \(line 7\); mend"),
    "factory_exits": (MAKER + "exit(4)\n", "net.py", r"build_model\(\) .* called exit\(4\) \(line 10\)"),
    "lazy": ("from torch import nn\nmodel = nn.LazyLinear(3)\n", "net.py", "lazy 'weight' has none yet; add"),
    "odd_name": (NET, "net.py:My-Net", r"expected file\.py or file\.py:Name"),
    "no_name": (NET, "net.py:", r"expected file\.py or file\.py:Name"),
}


@pytest.mark.parametrize(("text", "spec", "message"), BAD.values(), ids=BAD)
def test_bad_files(tmp_path: Path, text: str, spec: str, message: str) -> None:
    written(tmp_path, text)
    for call in (open_target, build_target):
        with pytest.raises(TargetError, match=message) as caught:
            call(f"{tmp_path}/{spec}")
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["x = 1\n1 / 0\n", "x = 1\nx x\n", "\ndef build_model():\n    1 / 0\n"])
def test_lines_are_named_for_relative_paths_and_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    written(tmp_path, text)
    (tmp_path / "link.py").symlink_to("net.py")
    (tmp_path / "folder").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    for spec in ("net.py", "./net.py", "link.py", "folder/net.py"):
        with pytest.raises(TargetError, match=r"\(line [23]\)"):
            open_target(spec)


def test_an_error_in_a_helper_names_both_places(tmp_path: Path) -> None:
    helper = written(tmp_path, "x = 1\n\nx x\n", "zoo_test_wrong.py")
    with pytest.raises(TargetError, match=rf"invalid syntax \(line 3 of {re.escape(helper)}\)"):
        open_target(written(tmp_path, "import zoo_test_wrong\n"))


def test_an_interrupt_is_not_swallowed(tmp_path: Path) -> None:
    for text in ("raise KeyboardInterrupt('now')\n", "def build_model():\n    raise KeyboardInterrupt('now')\n"):
        with pytest.raises(KeyboardInterrupt, match="now"):
            open_target(written(tmp_path, text))


def test_missing_and_odd_paths(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for spec, message in {
        f"{tmp_path}/nosuch.py": r"expected a Python file at '.*nosuch\.py', found nothing; check the path",
        f"{tmp_path}/nosuch.py:Net": r"expected a Python file at '.*nosuch\.py', found nothing",
        f"{tmp_path}/folder.py": "found a folder",
        str(tmp_path): "is a folder; name the file in it",
        f"{tmp_path}/nosuch": "expected a target file, found nothing at .*nosuch'; check the path",
        f"{tmp_path}{os.sep}": "is a folder",
        f"{tmp_path}/{'n' * 300}": "found nothing",
        f"{tmp_path}/{'n' * 300}.py": "found nothing",
    }.items():
        with pytest.raises(TargetError, match=message):
            open_target(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "zoo_nosuch.module:Net",
            r"importable module 'zoo_nosuch\.module', got: No module named 'zoo_nosuch'; check",
        ),
        ("..:Net", r"expected module '\.\.' to import"),
        ("json:JSONDecoder", r"return a torch\.nn\.Module, got JSONDecoder"),
        ("json:nosuch", "expected 'nosuch' in 'json', found nothing of the kind"),
        ("torch.nn:Linear", r"Linear\(\) in 'torch.nn' to need no arguments, it needs in_features, out_features"),
    ],
)
def test_bad_modules(spec: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        open_target(spec)


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "1 / 0\n", "zoo_test_raises.py")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with pytest.raises(
        TargetError, match="expected module 'zoo_test_raises' to import, it raised ZeroDivisionError"
    ):
        open_target("zoo_test_raises:Net")
    assert sys.path == before


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("resnet5O", "resnet50"),
        ("efficentnet_b0", "efficientnet_b0"),
        ("resnet_50", "resnet50"),
        ("Resnet18", "resnet18"),
        ("vit_base_patch16_244.augreg_in21k", "vit_base_patch16_224"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(spec: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"got {spec!r}, which timm .* lacks; did you mean .*{near}"):
        open_target(spec)


def test_a_name_unlike_any_other(tmp_path: Path) -> None:
    for spec in ("qqqqqqqqqq", "", ".", "a b"):
        with pytest.raises((UnknownNameError, TargetError), match="expected a"):
            open_target(spec)


def test_random_numbers_stay_as_the_caller_seeded_them(tmp_path: Path) -> None:
    spec = written(tmp_path, VALUES)
    torch.manual_seed(7)
    first = build_target(spec)
    torch.manual_seed(7)
    second = build_target(spec)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
