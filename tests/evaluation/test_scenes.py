"""What the images to score on tell beside their gray values."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.evaluation import Example, evaluate


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
