"""The target a user names: ``file.py``, ``file.py:Name``, ``package.module:Name``, a timm name, a checkpoint.

A target file is code and is run; it is only ever one that the user typed.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError, TargetError
from transfer.weights.files import check_path

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

__all__ = ["build_by_name", "build_target", "is_checkpoint", "is_path", "name_for", "open_target", "split_code"]

_FACTORIES = ("build_model", "make_model", "model")
_EXAMPLE = "example_input"
_CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".th")

_siblings: dict[str, str] = {}
"""Modules that target files imported from beside them, and the folder of each."""


def split_code(spec: str) -> tuple[str, str] | None:
    """Split a specification of code into file or module and name in it (may be empty); None if it is no code."""
    path, _, attribute = spec.rpartition(":")
    if spec.endswith(".py"):
        return spec, ""
    if path and attribute.isidentifier():
        return path, attribute
    return None


def name_for(spec: object) -> str:
    """Return what a target is called in answers: a name in code, a file's name, the class of a network."""
    if isinstance(spec, str | os.PathLike):
        _, attribute = split_code(str(spec)) or ("", "")
        return attribute or Path(spec).name
    file = getattr(spec, "path", None)
    return file.name if isinstance(file, Path) else type(spec).__name__


def open_target(spec: str, example: object = None) -> nn.Module | Checkpoint:
    """Resolve a target for matching; networks are built on the meta device where that works.

    Parameters
    ----------
    spec : str
        Code, a timm name or a checkpoint.
    example : Tensor, tuple, mapping or str, optional
        What the network takes (see `build_target`).

    Raises
    ------
    TargetError
        If it does not lead to exactly one network.
    UnknownNameError
        If it is no file and timm does not know it.
    CheckpointError
        If it is a file that cannot be read.
    InputError
        If there is an example and no network to run on it, or the network refuses it.
    """
    if split_code(spec) is None and is_checkpoint(spec):
        if example is not None:
            raise InputError(
                f"expected a network that can be run on an example input, '{spec}' is a checkpoint; leave the "
                "example (--input) out, or give the code of the network"
            )
        from transfer.weights.checkpoint import open_checkpoint

        return open_checkpoint(spec)
    return build_target(spec, device="meta", example=example)


def build_target(spec: str, *, device: str = "cpu", example: object = None) -> nn.Module:
    """Build the network that a specification names, freshly initialised.

    Parameters
    ----------
    spec : str
        Code or a timm name.
    device : str
        ``meta`` for shapes only; a network that cannot be built there is built on the CPU.
    example : Tensor, tuple, mapping or str, optional
        What the network takes (see `transfer.plan`); by default what a function ``example_input()`` beside it
        returns, if there is one.

    Raises
    ------
    TargetError, UnknownNameError, InputError
        As `open_target`; also for a checkpoint, which has no module to write into.
    """
    check_path(spec)
    code = split_code(spec)
    network = _build_from_code(*code, device, example) if code is not None else build_by_name(spec, device)
    if example is not None:
        from transfer.tracing.given import give_example

        give_example(network, example)
    return network


def build_by_name(spec: str, device: str) -> nn.Module:
    """Build the network that timm or torchvision know by a name; nothing else is run.

    Parameters
    ----------
    spec : str
    device : str
        As for `build_target`.

    Raises
    ------
    TargetError
        If it is no name.
    UnknownNameError
        If neither knows it.
    """
    if is_checkpoint(spec):
        raise TargetError(
            f"expected a network to write into, '{spec}' is a checkpoint without a module; "
            "give a Python file that builds it, or a timm name"
        )
    if _of_torchvision(spec):
        from zoo_index.catalogues import torchvision_catalogue

        return torchvision_catalogue.build(spec, device=device)
    _check_not_a_path(spec)
    from zoo_index.catalogues import timm_catalogue

    return timm_catalogue.build(spec, device=device)


def _of_torchvision(spec: str) -> bool:
    return spec.startswith("torchvision/") and not os.path.exists(spec)


def is_checkpoint(spec: str) -> bool:
    """Whether a specification means a file of weights: by its suffix, or because it is a file."""
    return spec.endswith(_CHECKPOINT_SUFFIXES) or os.path.isfile(spec)


def is_path(spec: str) -> bool:
    """Whether a specification can only mean a place on disk, not a name of the index or of timm."""
    return is_checkpoint(spec) or os.path.isdir(spec) or bool(set(spec) & set("/\\"))


def _check_not_a_path(spec: str) -> None:
    if ".py:" in spec:
        raise TargetError(
            f"expected file.py or file.py:Name, got '{spec}'; give the Python name of a class or function"
        )
    if os.path.isdir(spec):
        raise TargetError(f"expected a file or a name as target, '{spec}' is a folder; name the file in it")
    if "/" in spec or "\\" in spec:
        raise TargetError(f"expected a target file, found nothing at '{spec}'; check the path")


def _build_from_code(path: str, attribute: str, device: str, example: object) -> nn.Module:
    is_file = path.endswith(".py")
    with _importing_from(str(Path(path).resolve().parent) if is_file else ""):
        module = _load_file(Path(path)) if is_file else _load_module(path)
        name, maker = _pick(module, attribute, path)
        network = _check_network(_make(module, name, maker, path, device), name, path)
        if example is None and hasattr(module, _EXAMPLE):
            _give_own_example(network, module, path)
        return network


