"""Vectors for compiled functions: several numbers of one kind that one instruction works on together.

Whether a compiler turns a loop into vector instructions hangs on how it is written, and differs with the number of
features: the same arithmetic took from 10 to 100 ms. Here the vectors are said outright. A vector holds 64 bytes,
sixteen float32 or eight float64; a processor with shorter registers works through it in parts, so there is one code
for all of them.

The functions take flat contiguous arrays and the number of the first element; nothing is checked, and alignment does
not matter. They can be called in functions compiled by numba only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, register_model

intrinsic: Any = _intrinsic
"""numba's, of which type checkers believe that it is called as it is written."""

BYTES = 64
"""Bytes in a vector of numbers."""

_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.boolean: ir.IntType(1),
}


class Vector(types.Type):
    """The type of a vector as numba knows it: so many numbers of one kind."""

    def __init__(self, element: Any, lanes: int) -> None:
        self.element = element
        self.lanes = lanes
        super().__init__(name=f"Vector({element}, {lanes})")

    @property
    def ir(self) -> ir.VectorType:
        """The type as LLVM knows it."""
        return ir.VectorType(_ELEMENTS[self.element], self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.ir)  # type: ignore[no-untyped-call]


def lanes(element: Any) -> int:
    """Return how many numbers of this numba type make a vector."""
    return int(BYTES * 8 // element.bitwidth)


@intrinsic
def load(context, array, place):  # type: ignore[no-untyped-def]
    """Return the vector of ``array[place]`` and those that follow it."""
    return _loaded(array, lanes(array.dtype))


@intrinsic
def load8(context, array, place):  # type: ignore[no-untyped-def]
    """Return eight numbers from ``array[place]`` on, of whatever kind."""
    return _loaded(array, 8)


@intrinsic
def load_like(context, array, place, like):  # type: ignore[no-untyped-def]
    """Return as many numbers from ``array[place]`` on as the vector ``like`` has, of whatever kind."""
    return _loaded(array, like.lanes, like)


@intrinsic
def store(context, array, place, vector):  # type: ignore[no-untyped-def]
    """Write a vector to ``array[place]`` and those that follow it."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], vector)
        builder.store(args[2], pointer).align = vector.element.bitwidth // 8
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), build


@intrinsic
def prefetch(context, array, place):  # type: ignore[no-untyped-def]
    """Ask for the cache line of ``array[place]``, to be read soon; it may lie beyond the array.

    It comes to the second cache: the first can wait for few lines at a time.
    """

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        byte, number = ir.IntType(8), ir.IntType(32)
        first = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(first, [args[1]]), ir.PointerType(byte))
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(byte), number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        to_be_read, second_cache, data = number(0), number(2), number(1)
        builder.call(function, [pointer, to_be_read, second_cache, data])
        return context.get_dummy_value()

    return types.none(array, types.intp), build


@intrinsic
def spread(context, number, like):  # type: ignore[no-untyped-def]
    """Return a vector as long as ``like`` that holds ``number`` everywhere."""
    vector = Vector(number, like.lanes)

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        none = ir.Constant(vector.ir, ir.Undefined)
        first = builder.insert_element(none, args[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, none, _mask([0] * vector.lanes))

    return vector(number, like), build


def _pairwise(name: str, doc: str) -> Any:
    def arithmetic(context, a, b):  # type: ignore[no-untyped-def]
        def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return getattr(builder, name)(*args)

        return a(a, b), build

    arithmetic.__doc__ = doc
    return intrinsic(arithmetic)


add = _pairwise("fadd", "Return a + b.")
subtract = _pairwise("fsub", "Return a - b.")
multiply = _pairwise("fmul", "Return a * b.")
divide = _pairwise("fdiv", "Return a / b.")


@intrinsic
def add_product(context, a, b, total):  # type: ignore[no-untyped-def]
    """Return a * b + total, in one rounding where the processor has an instruction for it."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(a.ir, [a.ir] * 3)
        name = f"llvm.fmuladd.v{a.lanes}f{a.element.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(function, args)

    return a(a, b, total), build


@intrinsic
def less(context, a, b):  # type: ignore[no-untyped-def]
    """Return where a < b; nowhere for NaN."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.fcmp_ordered("<", *args)

    return Vector(types.boolean, a.lanes)(a, b), build


@intrinsic
def select(context, where, yes, no):  # type: ignore[no-untyped-def]
    """Return ``yes`` where the first vector holds true, ``no`` elsewhere."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.select(*args)

    return yes(where, yes, no), build


@intrinsic
def widen(context, vector):  # type: ignore[no-untyped-def]
    """Return the numbers as float64."""
    wide = Vector(types.float64, vector.lanes)

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return args[0] if vector.element == types.float64 else builder.fpext(args[0], wide.ir)

    return wide(vector), build


def _shuffle(doc: str, places: Callable[[int], Sequence[int]]) -> Any:
    def shuffled(context, a, b):  # type: ignore[no-untyped-def]
        # Code for float32 is compiled for float64 too, though not run: there may not be so many.
        chosen = [place % (2 * a.lanes) for place in places(a.lanes)]
        result = Vector(a.element, len(chosen))

        def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return builder.shuffle_vector(args[0], args[1], _mask(chosen))

        return result(a, b), build

    shuffled.__doc__ = doc
    return intrinsic(shuffled)


# Each group of four numbers is shuffled by itself: that is what one cheap instruction can do.
join = _shuffle("Return the numbers of a, then those of b.", lambda n: range(2 * n))
low_pairs = _shuffle(
    "Return a0 b0 a1 b1 of each four.", lambda n: [i + s for g in range(0, n, 4) for i in (g, g + 1) for s in (0, n)]
)
high_pairs = _shuffle(
    "Return a2 b2 a3 b3 of each four.",
    lambda n: [i + s for g in range(0, n, 4) for i in (g + 2, g + 3) for s in (0, n)],
)
low_halves = _shuffle(
    "Return a0 a1 b0 b1 of each four.", lambda n: [i + s for g in range(0, n, 4) for s in (0, n) for i in (g, g + 1)]
)
high_halves = _shuffle(
    "Return a2 a3 b2 b3 of each four.",
    lambda n: [i + s for g in range(0, n, 4) for s in (0, n) for i in (g + 2, g + 3)],
)
even_fours = _shuffle(
    "Return the fours of a with even numbers, then those of b.",
    lambda n: [i + s for s in (0, n) for g in range(0, n, 8) for i in range(g, g + 4)],
)
odd_fours = _shuffle(
    "Return the fours of a with odd numbers, then those of b.",
    lambda n: [i + s for s in (0, n) for g in range(0, n, 8) for i in range(g + 4, g + 8)],
)

first_fours = _shuffle("Return the first four of a, then those of b.", lambda n: [*range(4), *range(n, n + 4)])
second_fours = _shuffle("Return the second four of a, then of b.", lambda n: [*range(4, 8), *range(n + 4, n + 8)])
third_fours = _shuffle("Return the third four of a, then of b.", lambda n: [*range(8, 12), *range(n + 8, n + 12)])
fourth_fours = _shuffle("Return the fourth four of a, then of b.", lambda n: [*range(12, 16), *range(n + 12, n + 16)])


def _loaded(array: Any, count: int, *others: Any) -> Any:
    vector = Vector(array.dtype, count)

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        loaded = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], vector))
        loaded.align = vector.element.bitwidth // 8
        return loaded

    return vector(array, types.intp, *others), build


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any, vector: Vector) -> Any:
    first = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [place]), ir.PointerType(vector.ir))


def _mask(places: Sequence[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
