"""Eight bytes of JSON at a time, compiled: which of them end a plain run, copied in one go.

A word is eight bytes as they lie in memory, the first one lowest: what numba compiles for is
little-endian. Marks of bytes are their highest bits.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from clickstream_dagster.processing.compiling import compiled_lean

WORD = 8

_ONES = np.uint64(0x0101010101010101)
_HIGHEST = np.uint64(0x8080808080808080)
_QUOTES = _ONES * np.uint64(ord('"'))
_BACKSLASHES = _ONES * np.uint64(ord("\\"))
_BLANKS = _ONES * np.uint64(ord(" "))
_FOR_READING = (0, 3, 1)  # llvm.prefetch: for reading, to be kept, of data
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, made odd


def _pointer(context, builder, array_type, array, place):
    data = context.make_array(array_type)(context, builder, array).data
    at = builder.gep(data, [place])
    return builder.bitcast(at, cgutils.intp_t.as_pointer())


@intrinsic
def word_at(typing_context, data, place):
    """Read the word that begins at a place, any place; WORD bytes must be there."""

    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=1)

    return types.uint64(data, types.uint64), generate


@intrinsic
def put_word(typing_context, out, place, word):
    """Write a word at a place, any place; there must be room for WORD bytes."""

    def generate(context, builder, signature, arguments):
        array, at, value = arguments
        pointer = _pointer(context, builder, signature.args[0], array, at)
        builder.store(value, pointer, align=1)
        return context.get_dummy_value()

    return types.void(out, types.uint64, types.uint64), generate


@intrinsic
def fetch_early(typing_context, data, place):
    """Ask for the bytes around a place, so that they are in the cache when they are read soon."""

    def generate(context, builder, signature, arguments):
        array, at = arguments
        start = context.make_array(signature.args[0])(context, builder, array).data
        pointer = builder.bitcast(builder.gep(start, [at]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(prefetch, [pointer, *(number(value) for value in _FOR_READING)])
        return context.get_dummy_value()

    return types.void(data, types.uint64), generate


@intrinsic
def _zeros_below(typing_context, marks):
    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


@compiled_lean
def first_marked(marks):
    """Give the place of the first marked byte in its word; there must be one."""
    return np.int64(_zeros_below(marks) >> np.uint64(3))


# A byte that is subtracted from borrows from the next one, so a byte behind the first one that is
# to be marked may be marked, too. The first mark is always right.


@compiled_lean
def _mark_zeros(word):
    return (word - _ONES) & ~word & _HIGHEST


@compiled_lean
def mark_backslashes(word):
    """Mark the first backslash, and perhaps bytes behind it."""
    return _mark_zeros(word ^ _BACKSLASHES)


@compiled_lean
def mark_ends(word):
    """Mark the first quote, backslash or control of a word, and perhaps bytes behind it."""
    controls = (word - _BLANKS) & ~word & _HIGHEST
    return controls | _mark_zeros(word ^ _QUOTES) | mark_backslashes(word)


@compiled_lean
def hash_of(data, start, stop, seed):
    """Give a hash of some bytes; who does not know the seed can't make many collide."""
    value = seed
    place = start
    while stop - place >= WORD:
        value = (value ^ word_at(data, np.uint64(place))) * _MIX
        value ^= value >> np.uint64(32)
        place += WORD
    rest = np.uint64(stop - start)
    while place < stop:
        rest = (rest << np.uint64(8)) | np.uint64(data[np.uint64(place)])
        place += 1
    value = (value ^ rest) * _MIX
    return value ^ (value >> np.uint64(32))


@compiled_lean
def same_bytes(data, first, second, size):
    """Tell whether two runs of bytes are equal."""
    n = 0
    while size - n >= WORD:
        if word_at(data, np.uint64(first + n)) != word_at(data, np.uint64(second + n)):
            return False
        n += WORD
    while n < size:
        if data[np.uint64(first + n)] != data[np.uint64(second + n)]:
            return False
        n += 1
    return True
