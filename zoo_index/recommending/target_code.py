"""Networks that are code: a file or a module is run, and what it defines is built.

It is only ever code that the user typed the name of.
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

if TYPE_CHECKING:
    from torch import nn


__all__ = ["build_from_code"]

_FACTORIES = ("build_model", "make_model", "model")
_EXAMPLE = "example_input"

_siblings: dict[str, str] = {}
"""Modules that target files imported from beside them, and the folder of each."""


def build_from_code(path: str, attribute: str, device: str, example: object) -> nn.Module:
    """Run the code that a user named, and build the network in it.

    Parameters
    ----------
    path : str
        A file that ends in ``.py``, or the name of a module.
    attribute : str
        Class or function in it; empty for the one that is meant.
    device : str
    example : Tensor, tuple, mapping, str or None
        What the network takes; by default ``example_input`` of the code, if there is one.

    Raises
    ------
    TargetError
        If it cannot be run, or builds no network.
    """
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
    free = [name for name, value in classes.items() if not _needed(value)]  # the others are parts of something
    if len(classes) == 1 or len(free) == 1:
        name = free[0] if free else next(iter(classes))
        return name, classes[name]
    if not classes:
        raise TargetError(
            f"expected a network in '{path}', found no {', '.join(_FACTORIES)} and no torch.nn.Module class; "
            "add a function build_model() that returns the network"
        )
    raise TargetError(
        f"expected one torch.nn.Module class in '{path}' that needs no arguments, "
        f"found {_enumerate(sorted(classes))}; name one, e.g. {path}:{(free or list(classes))[-1]}, or add a "
        "function build_model()"
    )


def _needed(maker: Any) -> list[str]:
    """Names of the arguments without which nothing is built."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]


def _check_arguments(maker: Any, name: str, path: str) -> None:
    needed = _needed(maker)
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
