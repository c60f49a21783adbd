"""Compiles the inner loop where numba is installed; without it the same code runs, some 50 times slower."""

from collections.abc import Callable
from typing import Any

try:
    from numba import njit
except ModuleNotFoundError:
    njit = None

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function if njit is None else njit(function)
