"""Everything `denoisplit data check` looks for; loaded only when it runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from careamics_denoisplit.data import MixtureFitter, Opened, Plane, open_channels, refuse_leak
from careamics_denoisplit.errors import InputError
from careamics_denoisplit.images import check_pixels

ALIKE = 0.9
"""Correlation of two channels above which they can hardly be told apart."""
EXPLAINED = 0.5
"""Share of a mixture's variance that its channels should explain, noise included."""
LARGEST_SAMPLE = 1024
"""Side of the central crop that correlations are taken from, in pixels."""

Sources = Mapping[str, Sequence[Path]]


@dataclass
class Findings:
    """What was found, in sentences and numbers."""

    facts: list[str] = field(default_factory=list)
    """What the images are."""
    warnings: list[str] = field(default_factory=list)
    """What may be wrong."""
    problems: list[str] = field(default_factory=list)
    """What will go wrong."""
    correlations: dict[str, float] = field(default_factory=dict)
    """Correlation of each pair of channels."""
    mixture: dict[str, object] = field(default_factory=dict)
    """How the mixture depends on the channels."""

    def as_json(self) -> dict[str, object]:
        """Return the findings as JSON values, with `passed`."""
        return {"passed": not self.problems, **asdict(self)}

    def attempt(self, step: Callable[[], None]) -> None:
        """Run a step; wrong input becomes a problem, and the next step still runs."""
        try:
            step()
        except InputError as error:
            self.problems.append(" ".join(str(error).split()))


def inspect(
    channels: Sources,
    *,
    mixture: Sequence[Path] = (),
    truth: Sources | None = None,
    validation: Sources | None = None,
    axes: str | None = None,
) -> Findings:
    """Check images as they will be used for training.

    Parameters
    ----------
    channels : mapping of str to sequence of pathlib.Path
        Images of each channel.
    mixture : sequence of pathlib.Path
        Measured mixtures of the same fields.
    truth, validation : mapping, optional
        High-quality images of the channels, and images kept for validation.
    axes : str, optional
        Axes of the images; inferred by default.

    Returns
    -------
    Findings
        Facts, warnings and problems.
    """
    found = Findings()
    opened: dict[str, Opened] = {}
    sources = {"training": channels, "truth": truth or {}, "validation": validation or {}}
    for what, source in sources.items():
        if source:
            found.attempt(
                lambda what=what, source=source: opened.update(  # type: ignore[misc]  # bound now, on purpose
                    {what: _open(found, what, source, mixture if what == "training" else (), axes)}
                )
            )
    if training := opened.get("training"):
        found.attempt(lambda: _compare_channels(found, training, list(channels)))
        found.attempt(lambda: _compare_mixture(found, training, list(channels)))
        if held := opened.get("validation"):
            found.attempt(lambda: refuse_leak(training.channels, held.channels))
            _compare_amounts(found, training, held)
        if clean := opened.get("truth"):
            found.attempt(lambda: _compare_truth(found, training, clean, list(channels)))
    return found


def _open(
    found: Findings, what: str, source: Sources, mixture: Sequence[Path], axes: str | None
) -> Opened:
    """Open images and read all their pixels once."""
    opened = open_channels(
        source, list(mixture) or None, list(source), axes=axes, in_memory=False, what=what
    )
    for image in opened.images:
        height, width = image.height_width
        guess = " (a guess)" if image.axes_guessed else ""
        found.facts.append(
            f"{what}: {image.name}, axes {image.axes}{guess}, {height} x {width} pixels"
        )
        if image.axes_guessed:
            found.warnings.append(
                f"The file {image.name} does not name its axes; {image.axes} was guessed from "
                f"the shape {tuple(image.data.shape)}. Give --axes if that is wrong."
            )
        found.attempt(
            lambda image=image: found.warnings.extend(  # type: ignore[misc]  # bound now, on purpose
                check_pixels(image, refuse_constant=True).warnings()
            )
        )
    counts = {name: len(planes) for name, planes in zip(source, opened.channels, strict=True)}
    if len(set(counts.values())) > 1:
        found.warnings.append(
            f"The channels of the {what} data have different numbers of planes, "
            f"{_listed(counts)}; those beyond the shortest have no partner. Training refuses them "
            'unless `algorithm_config.pairing` is "independent".'
        )
    return opened


