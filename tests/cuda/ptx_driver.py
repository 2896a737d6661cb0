"""A GPU that is not there: numba's compiler is the real one, memory and launches are those of the twin.

Unlike numba's simulator, which runs the Python of the kernels, this runs what was compiled for a GPU: its types, its
addresses, its order of instructions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from numba import cuda, types
from numba.cuda import compiler, dispatcher

from tests.reference.ptx_twin import Kernel, Memory

MEMORY = Memory(2**26, 2**40)
CAPABILITY = (9, 0)


class Stream:
    """Work is done at once."""

    def synchronize(self) -> None:
        """Everything is done already."""


class DeviceArray:
    """An array in the memory of the GPU."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.dtype, self.shape, self.size, self.ndim = values.dtype, values.shape, values.size, values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> DeviceArray:
        assert isinstance(part, slice), "single values are not fetched from a GPU"
        return DeviceArray(self.values[part])

    def reshape(self, *shape: Any) -> DeviceArray:
        """Return the same memory in another shape."""
        return DeviceArray(self.values.reshape(*shape))

    def copy_to_host(self, *, stream: object = 0) -> Any:
        """Return a copy for the host."""
        return self.values.copy()

    def copy_to_device(self, source: Any, *, stream: object = 0) -> None:
        """Copy from the host, or from the GPU."""
        self.values[...] = source.values if isinstance(source, DeviceArray) else source


def device_array(shape: Any, dtype: Any = np.float64, *, stream: object = 0) -> DeviceArray:
    """Return an array of garbage."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return DeviceArray(MEMORY.allocate(size).view(dtype).reshape(shape))


def to_device(values: Any, *, stream: object = 0) -> DeviceArray:
    """Return a copy on the GPU."""
    values = np.asarray(values)
    there = device_array(values.shape, values.dtype)
    there.copy_to_device(values)
    return there


COMPILED: dict[Any, Kernel] = {}
"""By function and types."""


class Launcher:
    """A kernel with its blocks, threads, stream and bytes of shared memory."""

    def __init__(self, of: Any, launch: Any) -> None:
        self._of = of
        self._launch = (*launch, *(0,) * (4 - len(launch)))

    def __call__(self, *given: Any) -> None:
        signature = types.void(*(_type_of(one) for one in given))
        key = (self._of.py_func, signature)
        if key not in COMPILED:
            text, _ = cuda.compile_ptx(self._of.py_func, signature, cc=CAPABILITY)
            COMPILED[key] = Kernel(text)
        flat = [value for one in given for value in _flat(one)]
        blocks, threads, _, shared = self._launch
        COMPILED[key].run(MEMORY, flat, int(blocks), int(threads), int(shared))


def _type_of(given: Any) -> Any:
    if isinstance(given, DeviceArray):
        return types.Array(numba.from_dtype(given.dtype), given.ndim, "C")
    assert not isinstance(given, np.ndarray), "an array of the host is copied at every launch"
    return numba.typeof(given)


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, DeviceArray):
        values = given.values
        yield from (0, 0, values.size, values.itemsize, MEMORY.address(values), *values.shape, *values.strides)
    elif isinstance(given, tuple):
        yield from given
    else:
        yield given


@contextlib.contextmanager
def _nothing(*_: object) -> Iterator[None]:
    yield


def install() -> None:
    """Let numba.cuda use this GPU from now on."""
    for module in (compiler, dispatcher):
        module.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    dispatcher.CUDADispatcher.__getitem__ = lambda self, launch: Launcher(self, launch)
    for name, what in {
        "to_device": to_device, "device_array": device_array, "stream": Stream, "synchronize": lambda: None,
        "defer_cleanup": _nothing, "pinned": _nothing,
    }.items():  # fmt: skip
        setattr(cuda, name, what)
