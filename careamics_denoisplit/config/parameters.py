"""Checks of free dictionaries that become keyword arguments of torch and Lightning."""

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any


def check_parameters(
    function: Callable[..., Any],
    parameters: Mapping[str, Any],
    *,
    positive: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Refuse values whose type is not that of the default, and numbers that make no sense.

    Parameters
    ----------
    function : callable
        What the dictionary is passed to; its defaults tell which parameters are numbers.
    parameters : mapping
        Keyword arguments.
    positive : collection of str
        Parameters that must be above zero.
    numbers : collection of str
        Parameters that must be at least zero, although their default does not say so.

    Raises
    ------
    ValueError
        If a number is expected and truth, text, infinity or a negative number came, or truth is
        expected and something else came.
    """
    defaults = inspect.signature(function).parameters
    for key, value in parameters.items():
        default = defaults[key].default if key in defaults else None
        if key in positive:
            _require_number(key, value)
            if value is None or value <= 0:
                raise ValueError(f"`{key}` must be a number above 0, got {value!r}.")
        elif key in numbers or (_is_number(default) and value is not None):
            _require_number(key, value)
            if value < 0 and value != -1:  # -1 is "all" or "without end" in Lightning
                raise ValueError(f"`{key}` must not be negative, got {value!r}.")
        elif isinstance(default, bool) and not isinstance(value, bool):
            raise ValueError(f"`{key}` must be true or false, got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_number(key: str, value: Any) -> None:
    if not _is_number(value):
        raise ValueError(f"`{key}` must be a number, got {value!r} ({type(value).__name__}).")
    if not math.isfinite(value):
        raise ValueError(f"`{key}` must be finite, got {value!r}.")