def _give_own_example(network: nn.Module, module: ModuleType, path: str) -> None:
    """Take what the code says its network is run on."""
    from transfer.tracing.given import give_example

    maker = getattr(module, _EXAMPLE)
    if not callable(maker):
        raise TargetError(
            f"expected {_EXAMPLE!r} in '{path}' to be a function that returns what the network takes, "
            f"got {type(maker).__name__}"
        )
    _check_arguments(maker, _EXAMPLE, path)
    made = _run(maker, _EXAMPLE, path, module, "to return what the network takes")
    try:
        give_example(network, made)
    except InputError as error:
        raise TargetError(f"{error} (from {_EXAMPLE}() in '{path}')") from error


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    """Look for modules in a folder first, also while the network is built; what the code prints goes to stderr."""
    for name, home in list(_siblings.items()):
        if home != folder:  # another target's module of the same name must not be taken for this one's
            sys.modules.pop(name, None)
            del _siblings[name]
    path, known = list(sys.path), set(sys.modules)
    sys.path.insert(0, folder)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = path
        if folder:
            _siblings.update((name, folder) for name in set(sys.modules) - known if _lies_in(name, folder))


def _lies_in(name: str, folder: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    top = Path(folder, name.partition(".")[0])
    return file is not None and (Path(file) == top.with_name(top.name + ".py") or top in Path(file).parents)


def _make(module: ModuleType, name: str, maker: Any, path: str, device: str) -> Any:
    from torch import nn

    if isinstance(maker, nn.Module):
        return maker
    if not callable(maker):
        raise TargetError(
            f"expected {name!r} in '{path}' to be a torch.nn.Module, its class or a function that returns one, "
            f"got {type(maker).__name__}"
        )
    _check_arguments(maker, name, path)
    return _call(maker, name, path, module, device)


def _check_network(network: Any, name: str, path: str) -> nn.Module:
    from torch import nn
    from torch.nn.parameter import is_lazy

    if not isinstance(network, nn.Module):
        raise TargetError(
            f"expected {name}() in '{path}' to return a torch.nn.Module, got {type(network).__name__}"
        )
    for tensor_name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if is_lazy(tensor):
            raise TargetError(
                f"expected shapes for every tensor of {name!r} in '{path}', lazy {tensor_name!r} has none yet; "
                "add a function build_model() that runs the network once before it returns it"
            )
    return network


def _load_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "nothing"
        raise TargetError(f"expected a Python file at '{path}', found {what}; check the path")
    spec = importlib.util.spec_from_file_location(f"_zoo_target_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look the module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TargetError(f"expected '{path}' to run, it {_describe(error, path)}; mend the file") from error
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise TargetError(
            f"expected an importable module {name!r}, got: {error}; check the name, or give the file (file.py:Name)"
        ) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TargetError(
            f"expected module {name!r} to import, it {_describe(error, None)}; mend the module"
        ) from error


def _pick(module: ModuleType, attribute: str, path: str) -> tuple[str, Any]:
    from torch import nn

    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
    }
    if attribute:
        if not hasattr(module, attribute):
            known = [n for n in _FACTORIES if hasattr(module, n)] + sorted(classes)
            raise TargetError(f"expected {attribute!r} in '{path}', found {_enumerate(known)}; check the name")
        return attribute, getattr(module, attribute)
    for name in _FACTORIES:
        if hasattr(module, name):
            return name, getattr(module, name)
    if len(classes) == 1:
        return next(iter(classes.items()))
    if not classes:
        raise TargetError(
            f"expected a network in '{path}', found no {', '.join(_FACTORIES)} and no torch.nn.Module class; "
            "add a function build_model() that returns the network"
        )
    raise TargetError(
        f"expected one torch.nn.Module class in '{path}', found {_enumerate(sorted(classes))}; "
        f"name one, e.g. {path}:{sorted(classes)[0]}, or add a function build_model()"
    )


def _check_arguments(maker: Any, name: str, path: str) -> None:
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        more = "" if name == _EXAMPLE else ", or add a function build_model() that fills them in"
        raise TargetError(
            f"expected {name}() in '{path}' to need no arguments, it needs {_enumerate(needed)}; "
            f"give them defaults{more}"
        )


def _call(maker: Any, name: str, path: str, module: ModuleType, device: str) -> Any:
    import torch

    if device == "meta":
        try:
            with torch.device("meta"):
                return maker()
        except KeyboardInterrupt:
            raise
        except BaseException:  # code that looks at values cannot run without them; try with values
            pass
    with torch.device("cpu" if device == "meta" else device):
        return _run(maker, name, path, module, "to build a network")


def _run(maker: Any, name: str, path: str, module: ModuleType, purpose: str) -> Any:
    try:
        return maker()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        file = getattr(module, "__file__", None)
        raise TargetError(
            f"expected {name}() in '{path}' {purpose}, it {_describe(error, file and Path(file))}; mend the file"
        ) from error


def _describe(error: BaseException, path: Path | None) -> str:
    """Say on one line what was raised and, if it can be told, in which line of the user's file."""
    if isinstance(error, SystemExit):
        text = f"called exit({error.code!r})"
    else:
        message = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())[:300]
        text = f"raised {type(error).__name__}" + (f": {message}" if message else "")
    if isinstance(error, SyntaxError) and error.lineno:
        other = error.filename and (path is None or Path(error.filename).resolve() != path.resolve())
        return f"{text} (line {error.lineno}{f' of {error.filename}' if other else ''})"
    line = None
    trace = error.__traceback__
    while trace is not None:
        if path is not None and Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{text} (line {line})" if line else text


def _enumerate(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing of the kind"
