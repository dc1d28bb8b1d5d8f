"""What the images to score on tell beside their gray values."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.evaluation import Example, evaluate, open_scenes


@pytest.mark.parametrize(("other", "known"), [(0.2, (0.2, 0.1)), (0.3, None)])
def test_the_pixel_size_reaches_the_picture_where_images_agree_on_it(
    trained: TrainedModel, tmp_path: Path, other: float, known: tuple[float, float] | None
) -> None:
    truth = np.random.default_rng(0).normal(100, 20, (2, 40, 32)).astype(np.float32)
    for name, height, image in (("er", 0.2, truth[0]), ("actin", other, truth[1])):
        sizes = {"PhysicalSizeY": height, "PhysicalSizeX": 0.1}
        units = {f"{key}Unit": "\N{MICRO SIGN}m" for key in sizes}
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif", image, metadata={"axes": "YX", **sizes, **units}
        )
    shown: list[Example] = []

    evaluate(
        trained,
        truth.mean(axis=0),
        {name: tmp_path / f"{name}.ome.tif" for name in ("er", "actin")},
        n_samples=2,
        show=shown.append,
    )

    assert shown[0].pixel_size == known


def test_the_axes_that_are_given_reach_the_mixture(trained: TrainedModel, tmp_path: Path) -> None:
    truth = np.random.default_rng(0).normal(100, 20, (2, 3, 40, 32)).astype(np.float32)
    named = dict(zip(("er", "actin"), truth, strict=True))
    frames = tmp_path / "frames.ome.tif"
    tifffile.imwrite(frames, truth.mean(axis=0), metadata={"axes": "CYX"})

    with pytest.raises(DataError, match="3 channels; 1 expected"):
        open_scenes(trained.statistics, mixture=frames, truth=named)
    scenes = open_scenes(trained.statistics, mixture=frames, truth=named, axes="SYX")

    assert len(scenes) == 3
