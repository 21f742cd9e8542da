"""Runs a stranger's code such that nothing of it reaches the caller.

A forward method may fail, exit, print, draw random numbers, change settings of torch, keep tensors in its class,
or call modules of the original by way of a closure. What it does outside of Python, and in the globals of its own
module, is not held back.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_modules

__all__ = ["careful", "isolated", "restorer_of"]

P = ParamSpec("P")
R = TypeVar("R")

_ONE_AT_A_TIME = threading.RLock()
"""What is set here is global."""


def careful(
    default: Any,
) -> Callable[[Callable[Concatenate[nn.Module, P], R]], Callable[Concatenate[nn.Module, P], R]]:
    """Answer `default` whatever the first argument, a module, does; leave everything as it was."""

    def wrapped(ask: Callable[Concatenate[nn.Module, P], R]) -> Callable[Concatenate[nn.Module, P], R]:
        @wraps(ask)
        def answer(module: nn.Module, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with isolated(module):
                try:
                    return ask(module, *args, **kwargs)
                except KeyboardInterrupt:
                    raise
                except BaseException:  # its own way to copy, to list or to name its parts, to exit
                    result: R = default
                    return result

        return answer

    return wrapped


@contextmanager
def isolated(module: nn.Module) -> Iterator[None]:
    """Run in known surroundings: torch as it is when started, seeded, without the caller's hooks."""
    with _ONE_AT_A_TIME, ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))  # where the command line writes its JSON
        stack.enter_context(warnings.catch_warnings())
        stack.callback(restorer_of(module))
        stack.callback(_restore_settings())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.inference_mode(False))
        if "torch._dynamo" in sys.modules:  # a compiled network is run as it was written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        warnings.simplefilter("ignore")
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        torch.default_generator.manual_seed(0)  # that of the CPU alone
        yield


def _restore_settings() -> Callable[[], None]:
    """Remember what is global; return what puts it back."""
    python, numpy = random.getstate(), np.random.get_state()
    dtype, grad, n_threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    kept_flags = cudnn.benchmark, cudnn.deterministic
    precision, anomalies = torch.get_float32_matmul_precision(), torch.is_anomaly_enabled()
    printing, errors = dict(vars(torch._tensor_str.PRINT_OPTS)), np.geterr()
    hooks = [value for name, value in vars(torch_modules).items() if _is_global_hooks(name, value)]
    kept = [dict(value) for value in hooks]
    for value in hooks:
        value.clear()

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != n_threads:
            torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        cudnn.benchmark, cudnn.deterministic = kept_flags
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        torch.autograd.set_detect_anomaly(anomalies)
        vars(torch._tensor_str.PRINT_OPTS).update(printing)
        np.seterr(**errors)
        for value, before in zip(hooks, kept, strict=True):
            value.clear()
            value.update(before)

    return restore


def _is_global_hooks(name: str, value: Any) -> bool:
    return name.startswith("_global_") and isinstance(value, dict)


def restorer_of(module: nn.Module) -> Callable[[], None]:
    """Remember what a stranger's classes and modules hold, buffers and modes; return what puts it back.

    Parameters are too large to keep; nothing that runs without gradients has reason to write to them.
    """
    parts = list(module.modules())
    training = [part.training for part in parts]
    strange = [part for part in parts if not _is_torch(type(part))]
    classes = {cls for part in strange for cls in type(part).__mro__ if cls is not object and not _is_torch(cls)}
    owners = [*strange, *classes]
    attributes = [{name: (value, _copied(value)) for name, value in vars(owner).items()} for owner in owners]
    buffers = [buffer for part in parts for buffer in _buffers(part)]
    values = [(buffer._version, buffer.detach().clone()) for buffer in buffers]

    def restore() -> None:
        for owner, before in zip(owners, attributes, strict=True):
            _restore_attributes(owner, before)
        for part, mode in zip(parts, training, strict=True):
            part.training = mode
        with torch.no_grad(), torch.inference_mode(False):
            for buffer, (version, value) in zip(buffers, values, strict=True):
                if buffer._version != version:
                    buffer.copy_(value)

    return restore


def _is_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.")


def _copied(value: Any) -> Any:
    return value.copy() if type(value) in (dict, list, set, OrderedDict) else None


def _restore_attributes(owner: Any, before: dict[str, tuple[Any, Any]]) -> None:
    now = vars(owner)
    for name in [name for name in now if name not in before and not name.startswith("__")]:
        delattr(owner, name) if isinstance(owner, type) else now.pop(name)
    for name, (value, content) in before.items():
        if now.get(name) is not value:
            setattr(owner, name, value) if isinstance(owner, type) else now.__setitem__(name, value)
        if content is not None and _members(value) != _members(content):
            value.clear()
            value.extend(content) if isinstance(value, list) else value.update(content)


def _members(value: Any) -> Any:
    """Tell which objects a collection holds; what they are equal to is up to them."""
    if isinstance(value, dict):
        return [(id(key), id(item)) for key, item in value.items()]
    return [id(item) for item in value] if isinstance(value, list) else {id(item) for item in value}


def _buffers(part: nn.Module) -> Iterator[torch.Tensor]:
    return (buffer for buffer in part._buffers.values() if buffer is not None and not buffer.is_inference())
