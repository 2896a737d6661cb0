"""XXH64 in plain Python, after the published specification, for texts of up to 31 bytes."""

from __future__ import annotations

MASK = (1 << 64) - 1
PRIME_1 = 0x9E3779B185EBCA87
PRIME_2 = 0xC2B2AE3D27D4EB4F
PRIME_3 = 0x165667B19E3779F9
PRIME_4 = 0x85EBCA77C2B2AE63
PRIME_5 = 0x27D4EB2F165667C5


def rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & MASK


def xxh64(text: str, seed: int) -> int:
    """Return the hash of the UTF-8 bytes."""
    data = text.encode()
    assert len(data) < 32, "longer inputs have another beginning"
    state = (seed + PRIME_5 + len(data)) & MASK
    while len(data) >= 8:
        lane = rotate((int.from_bytes(data[:8], "little") * PRIME_2) & MASK, 31) * PRIME_1 & MASK
        state = (rotate(state ^ lane, 27) * PRIME_1 + PRIME_4) & MASK
        data = data[8:]
    if len(data) >= 4:
        state ^= int.from_bytes(data[:4], "little") * PRIME_1 & MASK
        state = (rotate(state, 23) * PRIME_2 + PRIME_3) & MASK
        data = data[4:]
    for byte in data:
        state = rotate(state ^ (byte * PRIME_5 & MASK), 11) * PRIME_1 & MASK
    state = (state ^ (state >> 33)) * PRIME_2 & MASK
    state = (state ^ (state >> 29)) * PRIME_3 & MASK
    return state ^ (state >> 32)