def _compare_amounts(found: Findings, training: Opened, held: Opened) -> None:
    """Training usually has more planes than validation; the reverse is mostly a mistake."""
    trained, kept = (sum(map(len, opened.channels)) for opened in (training, held))
    if kept > trained:
        found.warnings.append(
            f"There are more planes for validation ({kept}) than for training ({trained}). Are "
            "--channel and --val swapped?"
        )


def _compare_channels(found: Findings, opened: Opened, names: list[str]) -> None:
    """Correlate the channels pairwise."""
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            pair = f"{names[first]}, {names[second]}"
            value = _correlation(opened.channels[first], opened.channels[second])
            found.correlations[pair] = value
            found.facts.append(f"correlation of {pair}: {value:.2f}")
            if value > ALIKE:
                found.warnings.append(
                    f"The channels {pair} correlate by {value:.2f}: they can hardly be told "
                    "apart, or one file was given twice."
                )


def _compare_mixture(found: Findings, opened: Opened, names: list[str]) -> None:
    """Fit the mixture by its channels and say which rule it follows."""
    if opened.mixture is None:
        return
    fitter = MixtureFitter(len(names))
    for planes in zip(*opened.channels, opened.mixture, strict=False):
        *channels, mixture = (_centre(plane) for plane in planes)
        fitter.add(np.stack(channels), mixture)
    fit = fitter.fit()
    gains = _listed({name: round(gain, 3) for name, gain in zip(names, fit.gains, strict=True)})
    found.mixture = {
        "gains": list(fit.gains),
        "offset": fit.offset,
        "explained": fit.explained,
        "rule": fit.rule,
    }
    found.facts.append(
        f"the mixture is {gains} times the channels plus {fit.offset:.4g}; this explains "
        f"{fit.explained:.0%} of it (nearest rule: {fit.rule})"
    )
    if min(fit.gains) <= 0:
        found.problems.append(
            f"The mixture does not contain every channel: its gains are {gains}. Check that "
            "fields and channels are in the same order."
        )
    elif fit.explained < EXPLAINED:
        found.warnings.append(
            f"The channels explain only {fit.explained:.0%} of the mixture. With strong noise "
            "that is normal, else check that the fields are in the same order and aligned."
        )


def _compare_truth(found: Findings, opened: Opened, clean: Opened, names: list[str]) -> None:
    """Every channel must be most like its own truth."""
    for index, name in enumerate(names):
        values = {
            other: _correlation(opened.channels[index], clean.channels[number])
            for number, other in enumerate(names)
        }
        best = max(values, key=lambda other: values[other])
        found.facts.append(f"correlation of {name} with its truth: {values[name]:.2f}")
        if best != name:
            found.problems.append(
                f"The channel {name} is more like the truth of {best} ({values[best]:.2f}) than "
                f"like its own ({values[name]:.2f}). Are they swapped?"
            )


def _correlation(first: Sequence[Plane], second: Sequence[Plane]) -> float:
    """Correlation of two lists of planes, over the centres of all fields."""
    pairs = [
        (_centre(one).ravel(), _centre(other).ravel())
        for one, other in zip(first, second, strict=False)
        if one.shape == other.shape
    ]
    if not pairs:
        return math.nan
    joined = [np.concatenate(part) for part in zip(*pairs, strict=True)]
    if min(part.std() for part in joined) == 0:
        return 0.0
    return float(np.corrcoef(joined[0], joined[1])[0, 1])


def _centre(plane: Plane) -> NDArray[np.float32]:
    """Central part of a plane."""
    height, width = plane.shape
    size = (min(height, LARGEST_SAMPLE), min(width, LARGEST_SAMPLE))
    y, x = (height - size[0]) // 2, (width - size[1]) // 2
    return plane.crop(y, x, *size)


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
