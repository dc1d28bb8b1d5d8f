"""A run goes on with the images it was started with, whatever version has measured them."""

import numpy as np
import pytest

from careamics_denoisplit.data import Statistics, compute_statistics
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.training.resume import require_same_statistics


def measured(brightness: float = 300.0) -> Statistics:
    random = np.random.default_rng(0)
    channels = [[random.normal(brightness, 9, (48, 48))], [random.normal(200, 9, (48, 48))]]
    return compute_statistics(channels, ("er", "actin"))


def checkpoint(statistics: Statistics, *without: str) -> dict[str, dict[str, object]]:
    plain = statistics.model_dump(mode="json")
    kept = {key: value for key, value in plain.items() if key not in without}
    return {"hyper_parameters": {"statistics": kept}}


def test_a_run_of_an_earlier_version_goes_on() -> None:
    before = checkpoint(measured(), "local_levels", "superposition", "camera_offsets")

    require_same_statistics(measured(), before)


def test_the_last_bits_of_local_levels_stop_no_run() -> None:
    other = measured().model_copy(update={"local_levels": None})

    require_same_statistics(measured(), checkpoint(other))


def test_other_images_stop_it() -> None:
    with pytest.raises(DataError, match="not those that the run was started with"):
        require_same_statistics(measured(301.0), checkpoint(measured()))
