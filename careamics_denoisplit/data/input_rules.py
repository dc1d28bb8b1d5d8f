"""From the image that a user records to the input that a network was trained on.

With L the light of all structures, C channels and a camera that adds its offset O to every image
it records, an image holds `g L + n O`: one exposure of all structures L + O, the sum of C single
images L + C O, their mean L / C + O.
"""

from typing import Literal, NamedTuple, get_args

from careamics_denoisplit.data.statistics import Statistics
from careamics_denoisplit.data.superposition import Superposition
from careamics_denoisplit.errors import ConfigurationError

InputRule = Literal["measured", "sum", "mean"]
"""One exposure of all structures, or sum or mean of an image of each."""


class InputMap(NamedTuple):
    """Training input = `gain` times image plus `offset`."""

    gain: float = 1.0
    """Factor, above 0."""
    offset: float = 0.0
    """Gray values."""


SAME_INPUT = InputMap()
"""The map of an image that is as the training input was."""


def input_map(
    training: str,
    image: str,
    channels: int,
    camera_offset: float | None = None,
    *,
    offset_counted_once: bool = False,
) -> InputMap:
    """Return the map that turns a user's image into the training input.

    Parameters
    ----------
    training, image : {"measured", "sum", "mean"}
        How the training input and the user's image come about.
    channels : int
        Number of channels C.
    camera_offset : float, optional
        Gray value that the camera adds to every image, the same in both.
    offset_counted_once : bool
        Whether a training input that is a sum holds the offset once instead of C times.

    Raises
    ------
    ConfigurationError
        If a rule is none of the three, or the offset is needed and was not given.
    """
    for rule in (training, image):
        if rule not in get_args(InputRule):
            raise ConfigurationError(
                f"An input is {', '.join(get_args(InputRule))}, got {rule!r}. Choose one of them."
            )
    shares = {"measured": 1.0, "sum": 1.0, "mean": 1.0 / channels}
    offsets = {"measured": 1, "sum": channels, "mean": 1}
    held = 1 if training == "sum" and offset_counted_once else offsets[training]
    gain = shares[training] / shares[image]
    missing = held - offsets[image] * gain
    if missing and camera_offset is None:
        raise ConfigurationError(
            f"The network was trained on a {training} input and gets a {image} one, so the gray "
            "value of a pixel without light must be known. Give it with `--offset`."
        )
    return InputMap(gain, missing * (camera_offset or 0.0))


def statistics_of_image(
    statistics: Statistics,
    rule: InputRule | None,
    mapped: InputMap,
    superposition: Superposition | None,
) -> Statistics:
    """Return the statistics that do to an image what those of the training do to its input.

    Parameters
    ----------
    statistics : Statistics
        Those of the training.
    rule : {"measured", "sum", "mean"} or None
        How the image comes about; None where it is as in training.
    mapped : InputMap
        How it becomes the training input; the map that changes nothing leaves them as they are.
    superposition : Superposition or None
        How the training input follows from its channels, where that is known.
    """
    if mapped == SAME_INPUT:
        return statistics
    gain, offset = 1 / mapped.gain, -mapped.offset / mapped.gain
    levels = statistics.local_levels
    return statistics.model_copy(
        update={
            "mixing": rule or statistics.mixing,
            "camera_offsets": None,
            "input_mean": gain * statistics.input_mean + offset,
            "input_std": gain * statistics.input_std,
            "input_percentiles": {
                key: gain * value + offset for key, value in statistics.input_percentiles.items()
            },
            "local_levels": None if levels is None else levels.mapped(gain, offset),
            "superposition": None if superposition is None else superposition.mapped(gain, offset),
        }
    )
