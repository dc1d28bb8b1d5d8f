"""`check_data`: what is wrong with data, before training."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.data import check_data

NAMES = ("er", "actin")


def clean(seed: int) -> np.ndarray:
    """Structures of two channels (C, Y, X)."""
    rng = np.random.default_rng(seed)
    structures = [gaussian_filter(rng.normal(size=(160, 160)), width) for width in (4, 8)]
    return np.stack([1000 + 200 * s / s.std() for s in structures])


TRUTH = clean(0)
NOISY = TRUTH + np.random.default_rng(9).normal(size=TRUTH.shape) * 50
HELD = clean(1)


def test_good_data_pass() -> None:
    report = check_data(
        NOISY, NAMES, mixture=NOISY.sum(axis=0) + 100, truth=TRUTH, validation=HELD, patch_size=64
    )

    assert report.passed
    assert report.warnings == ()
    assert [channel.name for channel in report.channels] == ["er", "actin", "mixture"]
    assert report.channels[0].mean == pytest.approx(NOISY[0].mean(), rel=1e-5)
    assert report.mixture is not None
    assert report.mixture.rule == "sum"
    assert report.mixture.offset == pytest.approx(100, abs=1)
    assert report.images[0].axes == "CYX"
    assert {(c.first, c.second) for c in report.correlations} == {
        ("er", "actin"),
        ("er", "truth er"),
        ("actin", "truth actin"),
    }
    json.dumps(report.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        (np.where(NOISY.max() - 1 < NOISY, np.nan, NOISY), {}, "1 NaN"),
        ({"er": NOISY[0], "actin": np.full((160, 160), 7)}, {}, "constant"),
        ({"er": NOISY[0], "actin": NOISY[0]}, {}, "nearly the same"),
        (NOISY[0], {}, "2 expected"),
        (NOISY, {"validation": NOISY[:, 20:120, :]}, "Validation data equal training data"),
        (NOISY, {"truth": TRUTH[::-1]}, "fits better in another order"),
        (NOISY, {"truth": TRUTH[:, :100]}, "differ in number or size"),
        (NOISY, {"mixture": HELD[0]}, "does not show the fields"),
        (NOISY, {"mixture": [HELD[0], HELD[1]]}, "Mixture and channels differ in number"),
        (
            {"er": [NOISY[0], HELD[0]], "actin": [NOISY[1], HELD[1]]},
            {"mixture": [HELD[0]]},
            "Mixture and channels differ in number",
        ),
        (NOISY, {"mixture": HELD[0, :100]}, "Mixture and channels differ in number or size"),
        (np.where(NOISY.max() - 1 < NOISY, np.nan, NOISY), {"mixture": HELD[0]}, "be compared"),
        (NOISY, {"patch_size": 161}, r"patches need at least \(161, 161\)"),
        ([NOISY, HELD[:1]], {}, "2 expected"),
        ({"er": [NOISY[0], HELD[0]], "actin": NOISY[1]}, {}, "different numbers of images"),
        ({"er": NOISY[0], "actin": NOISY[1, :90]}, {}, "differ in size"),
        (Path("no/such/file.tif"), {}, "no/such/file.tif"),
    ],
)
def test_every_fault_is_named(target: Any, options: dict[str, Any], problem: str) -> None:
    report = check_data(target, NAMES, **options)

    assert not report.passed
    assert any(re.search(problem, text) for text in report.problems), report.problems


@pytest.mark.parametrize(
    ("target", "options", "warning"),
    [
        ({"er": NOISY[0], "actin": NOISY[0] + NOISY[1] * 0.3}, {}, "nearly the same"),
        (
            {"er": NOISY[0], "actin": np.random.default_rng(1).normal(size=(160, 160))},
            {},
            "'actin' shows no structure",
        ),
        ((NOISY * 60).clip(0, 65535).astype(np.uint16), {}, "saturated at 65535"),
        (NOISY, {"mixture": NOISY[0] + 0.3 * NOISY[1]}, "neither sum nor mean"),
        (np.stack([NOISY, HELD, clean(3)]), {}, "were guessed as SCYX"),
    ],
)
def test_every_doubt_is_named(target: Any, options: dict[str, Any], warning: str) -> None:
    report = check_data(target, NAMES, **options)

    assert any(warning in text for text in report.warnings), (report.warnings, report.problems)


@pytest.mark.parametrize("names", [("er", "er"), ("er", "CON"), ("er", "consistency")])
def test_names_that_cannot_be_are_a_problem(names: tuple[str, str]) -> None:
    report = check_data(NOISY, names)

    assert len(report.problems) == 1
    assert names[1] in report.problems[0]


def test_saturation_and_structure_are_measured() -> None:
    report = check_data((NOISY * 60).clip(0, 65535).astype(np.uint16), NAMES)
    expected = (NOISY * 60 >= 65535).mean(axis=(1, 2))

    for channel, share in zip(report.channels, expected, strict=True):
        assert channel.saturated_fraction == pytest.approx(share, abs=0.01)
        assert channel.structure is not None
        assert channel.structure > 0.3
