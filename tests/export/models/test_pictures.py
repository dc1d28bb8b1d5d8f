"""Pictures of a model: the split, and the crops with the largest error."""

import io
import itertools

import numpy as np
from PIL import Image

from careamics_denoisplit.evaluation import Example
from careamics_denoisplit_export.models.pictures import draw_split, draw_worst, worst_crops


def example(seed: int = 0, std: bool = True) -> Example:
    """A test image of 96 x 160 px whose error grows to the right."""
    random = np.random.default_rng(seed)
    truth = random.gamma(2.0, 100.0, (2, 96, 160)).astype(np.float32)
    error = np.linspace(0, 200, 160, dtype=np.float32) * random.standard_normal((2, 96, 160))
    return Example(
        name=f"field {seed}",
        channel_names=("er", "actin"),
        mixture=truth.mean(axis=0),
        mean=(truth + error).astype(np.float32),
        std=np.full((2, 96, 160), 50.0, np.float32) if std else None,
        calibrated=std,
        truth=truth,
    )


def test_the_worst_crops_lie_where_the_error_is_and_do_not_overlap() -> None:
    crops = worst_crops([example()], count=3, side=32)

    assert len(crops) == 3
    assert crops[0].relative_error >= crops[1].relative_error >= crops[2].relative_error
    assert min(crop.x for crop in crops) >= 96
    for one, other in itertools.combinations(crops, 2):
        assert abs(one.y - other.y) >= 32 or abs(one.x - other.x) >= 32
    contrast = example().truth.std(axis=(1, 2))
    expected = np.sqrt(np.mean((50 / contrast) ** 2))
    np.testing.assert_allclose(crops[0].predicted_relative_error, expected, rtol=1e-5)


def test_of_several_images_the_worse_one_is_taken() -> None:
    good = example(1)._replace(mean=example(1).truth)

    crops = worst_crops([good, example(2)], count=2, side=64)

    assert [crop.example for crop in crops] == [1, 1]


def test_a_small_image_is_one_crop() -> None:
    (crop,) = worst_crops([example(std=False)], count=3, side=512)

    assert (crop.y, crop.x) == (0, 0)
    assert crop.predicted_relative_error is None


def test_pictures_are_png_and_the_same_each_time() -> None:
    examples = [example()]
    crops = worst_crops(examples, count=2, side=32)

    split, worst = draw_split(examples[0]), draw_worst(examples, crops)

    assert Image.open(io.BytesIO(split)).format == "PNG"
    wide, high = Image.open(io.BytesIO(worst)).size
    assert wide > 3 * high
    assert split == draw_split(examples[0])
    assert len(split) < 1_000_000


def test_a_prediction_without_spread_is_drawn_too() -> None:
    picture = Image.open(io.BytesIO(draw_split(example(std=False))))

    assert picture.format == "PNG"
