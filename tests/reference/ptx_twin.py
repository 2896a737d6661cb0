"""What a compiler made for a GPU, run on the processor, one instruction at a time for all threads of a block.

A block's threads walk together; where they part, those at the earliest place go first, and all meet again where their
ways do. A barrier that only some of them reach, an address outside of every array, and one that is no multiple of what
is read there are errors, as they are on a GPU. So is it when threads meet in shared memory without a barrier between
them: on a GPU either may come first. Memory begins with garbage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Values = Any
Step = Callable[["Block", Values], None]

TYPES: dict[str, Any] = {
    "pred": np.bool_, "f32": np.float32, "f64": np.float64,
    **{f"{kind}{bits}": np.dtype(f"{letter}{bits // 8}")
       for kind, letter in (("s", "i"), ("u", "u"), ("b", "u")) for bits in (8, 16, 32, 64)},
}  # fmt: skip
REGISTERS = {"p": "pred", "r": "b32", "rd": "b64", "f": "f32", "fd": "f64", "rs": "b16"}
COMPARED: dict[str, Callable[[Values, Values], Values]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
    # True too where one of them is NaN.
    "equ": lambda a, b: ~((a < b) | (a > b)), "neu": np.not_equal, "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b), "gtu": lambda a, b: ~(a <= b), "geu": lambda a, b: ~(a < b),
}  # fmt: skip


class Memory:
    """Bytes from an address on, of which some belong to arrays."""

    def __init__(self, size: int, base: int) -> None:
        self.bytes = np.full(size, 0xFF, np.uint8)
        self.base = base
        self._owned = np.zeros(size, np.bool_)
        self._end = 0

    def allocate(self, size: int) -> Any:
        """Return bytes that begin at a multiple of 256, with a gap behind them."""
        first = self._end
        if first + size > len(self.bytes):
            raise MemoryError(f"{size:,} bytes")
        self._end = -(-(first + size) // 256) * 256 + 256
        self._owned[first : first + size] = True
        self.bytes[first : first + size] = 0xFF
        return self.bytes[first : first + size]

    def clear(self) -> None:
        """Forget all arrays."""
        self._owned[:] = False
        self._end = 0

    def address(self, array: Any) -> int:
        """Return where an array, a view of allocated bytes, begins."""
        there = array.__array_interface__["data"][0] - self.bytes.__array_interface__["data"][0]
        return self.base + int(there)

    def view(self, address: Values, mask: Values, dtype: Any, many: int) -> tuple[Values, Values]:
        """Return the memory as values, and the number of the first of ``many`` for each thread."""
        size = np.dtype(dtype).itemsize
        at = address.astype(np.int64) - self.base
        asked = at[mask]
        if asked.size:
            if (asked % (size * many)).any():
                raise ValueError(f"an address that is no multiple of {size * many} bytes")
            if asked.min() < 0 or asked.max() + size * many > len(self.bytes):
                raise IndexError("an address outside of the memory")
            if not (self._owned[asked].all() and self._owned[asked + size * many - 1].all()):
                raise IndexError("an address outside of every array")
        return self.bytes.view(dtype), np.where(mask, at // size, 0)


class Shared(Memory):
    """The memory of a block, which remembers who was where since the last barrier."""

    def __init__(self, size: int) -> None:
        super().__init__(-(-size // 16) * 16 + 16, 0)
        self.allocate(size)
        # For each four bytes: the barriers there had been when a thread last wrote or read, and the thread; many: -1.
        self._written, self._read = (np.full((2, len(self.bytes) // 4), -1) for _ in range(2))
        self.barriers = 0

    def visit(self, first: Values, mask: Values, words: int, *, writes: bool) -> None:
        """Note that each thread is at so many words from ``first`` on; raise where it meets another one."""
        threads = np.repeat(np.flatnonzero(mask), words)
        places = (first[mask][:, np.newaxis] + np.arange(words)).ravel()
        for there in (self._written, self._read) if writes else (self._written,):
            if ((there[0, places] == self.barriers) & (there[1, places] != threads)).any():
                raise RuntimeError("two threads at one place of shared memory, and no barrier between them")
        if writes and len(np.unique(places)) < len(places):
            raise RuntimeError("two threads write to one place of shared memory")
        own = self._written if writes else self._read
        several = (own[0, places] == self.barriers) & (own[1, places] != threads)
        order = np.argsort(places, kind="stable")
        twice = np.zeros(len(places), np.bool_)
        twice[order[1:]] = places[order[1:]] == places[order[:-1]]
        twice[order[:-1]] |= twice[order[1:]]
        own[1, places] = np.where(several | twice, -1, threads)
        own[0, places] = self.barriers


class Block:
    """A block of threads: registers, shared memory, and which of all blocks it is."""

    def __init__(self, kernel: Kernel, memory: Memory, arguments: Sequence[Any], launch: tuple[int, ...]) -> None:
        number, blocks, threads, shared = launch
        self.registers: list[Any] = [np.zeros(threads, TYPES[kind]) for kind in kernel.kinds]
        self.arguments = arguments
        self.shared = Shared(kernel.known + shared)
        self.memories = {"global": memory, "shared": self.shared}
        one = np.ones(threads, np.uint32)
        self.special = {
            "%tid.x": np.arange(threads, dtype=np.uint32), "%ctaid.x": number * one, "%nctaid.x": blocks * one,
            "%ntid.x": threads * one, "%dynamic_smem_size": shared * one,
        }  # fmt: skip
        self.alive = np.ones(threads, np.bool_)

    def put(self, register: int, value: Values, mask: Values) -> None:
        """Let the threads of the mask have a new value."""
        old = self.registers[register]
        value = np.asarray(value)
        if value.dtype != old.dtype:
            value = value.view(old.dtype) if value.dtype.itemsize == old.dtype.itemsize else value.astype(old.dtype)
        self.registers[register] = np.where(mask, value, old)


class Kernel:
    """The one kernel of a text."""

    def __init__(self, text: str) -> None:
        self.kinds: list[str] = []
        self._numbers: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._steps: list[tuple[str, Any]] = []
        body = text[text.index("{", text.index(".entry")) + 1 : text.rindex("}")]
        # Shared memory of a size that is known comes first; behind it is what a launch asks for.
        self._shared: dict[str, int] = {}
        self.known = 0
        for align, name, size in re.findall(r"\.shared \.align (\d+) \.b8 (\S+)\[(\d+)\];", text):
            self._shared[name] = -(-self.known // int(align)) * int(align)
            self.known = self._shared[name] + int(size)
        self.known = -(-self.known // 16) * 16
        lines = [line.split("//")[0].strip() for line in body.replace(";", ";\n").splitlines()]
        for line in " ".join(line + "\n" for line in lines).splitlines():
            word = line.strip()
            if word.endswith(":"):
                self._labels[word[:-1]] = len(self._steps)
            elif word and not word.startswith("."):
                self._steps.append(self._read(word.rstrip(";").strip()))

    def run(self, memory: Memory, arguments: Sequence[Any], blocks: int, threads: int, shared: int) -> None:
        """Run all blocks, one after the other."""
        for number in range(blocks):
            with np.errstate(all="ignore"):
                self._walk(Block(self, memory, arguments, (number, blocks, threads, shared)))

    def _walk(self, block: Block) -> None:
        waiting = {0: block.alive.copy()}
        while waiting:
            place = min(waiting)
            mask = waiting.pop(place)
            while True:
                kind, step = self._steps[place]
                if kind == "step":
                    step(block, mask)
                    place += 1
                elif kind == "barrier":
                    if not np.array_equal(mask, block.alive):
                        raise RuntimeError("a barrier that some threads do not reach")
                    block.shared.barriers += 1
                    place += 1
                else:
                    guard, label = step
                    leaving = mask if guard is None else mask & guard(block)
                    if kind == "exit":
                        block.alive &= ~leaving
                    elif leaving.any():
                        target = self._labels[label]
                        waiting[target] = waiting.get(target, False) | leaving
                    mask = mask & ~leaving
                    place += 1
                    if not mask.any():
                        break
                if waiting:
                    if place in waiting:
                        mask = mask | waiting.pop(place)
                    if waiting and min(waiting) < place:
                        waiting[place] = mask
                        break

    def _read(self, word: str) -> tuple[str, Any]:
        guard = None
        if word.startswith("@"):
            sign, register, word = re.match(r"@(!?)(%p\d+)\s+(.*)", word).groups()  # type: ignore[union-attr]
            number = self._number(register)
            guard = (lambda block: ~block.registers[number]) if sign else (lambda block: block.registers[number])
        name, _, rest = word.partition(" ") if " " in word else word.partition("\t")
        name, *kinds = name.split(".")
        given = [one.strip() for one in re.split(r",(?![^{]*})", rest.strip())] if rest.strip() else []
        if name == "bra":
            return "branch", (guard, given[0])
        if name in ("ret", "exit"):
            return "exit", (guard, None)
        if name in ("bar", "barrier"):
            return "barrier", None
        if guard is not None:
            raise NotImplementedError(word)
        return "step", self._made(name, kinds, given)

    def _number(self, register: str) -> int:
        if register not in self._numbers:
            kind = re.match(r"%([a-z]+)\d+$", register)
            if kind is None:
                raise NotImplementedError(register)
            self._numbers[register] = len(self.kinds)
            self.kinds.append(REGISTERS[kind[1]])
        return self._numbers[register]

    def _value(self, word: str, kind: str) -> Callable[[Block], Values]:
        """Return what reads an operand as values of a type."""
        dtype = np.dtype(TYPES[kind])
        if word in ("%tid.x", "%ctaid.x", "%nctaid.x", "%ntid.x", "%dynamic_smem_size"):
            return lambda block: block.special[word].view(dtype)
        if word.startswith("%"):
            number = self._number(word)
            same = np.dtype(TYPES[self.kinds[number]]).itemsize == dtype.itemsize
            if same:
                return lambda block: block.registers[number].view(dtype)
            return lambda block: block.registers[number].astype(dtype)
        if word[:2] in ("0f", "0F"):
            constant: Any = np.float32(struct.unpack(">f", bytes.fromhex(word[2:]))[0])
        elif word[:2] in ("0d", "0D"):
            constant = np.float64(struct.unpack(">d", bytes.fromhex(word[2:]))[0])
        elif re.match(r"-?\d", word):
            bits = 8 * dtype.itemsize
            constant = np.array(int(word) % 2**bits, f"u{bits // 8}").view(dtype)[()] if kind != "pred" else word != "0"
        else:
            # A name in shared memory.
            constant = dtype.type(self._shared.get(word, self.known))
        return lambda block: np.full(len(block.alive), constant)

    def _made(self, name: str, kinds: list[str], given: list[str]) -> Step:
        if name in ("ld", "st", "atom"):
            return self._moved(name, kinds, given)
        kind = kinds[-1]
        target = self._number(given[0])
        if name == "cvt":
            source, wanted = self._value(given[1], kind), np.dtype(TYPES[kinds[-2]])
            return lambda block, mask: block.put(target, source(block).astype(wanted), mask)
        if name == "cvta":
            source = self._value(given[1], kind)
            return lambda block, mask: block.put(target, source(block), mask)
        if name == "setp":
            a, b = (self._value(one, kind) for one in given[1:3])
            compare = COMPARED[kinds[0]]
            also = self._value(given[3], "pred") if len(given) > 3 else None
            if also is not None and kinds[1] not in ("and", "or"):
                raise NotImplementedError(f"setp.{'.'.join(kinds)}")

            def compared(block: Block, mask: Values) -> None:
                found = compare(a(block), b(block))
                if also is not None:
                    found = found & also(block) if kinds[1] == "and" else found | also(block)
                block.put(target, found, mask)

            return compared
        sources = [self._value(one, kind) for one in given[1:]]
        if name == "selp":
            sources[2] = self._value(given[3], "pred")
        if name in ("shl", "shr"):
            sources[1] = self._value(given[2], "u32")
        call = self._arithmetic(name, kinds, np.dtype(TYPES[kind]))
        return lambda block, mask: block.put(target, call(*(source(block) for source in sources)), mask)

    def _arithmetic(self, name: str, kinds: list[str], dtype: Any) -> Callable[..., Values]:
        bits = 8 * dtype.itemsize
        plain: dict[str, Callable[..., Values]] = {
            "mov": lambda a: a, "add": np.add, "sub": np.subtract, "neg": np.negative, "abs": np.abs,
            "min": np.fmin if dtype.kind == "f" else np.minimum, "max": np.fmax if dtype.kind == "f" else np.maximum,
            "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
            "selp": lambda a, b, p: np.where(p, a, b), "sqrt": np.sqrt,
            "shl": lambda a, by: np.where(by < bits, a << np.minimum(by, bits - 1).astype(dtype), dtype.type(0)),
            "shr": lambda a, by: np.where(
                (by < bits) | (dtype.kind == "i"), a >> np.minimum(by, bits - 1).astype(dtype), dtype.type(0)
            ),
        }  # fmt: skip
        if name in plain:
            return plain[name]
        if name in ("div", "rem"):
            if dtype.kind == "f":
                return np.divide
            return np.vectorize(_divided if name == "div" else _rest, otypes=[dtype])
        if name == "fma":
            return _fma32 if dtype == np.float32 else _fma64
        if name in ("mul", "mad"):
            if dtype.kind == "f":
                return np.multiply
            product = {
                "lo": np.multiply,
                "hi": np.vectorize(lambda a, b: int(a) * int(b) >> bits, otypes=[dtype]),
                "wide": lambda a, b: a.astype(f"{dtype.kind}{bits // 4}") * b.astype(f"{dtype.kind}{bits // 4}"),
            }[kinds[0]]
            return product if name == "mul" else lambda a, b, c: product(a, b) + c
        raise NotImplementedError(f"{name}.{'.'.join(kinds)}")

    def _moved(self, name: str, kinds: list[str], given: list[str]) -> Step:
        kind, space = kinds[-1], next(one for one in kinds if one in ("param", "global", "shared"))
        own = given[1] if name == "st" else given[0]
        parts = [one.strip() for one in own.strip("{}").split(",")]
        where = (given[0] if name == "st" else given[1]).strip("[]")
        if space == "param":
            number, target = int(re.search(r"_param_(\d+)$", where)[1]), self._number(own)  # type: ignore[index]
            dtype = np.dtype(TYPES[kind])
            return lambda block, mask: block.put(
                target, np.full(len(block.alive), np.array(block.arguments[number]).astype(dtype)), mask
            )
        base, _, offset = where.partition("+")
        address, dtype, many = self._value(base, "u64"), np.dtype(TYPES[kind]), len(parts)
        further = int(offset or 0)
        sources = [self._value(one, kind) for one in parts] if name == "st" else []
        targets = [] if name == "st" else [self._number(one) for one in parts]
        added = self._value(given[2], kind) if name == "atom" else None
        if name == "atom" and "add" not in kinds:
            raise NotImplementedError(f"atom.{'.'.join(kinds)}")

        def moved(block: Block, mask: Values) -> None:
            values, first = block.memories[space].view(address(block) + np.uint64(further % 2**64), mask, dtype, many)
            if space == "shared" and mask.any():
                words = dtype.itemsize * many // 4
                block.shared.visit(first * dtype.itemsize // 4, mask, words, writes=name == "st")
            for place, source in enumerate(sources):
                values[first[mask] + place] = source(block)[mask]
            if added is not None:
                before = np.zeros(len(mask), dtype)
                for thread in np.flatnonzero(mask):
                    before[thread] = values[first[thread]]
                    values[first[thread]] += added(block)[thread]
                block.put(targets[0], before, mask)
            elif targets:
                for place, target in enumerate(targets):
                    block.put(target, values[first + place * mask], mask)

        return moved


def _divided(a: Any, b: Any) -> int:
    return 0 if b == 0 else (abs(int(a)) // abs(int(b))) * (1 if (a < 0) == (b < 0) else -1)


def _rest(a: Any, b: Any) -> int:
    return 0 if b == 0 else int(a) - _divided(a, b) * int(b)


def _fma32(a: Values, b: Values, c: Values) -> Values:
    # The product is exact, and what rounding the sum twice costs is seen once in half a billion.
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _fma64(a: Values, b: Values, c: Values) -> Values:
    # Dekker's product and Knuth's sum with what they round off.
    product = a * b
    parts = [(one * 134217729.0) - ((one * 134217729.0) - one) for one in (a, b)]
    rests = [one - high for one, high in zip((a, b), parts, strict=True)]
    lost = ((parts[0] * parts[1] - product) + parts[0] * rests[1] + rests[0] * parts[1]) + rests[0] * rests[1]
    total = product + c
    back = total - product
    lost_too = (product - (total - back)) + (c - back)
    return np.where(np.isfinite(total) & np.isfinite(lost), total + (lost + lost_too), total)
