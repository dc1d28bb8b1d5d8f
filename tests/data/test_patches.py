"""Patches by number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from careamics_denoisplit.data import (
    GridPatches,
    ImageView,
    IndexedSampler,
    Light,
    Plane,
    Recipe,
    Statistics,
    TrainingPatches,
    collate,
    planes_of,
)
from careamics_denoisplit.data.patches import Field, grid_corners
from careamics_denoisplit.images import read_images

PATCH = 8
PLAIN = Statistics(
    input_mean=0.0,
    input_std=1.0,
    target_means=(0.0, 0.0),
    target_stds=(1.0, 1.0),
    channel_names=("er", "actin"),
    mixing="mean",
    input_percentiles={},
    n_pixels=1,
)
LIGHT = Light(0.0, np.array([0.0, 1e4]), np.array([1.0, 1e4]))
RECIPE = Recipe(patch=PATCH, rule="mean", jitter=0.0, independent=0.0, augment=False, seed=3)


def numbered(first: float, shape: tuple[int, int, int] = (2, 32, 24)) -> np.ndarray:
    """Planes whose pixel values tell where they lie."""
    return first + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def planes(array: np.ndarray) -> tuple[Plane, ...]:
    """All planes of an array (S, Y, X)."""
    return tuple(
        plane
        for image in read_images(array, axes="SYX")
        for plane in planes_of(ImageView(image, in_memory=True), 0)
    )


ER, ACTIN = planes(numbered(0)), planes(numbered(10_000))


def patches(**changes: Any) -> TrainingPatches:
    """Training patches of two channels of two fields."""
    dataset = TrainingPatches((ER, ACTIN), None, PLAIN, RECIPE._replace(**changes))
    dataset.lights = (LIGHT, LIGHT)
    return dataset


def drawn(dataset: TrainingPatches, numbers: Sequence[int]) -> torch.Tensor:
    """Inputs and targets of some patches."""
    chosen = [dataset[number] for number in numbers]
    return torch.cat([torch.cat([patch.input, patch.target]) for patch in chosen])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": True},
        {"jitter": 0.3},
        {"dimming": 0.8, "independent": 0.5},
        {"independent": 0.5, "augment": True, "jitter": 0.3},
    ],
)
def test_e5_a_patch_follows_from_its_number_alone(changes: dict[str, Any]) -> None:
    forward = drawn(patches(**changes), range(60))
    fresh = patches(**changes)
    backward = [drawn(fresh, [number]) for number in reversed(range(60))]

    assert torch.equal(forward, torch.cat(backward[::-1]))


def test_e8_another_seed_gives_other_patches() -> None:
    assert not torch.equal(drawn(patches(), range(24)), drawn(patches(seed=4), range(24)))


def test_every_epoch_draws_other_patches() -> None:
    dataset = patches()
    first, second = drawn(dataset, range(24)), drawn(dataset, range(24, 48))

    assert not torch.equal(first, second)


def test_an_epoch_takes_as_many_patches_from_a_field_as_fit_into_it() -> None:
    dataset = patches()
    fields = [int(dataset[n].target[0, 0, 0] >= 32 * 24) for n in range(24, 48)]

    assert len(dataset) == 2 * (32 // PATCH) * (24 // PATCH)
    assert fields.count(0) == fields.count(1) == 12


def test_patches_lie_anywhere_in_the_field() -> None:
    corners = {int(patches()[n].target[0, 0, 0]) % (32 * 24) for n in range(400)}

    assert {corner // 24 for corner in corners} == set(range(32 - PATCH + 1))
    assert {corner % 24 for corner in corners} == set(range(24 - PATCH + 1))


def test_aligned_channels_come_from_the_same_place() -> None:
    for number in range(50):
        target = patches(augment=True)[number].target
        assert torch.equal(target[1] - target[0], torch.full((PATCH, PATCH), 10_000.0))


def test_independent_channels_come_from_places_of_their_own() -> None:
    dataset = patches(independent=1.0)
    shifts = {float(dataset[n].target[1, 0, 0] - dataset[n].target[0, 0, 0]) for n in range(30)}

    assert len(shifts) > 20


def test_a_probability_mixes_aligned_and_independent_patches() -> None:
    dataset = patches(independent=0.5)
    shifts = [float(dataset[n].target[1, 0, 0] - dataset[n].target[0, 0, 0]) for n in range(200)]

    assert 70 < sum(shift == 10_000 for shift in shifts) < 130


def test_all_eight_orientations_occur_and_input_turns_with_the_target() -> None:
    dataset = patches(augment=True)
    orientations = set()
    for number in range(120):
        patch = dataset[number]
        target = patch.target[0]
        orientations.add((float(target[0, 1] - target[0, 0]), float(target[1, 0] - target[0, 0])))
        assert torch.equal(patch.input[0], patch.target.mean(dim=0))

    steps = {(1, 24), (-1, 24), (1, -24), (-1, -24)}
    assert orientations == steps | {(y, x) for x, y in steps}


def test_without_augmentation_nothing_is_turned() -> None:
    target = patches()[7].target[0]

    assert target[0, 1] - target[0, 0] == 1
    assert target[1, 0] - target[0, 0] == 24


def test_jitter_changes_the_input_and_not_the_target() -> None:
    plain, jittered = patches()[5], patches(jitter=0.5)[5]
    ratio = jittered.input[0] / plain.input[0]

    assert torch.equal(plain.target, jittered.target)
    assert not torch.allclose(ratio, torch.ones(()))


def test_dimming_changes_the_target_and_the_input_stays_its_mean() -> None:
    dataset = patches(dimming=0.8)
    plain = patches()
    changed = [
        not torch.equal(plain[number].target[channel], dataset[number].target[channel])
        for number in range(40)
        for channel in (0, 1)
    ]

    assert 20 < sum(changed) < 60
    for number in range(10):
        patch = dataset[number]
        assert torch.allclose(patch.input[0], patch.target.mean(dim=0), rtol=1e-6)


def test_a_measured_mixture_is_cropped_with_the_channels() -> None:
    mixture = planes(numbered(50_000))
    recipe = RECIPE._replace(rule=None, augment=True)
    dataset = TrainingPatches((ER, ACTIN), mixture, PLAIN, recipe)
    for number in range(20):
        patch = dataset[number]
        assert torch.equal(patch.input[0] - patch.target[0], torch.full((PATCH,) * 2, 50_000.0))


def test_patches_are_normalised_by_the_statistics_of_each_channel() -> None:
    statistics = PLAIN.model_copy(
        update={
            "input_mean": 5.0,
            "input_std": 2.0,
            "target_means": (1.0, 10_000.0),
            "target_stds": (3.0, 7.0),
        }
    )
    raw = patches()[3]
    patch = TrainingPatches((ER, ACTIN), None, statistics, RECIPE)[3]

    torch.testing.assert_close(patch.input, (raw.input - 5) / 2)
    torch.testing.assert_close(patch.target[0], (raw.target[0] - 1) / 3)
    torch.testing.assert_close(patch.target[1], (raw.target[1] - 10_000) / 7)
    assert patch.input.dtype == patch.target.dtype == torch.float32


def test_longer_epochs_repeat_the_fields_evenly() -> None:
    dataset = TrainingPatches((ER, ACTIN), None, PLAIN, RECIPE, length=60)
    fields = [int(dataset[n].target[0, 0, 0] >= 32 * 24) for n in range(48)]

    assert len(dataset) == 60
    assert fields.count(0) == 24


def loaded(workers: int, context: str | None, position: tuple[int, int]) -> torch.Tensor:
    """Batches of one epoch."""
    dataset = patches(augment=True, jitter=0.2)
    sampler = IndexedSampler(len(dataset))
    sampler.set_position(*position)
    loader = DataLoader(
        dataset,
        batch_size=5,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=context,
        collate_fn=collate,
    )
    return torch.cat([batch.input for batch in loader])


@pytest.mark.parametrize("workers", [1, 2])
def test_e7_workers_change_nothing(workers: int) -> None:
    assert torch.equal(loaded(workers, "fork", (2, 5)), loaded(0, None, (2, 5)))


@pytest.mark.slow
def test_e7_spawned_workers_change_nothing() -> None:
    assert torch.equal(loaded(2, "spawn", (2, 5)), loaded(0, None, (2, 5)))


def test_e5_a_continued_epoch_is_the_rest_of_the_unbroken_one() -> None:
    assert torch.equal(loaded(0, None, (1, 10)), loaded(0, None, (1, 0))[10:])


def test_the_sampler_counts_over_all_epochs() -> None:
    sampler = IndexedSampler(4)

    assert list(sampler) == [0, 1, 2, 3]
    sampler.set_position(2, 3)
    assert list(sampler) == [11]
    sampler.set_epoch(2)
    assert list(sampler) == [11], "the position in the continued epoch is kept"
    sampler.set_epoch(3)
    assert list(sampler) == [12, 13, 14, 15]
    assert len(sampler) == 4


@pytest.mark.parametrize("position", [(-1, 0), (0, -1), (0, 5)])
def test_a_position_outside_the_epoch_is_refused(position: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        IndexedSampler(4).set_position(*position)


def test_the_validation_grid_covers_what_fits_and_never_changes() -> None:
    fields = [Field((er, actin)) for er, actin in zip(ER, ACTIN, strict=True)]
    grid = GridPatches(fields, PLAIN, 10, "mean")
    corners = [int(grid[n].target[0, 0, 0]) for n in range(len(grid))]

    assert len(grid) == 2 * 3 * 2
    assert corners[:6] == [y * 24 + x for y in (0, 10, 20) for x in (0, 10)]
    assert torch.equal(grid[3].input, grid[3].input)
    assert torch.equal(grid[3].input[0], grid[3].target.mean(dim=0))


@pytest.mark.parametrize(
    ("shape", "count"), [((8, 8), 1), ((7, 8), 0), ((17, 8), 2), ((40, 33), 20)]
)
def test_a_grid_has_as_many_corners_as_patches_fit(shape: tuple[int, int], count: int) -> None:
    assert len(grid_corners(shape, PATCH)) == count
