"""Which axis is what: read, given or guessed, and always shown beside the shape."""

from collections.abc import Sequence
from typing import NamedTuple

from careamics_denoisplit.errors import AxesError, DataError

LETTERS = "STCZYX"
# More leading planes than this are taken for a series, fewer for channels.
_MOST_CHANNELS = 8


class Axes(NamedTuple):
    """The letter of each axis of an array."""

    letters: str
    """One of S, T, C, Z, Y, X for each axis."""
    guessed: bool
    """Whether neither the user nor the source named them."""


def side_by_side(axes: str, shape: Sequence[int]) -> str:
    """Show each axis with its size.

    Parameters
    ----------
    axes : str
        Letters of axes.
    shape : sequence of int
        Sizes of axes; it may be longer or shorter.

    Examples
    --------
    >>> side_by_side("CYX", (512, 2))
    'C=512 Y=2 X=?'
    """
    length = max(len(axes), len(shape))
    letters = [*axes, *("?" * (length - len(axes)))]
    sizes = [*map(str, shape), *("?" * (length - len(shape)))]
    return " ".join(f"{x}={n}" for x, n in zip(letters, sizes, strict=True))


def resolve_axes(
    given: str | None,
    found: str | None,
    shape: tuple[int, ...],
    *,
    channels: int | None,
    what: str,
    binding: bool = False,
) -> Axes:
    """Decide what each axis is: as given, else as the source says, else guessed.

    Parameters
    ----------
    given : str or None
        What the user said.
    found : str or None
        What the source says, with `?` for an axis it leaves open.
    shape : tuple of int
        Shape of the array.
    channels : int or None
        Number of channels that is expected; 1 for a single structure or a mixture.
    what : str
        Name of the source, for messages.
    binding : bool, default: False
        Whether the source also says reliably which axis is the channel. Names of dimensions do;
        headers of files often call a series channels, or channels a series.

    Returns
    -------
    Axes
        Letters that fit the shape.

    Raises
    ------
    AxesError
        If letters are unknown, double or missing, do not fit the shape, contradict the source, or
        if nothing says what an axis is; the message shows axes and shape side by side.
    """
    if given is not None:
        letters = check_axes(given, shape, what)
        if found is not None and "?" not in found and not _agree(letters, found, binding):
            raise AxesError(
                f"{what} names its axes {side_by_side(found, shape)}, but the axes given are "
                f"{side_by_side(letters, shape)}. Leave `axes` out or correct it."
            )
        return Axes(letters, guessed=False)
    if found is not None and "?" not in found:
        return Axes(check_axes(found, shape, what), guessed=False)
    return Axes(_guess(found, shape, channels, what), guessed=True)


def check_axes(axes: str, shape: tuple[int, ...], what: str) -> str:
    """Check letters against a shape.

    Parameters
    ----------
    axes : str
        One letter of STCZYX for each axis, in any order; lower case is accepted.
    shape : tuple of int
        Shape of the array.
    what : str
        Name of the source, for messages.

    Returns
    -------
    str
        The letters in upper case.

    Raises
    ------
    AxesError
        If they do not fit; the message shows axes and shape side by side.
    """
    letters = axes.upper()
    beside = f"{what}: axes and shape are {side_by_side(letters, shape)}"
    unknown = sorted(set(letters) - set(LETTERS))
    double = sorted({letter for letter in letters if letters.count(letter) > 1})
    if unknown:
        raise AxesError(f"{beside}; unknown letter {', '.join(unknown)}. Use letters of {LETTERS}.")
    if double:
        raise AxesError(f"{beside}; {', '.join(double)} stands twice. Use each letter once.")
    if not {"Y", "X"} <= set(letters):
        raise AxesError(f"{beside}; Y and X are both needed. Name the two axes of the plane.")
    if len(letters) != len(shape):
        raise AxesError(
            f"{beside}; {len(letters)} letters do not fit {len(shape)} axes. "
            "Give one letter for each axis."
        )
    return letters


def require_channel_count(
    axes: str, shape: tuple[int, ...], channels: int, *, guessed: bool, what: str
) -> None:
    """Refuse a number of channels that differs from the expected one.

    Parameters
    ----------
    axes : str
        Letter of each axis.
    shape : tuple of int
        Shape of the array.
    channels : int
        Number of channels that is expected.
    guessed : bool
        Whether the axes are a guess.
    what : str
        Name of the source, for messages.

    Raises
    ------
    DataError
        If they differ; the message names the axis that would fit.
    """
    found = shape[axes.index("C")] if "C" in axes else 1
    if found == channels:
        return
    origin = "guessed as" if guessed else "read as"
    fitting = [i for i, size in enumerate(shape) if size == channels and axes[i] != "C"]
    advice = "Pass `axes=`, or correct the number of channel names."
    if channels == 1:
        advice = (
            "Give an image of one channel, or pass `axes=`. To predict one of several, name it: "
            "--channel N (in Python `channels=N`)."
        )
    if channels > 1 and len(fitting) == 1:
        advice = f"Axis {fitting[0]} has {channels} entries: is it the channel? Pass `axes=`."
    raise DataError(
        f"{what}: axes are {origin} {side_by_side(axes, shape)}, which gives {found} channels; "
        f"{channels} expected. {advice}"
    )


def _agree(letters: str, found: str, binding: bool) -> bool:
    # Sample, time and depth are all treated plane by plane: renaming one for another is fine.
    def plain(axes: str) -> str:
        named = axes.replace("T", "S").replace("Z", "S")
        return named if binding else named.replace("C", "S")

    return plain(letters) == plain(found)


def _guess(found: str | None, shape: tuple[int, ...], channels: int | None, what: str) -> str:
    if found is None:
        found = "?" * max(len(shape) - 2, 0) + "YX"[-len(shape) :]
        _refuse_channels_last(shape, what)
    open_axes = [i for i, letter in enumerate(found) if letter == "?"]
    if len(shape) < 2 or len(open_axes) > 2:
        raise _unclear(shape, what)
    letters = list(found)
    if "C" not in found:
        _guess_channel(letters, open_axes, shape, channels, what)
    left = [i for i in open_axes if letters[i] == "?"]
    free = [letter for letter in "STZ" if letter not in letters]
    for i, letter in zip(left, free, strict=False):
        letters[i] = letter
    return check_axes("".join(letters), shape, what)


def _guess_channel(
    letters: list[str],
    open_axes: list[int],
    shape: tuple[int, ...],
    channels: int | None,
    what: str,
) -> None:
    plane = min(shape[-2:])
    if channels is None:
        fitting = [i for i in open_axes if shape[i] <= min(_MOST_CHANNELS, plane)]
    elif channels == 1:
        fitting = []
    else:
        fitting = [i for i in open_axes if shape[i] == channels]
    if len(fitting) > 1:
        raise _unclear(shape, what)
    if fitting:
        letters[fitting[0]] = "C"


def _refuse_channels_last(shape: tuple[int, ...], what: str) -> None:
    if len(shape) >= 3 and shape[-1] <= 4 and min(shape[-3:-1]) > 8:
        raise AxesError(
            f"{what} has the shape {shape}: its last axis looks like colors or channels. Pass "
            f"`axes=` ending in YXC, or save one gray image per channel."
        )


def _unclear(shape: tuple[int, ...], what: str) -> AxesError:
    return AxesError(
        f"{what} has the shape {shape} and nothing says what its axes are. Pass `axes=`, one "
        f"letter of {LETTERS} for each axis, such as {LETTERS[-max(len(shape), 2) :]}."
    )
