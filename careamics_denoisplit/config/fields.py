"""Field types shared by the settings: strict numbers, and tuples that files write as lists."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def list_to_tuple(value: Any) -> Any:
    """Turn a list into a tuple, because YAML and JSON know lists only."""
    return tuple(value) if isinstance(value, list) else value


def refuse_truth(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python counts them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {value}")
    return value


Count = Annotated[int, Field(strict=True, ge=1)]
"""Whole number of at least one; `true` is not a number."""

NonNegativeInt = Annotated[int, Field(strict=True, ge=0)]
"""Whole number of at least zero."""

NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
"""Finite number of at least zero."""

Fraction = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
"""Finite number of at least zero and below one."""

Flag = Annotated[bool, Field(strict=True)]
"""True or false; numbers and texts are refused."""

Counts = Annotated[tuple[Count, ...], BeforeValidator(list_to_tuple), Field(min_length=1)]
"""Whole numbers of at least one, one or more of them."""

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(refuse_truth)]
"""Finite number of either sign."""

Offsets = Finite | Annotated[tuple[Finite, ...], BeforeValidator(list_to_tuple)]
"""One finite number, or one for each channel."""

Text = Annotated[str, Field(strict=True)]
"""Text; numbers and truth values are refused."""

Texts = Annotated[tuple[Text, ...], BeforeValidator(list_to_tuple)]
"""Texts; numbers and truth values are refused, so that names stay what was typed."""
