"""Compiles the inner loop where numba is installed; without it the same code runs, some 50 times slower."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., object])

try:
    from numba import njit
except ModuleNotFoundError:

    def compiled(function: Function) -> Function:
        return function
else:

    def compiled(function: Function) -> Function:
        return njit(cache=True)(function)
