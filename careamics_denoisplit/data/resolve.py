"""The configuration of a run, with what was inferred from its data written in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from careamics_denoisplit.config import DenoiSplitConfiguration, configuration_from_dict
from careamics_denoisplit.data.statistics import Statistics
from careamics_denoisplit.images import Image

_KINDS = {".tif": "tiff", ".tiff": "tiff", ".zarr": "zarr", ".czi": "czi"}


def resolved_configuration(
    config: DenoiSplitConfiguration,
    targets: Sequence[Image],
    mixtures: Sequence[Image],
    statistics: Statistics,
) -> DenoiSplitConfiguration:
    """Write axes, kind of data and statistics into a configuration.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Configuration of the user; it is not changed.
    targets, mixtures : sequence of Image
        Images of the channels and of the measured mixture, those for validation included.
    statistics : Statistics
        Statistics of the training data.

    Returns
    -------
    DenoiSplitConfiguration
        The complete configuration. Where sources differ in kind or axes, "auto" stays.
    """
    plain = config.to_plain()
    data: dict[str, Any] = plain["data_config"]
    target_axes, input_axes = _common_axes(targets), _common_axes(mixtures or targets)
    kind = _common_kind([*targets, *mixtures])
    # careamics refuses to load these into memory, we do where they fit: then "auto" stays.
    loaded = data["in_memory"] and kind in ("zarr", "czi")
    if data["data_type"] == "auto" and kind is not None and not loaded:
        data["data_type"] = kind
    if data["axes"] == "auto" and input_axes is not None and target_axes is not None:
        data["axes"] = input_axes
        data["target_axes"] = None if target_axes == input_axes else target_axes
    data["normalization"] |= {
        "input_means": [statistics.input_mean],
        "input_stds": [statistics.input_std],
        "target_means": list(statistics.target_means),
        "target_stds": list(statistics.target_stds),
    }
    return configuration_from_dict(plain)


def with_given_values(statistics: Statistics, config: DenoiSplitConfiguration) -> Statistics:
    """Replace measured values by those that the configuration gives.

    Parameters
    ----------
    statistics : Statistics
        What was measured.
    config : DenoiSplitConfiguration
        The configuration; its `normalization` may hold means and standard deviations.
    """
    given = config.data_config.normalization
    changes: dict[str, Any] = {}
    if given.input_means is not None and given.input_stds is not None:
        changes |= {"input_mean": given.input_means[0], "input_std": given.input_stds[0]}
    if given.target_means is not None and given.target_stds is not None:
        changes |= {
            "target_means": tuple(given.target_means),
            "target_stds": tuple(given.target_stds),
        }
    return Statistics.model_validate(statistics.model_dump() | changes) if changes else statistics


def _common_axes(images: Sequence[Image]) -> str | None:
    found = {image.axes for image in images}
    return found.pop() if len(found) == 1 else None


def _common_kind(images: Sequence[Image]) -> str | None:
    found = {_kind(image) for image in images}
    return found.pop() if len(found) == 1 else None


def _kind(image: Image) -> str:
    if not isinstance(image.source, Path):
        return "array"
    for part in (image.source, *image.source.parents):
        if part.suffix.lower() in _KINDS:
            return _KINDS[part.suffix.lower()]
    return "custom"
