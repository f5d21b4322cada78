"""Functions over arrays, compiled by numba."""

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compile at the first call, without the interpreter's lock, and keep the result on disk."""
    return _compiled(function)


def compiled_lean(function: Callable) -> Callable:
    """Compile a function that makes no arrays: it counts no references to those it is given.

    Counting them at every call of a small function took half of the time of reading JSON.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Callable, **options: bool) -> Callable:
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return njit(nogil=True, **options)(function)
