"""Rules 32 to 39: test tensors, tolerances, versions and hashes."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from careamics_denoisplit_export.package.drift import (
    ABSOLUTE_TOLERANCE,
    RELATIVE_TOLERANCE,
    expected_drift,
)
from careamics_denoisplit_export.rdf import TILE
from careamics_denoisplit_export.rules.findings import BrokenError, NotRunError, require
from careamics_denoisplit_export.rules.registry import rule
from careamics_denoisplit_export.rules.subject import Subject

VALIDATOR = {"bioimageio.core": "0.11.0", "bioimageio.spec": "0.5.12.0"}
"""Versions whose verdict counts; pydantic must be below 2.14 with them."""

REVIEWED_TORCH = ("2.5.1", "2.7.1")
"""Releases that load our archives and that conda-forge has."""

_OF_TORCH = ("torchscript", "pytorch_state_dict")
_NO_IMAGE = ("_std", "_spread", "consistency", "input_range")
_SMALLEST_MAXIMUM = 0.1


@rule(32, f"Test tensors are raw float32 arrays, 1 x 1 x {TILE} x {TILE} in, uncropped out")
def test_tensors_are_whole(subject: Subject) -> str:
    """Validators test without padding or cropping."""
    given, expected = subject.array(subject.input), subject.array(subject.output)
    require(
        given.shape == (1, 1, TILE, TILE) and given.dtype == np.float32,
        f"The test input is {given.shape} {given.dtype}; write (1, 1, {TILE}, {TILE}) float32.",
    )
    require(
        expected.ndim == 4 and expected.shape[-2:] == (TILE, TILE) and expected.dtype == np.float32,
        f"The test output is {expected.shape} {expected.dtype}; write the full result, float32.",
    )
    excess = subject.run("torchscript_excess")
    require(
        excess <= ABSOLUTE_TOLERANCE,
        f"The TorchScript gives another result, off by {excess:.3g}. Export again.",
    )
    return "Raw in, the full result out, reproduced by the TorchScript."


@rule(33, "The test output is large enough to be compared")
def output_is_not_tiny(subject: Subject) -> str:
    """Newer validators call outputs below 0.1 invalid."""
    expected = subject.array(subject.output)
    require(bool(np.isfinite(expected).all()), "The test output holds NaN. Use another test image.")
    largest = float(expected.max())
    require(
        largest >= _SMALLEST_MAXIMUM,
        f"The largest value of the test output is {largest:.3g}; {_SMALLEST_MAXIMUM} is the least. "
        "Use a brighter test image, or train on gray values instead of fractions.",
    )
    return f"The largest value is {largest:.4g}."


@rule(34, "bioimageio.core reproduces the output for each weight format, by default tolerances")
def core_reproduces(subject: Subject) -> str:
    """Compare by the defaults, as the zoo deletes declared tolerances, and by deepImageJ's."""
    config = (subject.content.get("config") or {}).get("bioimageio") or {}
    require(
        "reproducibility_tolerance" not in config and "test_kwargs" not in config,
        "Tolerances are declared; the zoo deletes them. Declare none.",
    )
    statuses: dict[str, str] = subject.run("bioimageio")
    bad = {name: text for name, text in statuses.items() if text != "passed"}
    require(
        not bad,
        "bioimageio.core says "
        + "; ".join(f"{text} for {name}" for name, text in bad.items())
        + ". Run `bioimageio test` for its details.",
    )
    for name in ("torchscript", "state_dict"):
        excess = subject.runs.get(f"{name}_excess")
        require(
            excess is None or excess <= ABSOLUTE_TOLERANCE,
            f"{name} exceeds {ABSOLUTE_TOLERANCE} + {RELATIVE_TOLERANCE} |e| at a pixel.",
        )
    missing = set(subject.weights) - set(statuses)
    if missing:
        raise NotRunError(
            f"passed for {', '.join(statuses)}. Not run: {', '.join(sorted(missing))}. "
            f"{subject.run('why_not_compared')}".rstrip()
        )
    return f"passed for {' and '.join(statuses)}."


@rule(35, "Test outputs keep away from zero where the scale is large")
def output_survives_drift(subject: Subject) -> str:
    """Versions of libtorch differ in the last bits of the largest numbers."""
    output = subject.array(subject.output)
    # Uncertainties and warnings are exempt.
    drift, misses = expected_drift(output[:, _intensities(subject)])
    require(
        misses == 0,
        f"{misses} pixels lie so near to zero that a drift of {drift:.2g} exceeds the tolerance. "
        "Use a test image without such values.",
    )
    raise NotRunError(
        f"A drift of {drift:.2g}, as measured between versions, stays within the tolerance. Not "
        "run: libtorch 2.0.0."
    )


@rule(36, "There is no sample tensor")
def has_no_sample(subject: Subject) -> str:
    """In the zoo's Fiji check the sample would be fed, but the test output compared."""
    found = [t["id"] for t in (subject.input, subject.output) if "sample_tensor" in t]
    require(not found, f"`sample_tensor` in {', '.join(found)}. Remove it.")
    return "None."


@rule(37, "pytorch_version is a plain release that was reviewed")
def torch_is_a_release(subject: Subject) -> str:
    """From conda-forge the zoo builds an environment with it."""
    releases = []
    for name, entry in subject.weights.items():
        found = entry.get("pytorch_version")
        if name not in _OF_TORCH:  # rules 29 and 31 judge these
            continue
        require(
            isinstance(found, str) and bool(re.fullmatch(r"\d+\.\d+\.\d+", found)),
            f"pytorch_version of {name} is {found!r}; write a release such as 2.7.1, no `+cpu`.",
        )
        require(
            found in REVIEWED_TORCH,
            f"{found} of {name} was not reviewed: {', '.join(REVIEWED_TORCH)} were.",
        )
        releases.append(found)
    require(bool(releases), "No weights name a release. Add the TorchScript.")
    return f"{', '.join(dict.fromkeys(releases))}."


@rule(38, "Every file with a slot for it has its sha256")
def hashes_agree(subject: Subject) -> str:
    """Readers refuse files that were changed."""
    wrong = []
    count = 0
    for node in _descriptors(subject.content):
        count += 1
        actual = subject.sha256_of(node["source"])
        if node.get("sha256") != actual:
            wrong.append(str(node["source"]))
    require(not wrong, f"Missing or wrong sha256: {', '.join(wrong)}. Export again.")
    return f"{count} hashes agree."


@rule(39, "The validator has the versions whose verdict counts")
def validator_is_the_right_one(subject: Subject) -> str:
    """Other combinations call every package invalid."""
    del subject
    for name, expected in VALIDATOR.items():
        found = _installed(name)
        require(found == expected, f"{name} is {found}; install {name}=={expected}.")
    pydantic = _installed("pydantic")
    require(
        tuple(int(part) for part in pydantic.split(".")[:2]) < (2, 14),
        f"pydantic is {pydantic}; install 'pydantic<2.14'.",
    )
    return (
        ", ".join(f"{name} {found}" for name, found in VALIDATOR.items())
        + f", pydantic {pydantic}."
    )


def _intensities(subject: Subject) -> list[int]:
    """Return the numbers of the channels that are images."""
    names = subject.axis(subject.output, "channel")["channel_names"]
    return [i for i, name in enumerate(names) if not name.endswith(_NO_IMAGE)]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise BrokenError(f"{name} is not installed. Install {name}=={VALIDATOR[name]}.") from error


def _descriptors(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "source" in node:
            yield node
        for value in node.values():
            yield from _descriptors(value)
    elif isinstance(node, list):
        for value in node:
            yield from _descriptors(value)
