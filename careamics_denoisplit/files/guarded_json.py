"""JSON without the numbers and doublings that the format does not have."""

import json
import math
from pathlib import Path
from typing import Any

from careamics_denoisplit.errors import InputError, NonFiniteError
from careamics_denoisplit.files.whole import write_whole

MAX_JSON_BYTES = 16 * 2**20


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON in UTF-8, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    value : object
        Dicts with text keys, lists, tuples, text, numbers, booleans and None.

    Raises
    ------
    NonFiniteError
        If a number is NaN or infinite; the message names its place.
    StorageError
        If the file cannot be written.
    """
    try:
        text = json.dumps(value, allow_nan=False, indent=2, ensure_ascii=False)
    except ValueError as error:
        place = _find_non_finite(value, "")
        if place is None:
            raise
        raise NonFiniteError(
            f"{path.name} would hold a number that is not finite at {place or 'its top'}; "
            "nothing was written."
        ) from error
    write_whole(path, f"{text}\n".encode())


def read_json(
    path: Path,
    max_bytes: int = MAX_JSON_BYTES,
    *,
    error: type[InputError] = InputError,
) -> Any:
    """Read JSON; refuse double keys, NaN, deep nesting and files that are too large.

    Parameters
    ----------
    path : pathlib.Path
        File to read.
    max_bytes : int, default: 16 MiB
        Largest size that is accepted.
    error : type of InputError
        What to raise.

    Returns
    -------
    object
        Dicts, lists, text, numbers, booleans and None.

    Raises
    ------
    InputError
        If the file is missing, too large or not such JSON.
    """
    return parse_json(read_capped(path, max_bytes, error=error), str(path), error=error)


def parse_json(data: bytes, name: str, *, error: type[InputError] = InputError) -> Any:
    """Read JSON that is in memory, as strictly as `read_json`.

    Parameters
    ----------
    data : bytes
        UTF-8, with or without a byte-order mark.
    name : str
        How messages call it.
    error : type of InputError
        What to raise.

    Raises
    ------
    InputError
        If it is not such JSON.
    """
    try:
        return json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as cause:
        reason = "nested too deeply" if isinstance(cause, RecursionError) else str(cause)
        raise error(f"{name} is not valid JSON: {reason}. Restore the file from a copy.") from cause


def read_capped(path: Path, max_bytes: int, *, error: type[InputError]) -> bytes:
    """Read a file of limited size.

    Parameters
    ----------
    path : pathlib.Path
        File to read.
    max_bytes : int
        Largest size that is accepted.
    error : type of InputError
        What to raise.

    Raises
    ------
    InputError
        If the file is missing, unreadable or larger than that.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as cause:
        raise error(f"Cannot read {path}: {cause.strerror or cause}.") from cause
    if len(data) > max_bytes:
        raise error(
            f"{path} is larger than the {max_bytes} bytes accepted here. "
            "Check that it is the right file."
        )
    return data


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice in one object")
        result[key] = value
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _find_non_finite(value: Any, place: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    if isinstance(value, dict):
        items = [(f"{place}.{key}".lstrip("."), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None
    found = (_find_non_finite(item, inner) for inner, item in items)
    return next((inner for inner in found if inner is not None), None)
