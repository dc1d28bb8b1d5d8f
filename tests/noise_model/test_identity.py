"""Every channel gets its own noise model, or an error says which one it was given."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model import (
    Acquisition,
    GaussianMixtureNoiseModel,
    NoiseModelInfo,
    acquisition_warnings,
    check_noise_models,
    load_noise_models,
    noise_model_file,
    require_usable,
)
from careamics_denoisplit.noise_model.identity import match_channels, measured_noise

NAMES = ("er", "F-actin")


def constant_model(
    std: float, channel: str | None = None, **info: Any
) -> GaussianMixtureNoiseModel:
    weight = torch.tensor([[0.0, 0.0], [2 * float(np.log(std)), -30.0], [0.0, 0.0]])
    described = NoiseModelInfo(channel=channel, **info)
    return GaussianMixtureNoiseModel(weight, 0.0, 1000.0, 0.01, described)


def noisy(std: float, seed: int = 0, shape: tuple[int, ...] = (128, 128)) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    signal = 500 + 300 * np.sin(x / 9) * np.cos(y / 7)
    return (signal + std * rng.standard_normal(shape)).astype(np.float32)


def write_models(folder: Path, *names: str) -> None:
    for name in names:
        constant_model(10.0, name).save(folder / noise_model_file(name))


def test_a_folder_gives_the_models_in_the_order_of_the_channels(tmp_path: Path) -> None:
    write_models(tmp_path, "nuclei", "F-actin", "er")

    models = load_noise_models(tmp_path, NAMES)

    assert [model.info.channel for model in models] == ["er", "F-actin"]


def test_a_folder_of_careamics_is_taken_by_number(tmp_path: Path) -> None:
    for index, std in enumerate((5.0, 50.0)):
        constant_model(std).save(tmp_path / f"noise_model_ch{index}.npz")

    models = load_noise_models(tmp_path, NAMES)

    assert [round(model.std(torch.tensor(1.0)).item()) for model in models] == [5, 50]


def test_objects_paths_and_mappings_are_accepted(tmp_path: Path) -> None:
    write_models(tmp_path, *NAMES)
    path, model = tmp_path / "noise_model_F_actin.npz", constant_model(3.0, "er")

    assert load_noise_models([model, path], NAMES)[0] is model
    assert load_noise_models({"F-actin": path, "er": model}, NAMES)[0] is model
    assert load_noise_models(model, ("er",)) == (model,)
    assert load_noise_models(str(path), ("F-actin",))[0].info.channel == "F-actin"


def test_a_missing_noise_model_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write_models(tmp_path, "er", "nuclei")

    with pytest.raises(
        NoiseModelError,
        match=r"missing in .*: noise_model_F_actin\.npz\. There are noise_model_er\.npz",
    ):
        load_noise_models(tmp_path, NAMES)


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    with pytest.raises(NoiseModelError, match="There are none"):
        load_noise_models(tmp_path, NAMES)


@pytest.mark.parametrize(("count", "problem"), [(1, "missing"), (3, "too many")])
def test_missing_and_too_many_models_are_refused(count: int, problem: str) -> None:
    with pytest.raises(
        NoiseModelError, match=rf"{problem}: 2 channels \(er, F-actin\).*got {count}"
    ):
        load_noise_models([constant_model(1.0)] * count, NAMES)


def test_too_many_numbered_files_are_refused(tmp_path: Path) -> None:
    for index in range(3):
        constant_model(5.0).save(tmp_path / f"noise_model_ch{index}.npz")

    with pytest.raises(NoiseModelError, match="too many"):
        load_noise_models(tmp_path, NAMES)


def test_a_mapping_with_other_names_is_refused() -> None:
    with pytest.raises(
        NoiseModelError, match=r"missing are \['F-actin'\], too many are \['actin'\]"
    ):
        load_noise_models({"er": constant_model(1.0), "actin": constant_model(1.0)}, NAMES)


def test_d4_swapped_models_are_refused_by_their_names() -> None:
    models = [constant_model(1.0, "F-actin"), constant_model(1.0, "er")]

    with pytest.raises(
        NoiseModelError, match=r"'er' was fitted on 'F-actin'.*'F-actin' was fitted"
    ):
        load_noise_models(models, NAMES)


def test_d4_numbered_models_in_another_order_are_refused() -> None:
    models = [constant_model(1.0, channel_index=1), constant_model(1.0, channel_index=0)]

    with pytest.raises(NoiseModelError, match="marked as channel 1"):
        load_noise_models(models, NAMES)


def test_d4_swapped_models_without_names_are_found_by_the_likelihood_of_every_pairing() -> None:
    images = [noisy(10.0), noisy(40.0, 1)]
    models = [constant_model(40.0), constant_model(10.0)]

    with pytest.raises(
        NoiseModelError,
        match=r"swapped between channels.*er on er \d.*er on F-actin \d.*F-actin on er \d",
    ):
        check_noise_models(models, images, NAMES)


def test_d4_models_in_the_right_order_raise_no_warning() -> None:
    images = [noisy(10.0), noisy(40.0, 1)]

    assert check_noise_models([constant_model(10.0), constant_model(40.0)], images, NAMES) == ()


def test_d4_equal_noise_is_never_taken_for_swapped() -> None:
    images = [noisy(20.0), noisy(20.5, 1)]

    assert check_noise_models([constant_model(20.5), constant_model(20.0)], images, NAMES) == ()


def test_d4_a_rotation_of_three_models_is_put_right() -> None:
    stds = (5.0, 20.0, 80.0)
    models = [constant_model(std) for std in (20.0, 80.0, 5.0)]
    names = ("a", "b", "c")

    with pytest.raises(NoiseModelError, match=r"best assignment is a: the model given for c, b: "):
        check_noise_models(models, [noisy(std) for std in stds], names)


def test_d4_a_range_that_does_not_cover_the_data_warns() -> None:
    models = [constant_model(10.0), constant_model(40.0, observation_range=(0.0, 300.0))]

    (warning,) = check_noise_models(models, [noisy(10.0), noisy(40.0, 1)], NAMES)

    assert "of the pixels of 'F-actin' lie outside 0 to 300" in warning


def test_d4_another_level_of_noise_warns() -> None:
    (warning,) = check_noise_models([constant_model(30.0)], [noisy(10.0)], ("er",))

    assert "expects 3 times the noise" in warning


def test_noise_is_measured_without_knowing_the_signal() -> None:
    curve = measured_noise(noisy(25.0, shape=(2, 200, 200)))

    np.testing.assert_allclose(curve.std, 25.0, rtol=0.1)
    assert curve.share.sum() == pytest.approx(1)


def test_the_likelihood_of_every_pairing_is_a_table_of_models_and_channels() -> None:
    models = [constant_model(std) for std in (5.0, 20.0, 80.0)]

    match = match_channels(models, [noisy(std) for std in (5.0, 20.0, 80.0)])

    assert match.nll.shape == (3, 3)
    np.testing.assert_array_equal(match.nll.argmin(axis=0), [0, 1, 2])


@pytest.mark.parametrize("shape", [(2, 2), (1, 50)])
def test_a7_images_too_small_to_measure_noise_in_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(NoiseModelError, match="at least 3 x 3"):
        measured_noise(np.zeros(shape))


def test_failed_models_are_refused_by_name() -> None:
    models = [constant_model(1.0, verdict="warn"), constant_model(1.0, verdict="fail")]

    require_usable(models[:1], NAMES[:1])
    with pytest.raises(NoiseModelError, match=r"F-actin failed its quality check.*--force"):
        require_usable(models, NAMES)


@pytest.mark.parametrize(
    ("images", "settings"),
    [
        (Acquisition(camera="Prime"), ["camera Orca"]),
        (Acquisition(camera="ORCA ", gain=0.46, exposure=0.1), []),
        (Acquisition(gain=0.92, exposure=0.01), ["gain 0.46", "exposure 0.1"]),
        (Acquisition(date="2030-01-01"), []),
        (Acquisition(), []),
    ],
)
def test_other_camera_settings_warn_where_both_sides_are_known(
    images: Acquisition, settings: list[str]
) -> None:
    info = NoiseModelInfo(channel="er", camera="Orca", gain=0.46, exposure=0.1)

    warnings = acquisition_warnings(info, images)

    assert len(warnings) == len(settings)
    for warning, setting in zip(warnings, settings, strict=True):
        assert f"with the {setting}" in warning


def test_unknown_settings_are_not_compared() -> None:
    assert acquisition_warnings(NoiseModelInfo(), Acquisition("Prime", 1.0, 2.0)) == ()
