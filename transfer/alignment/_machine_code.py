"""Compiled kernels without waiting for the compiler: machine code is kept in a file and loaded as it is.

Importing numba and letting it load its own cache takes half a second, longer than ranking a whole zoo. So numba
compiles the kernels once, to functions of pointers and numbers, and llvmlite (which numba stands on) turns them
into one object file; later processes load that file by llvmlite alone, in a twentieth of the time. The file's name
says what it was made from: the source of the kernels, the processor and llvmlite's version. Where no folder can be
written, every process compiles anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from transfer.alignment import _kernel_source
from transfer.weights.files import replacing

__all__ = ["cached_file", "kernels"]

_FOLDER = "zoo-kernels"
_POINTERS = {"int64*": ctypes.c_void_p, "float64*": ctypes.c_void_p, "bool*": ctypes.c_void_p}
_TYPES: dict[str, Any] = {"void": None, "int64": ctypes.c_int64, "float64": ctypes.c_double, **_POINTERS}


@cache
def kernels() -> dict[str, Callable[..., Any]]:
    """Return the compiled kernels by name; they take addresses and numbers, and release the interpreter lock."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, reloc="pic"
    )
    file = _file(llvm)
    code = _read(file)
    if code is None:
        compiled = _compile()
        code = _object(llvm, machine, compiled)
        if code is None:  # it needs numba around it
            _kept.append(compiled)
            return {name: _callable(name, function.address) for name, function in compiled.items()}
        _write(file, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _kept.append(engine)
    return {name: _callable(name, engine.get_function_address(_symbol(name))) for name in _kernel_source.SIGNATURES}


_kept: list[Any] = []
"""Code lives as long as what made it."""


def _callable(name: str, address: int) -> Callable[..., Any]:
    result, arguments = _kernel_source.SIGNATURES[name]
    return ctypes.CFUNCTYPE(_TYPES[result], *(_TYPES[argument] for argument in arguments.split()))(address)


def cached_file() -> Path | None:
    """Return the file that the kernels are loaded from; None where no folder can be written."""
    import llvmlite.binding as llvm

    kernels()
    file = _file(llvm)
    return file if _read(file) is not None else None


def _symbol(name: str) -> str:
    return f"zoo_{name}"


def _file(llvm: Any) -> Path | None:
    """Find the object file, or where to put it: the first folder that has it or can be written."""
    source = Path(_kernel_source.__file__).read_bytes()
    machine = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()} {sys.platform}"
    versions = ".".join(map(str, llvm.llvm_version_info))
    key = hashlib.sha256(b"\0".join([source, machine.encode(), versions.encode()])).hexdigest()[:24]
    folders = [folder / f"{key}.o" for folder in _folders()]
    return next((file for file in folders if os.path.isfile(file)), None) or next(
        (file for file in folders if _can_write(file.parent)), None
    )


def _folders() -> list[Path]:
    """Where machine code may lie: where numba would keep its own, beside this file, or in the user's cache."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen) / _FOLDER]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(__file__).parent / "__pycache__", Path(home) / _FOLDER]


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _read(file: Path | None) -> bytes | None:
    """Read machine code; None unless it is whole: damaged code would crash the process."""
    try:
        content = file.read_bytes() if file else b""
    except OSError:
        return None
    code = content[32:]
    return code if code and hashlib.sha256(code).digest() == content[:32] else None


def _write(file: Path | None, code: bytes) -> None:
    if file is None:
        return
    try:
        with replacing(file) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
    except OSError:  # then the next process compiles again
        return


def _compile() -> dict[str, Any]:
    """Compile the kernels by numba, to functions with plain C signatures."""
    import numba
    from numba import carray, types  # type: ignore[attr-defined]

    of = {"void": types.void, "int64": types.int64, "float64": types.float64}
    pointer: Any = types.CPointer
    of |= {f"{name}*": pointer(type_) for name, type_ in (*of.items(), ("bool", types.boolean))}
    compiled = {}
    with _as_usual(numba.config):
        for name, function in _kernel_source.define(numba.njit(error_model="numpy"), carray).items():
            result, arguments = _kernel_source.SIGNATURES[name]
            signature = of[result](*(of[argument] for argument in arguments.split()))
            compiled[name] = numba.cfunc(signature, error_model="numpy")(function)
    return compiled


@contextmanager
def _as_usual(config: Any) -> Iterator[None]:
    """Compile as if nothing were said of numba: its settings are for the user's own functions."""
    usual = {"DISABLE_JIT": 0, "DEBUGINFO_DEFAULT": 0, "BOUNDSCHECK": None, "OPT": type(config.OPT)(3)}
    before = {name: getattr(config, name) for name in usual}
    try:
        for name, value in usual.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def _object(llvm: Any, machine: Any, compiled: dict[str, Any]) -> bytes | None:
    """Make one object file of the kernels; None if they need more than themselves.

    What numba adds to report errors to Python goes when all is optimized as a whole, for no kernel can fail.
    """
    module = llvm.parse_assembly("")
    for name, function in compiled.items():
        part = llvm.parse_assembly(function.inspect_llvm())
        part.get_function(function.native_name).name = _symbol(name)
        module.link_in(part)
    for function in module.functions:
        if not function.is_declaration and not function.name.startswith(_symbol("")):
            function.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    needed = [function.name for function in module.functions if function.is_declaration]
    is_whole = all(name.startswith(("llvm.", "mem")) for name in needed)
    return bytes(machine.emit_object(module)) if is_whole else None
