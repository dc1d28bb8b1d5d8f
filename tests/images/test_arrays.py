"""Rows A1 to A9 for arrays: a named error or the right numbers; no array is changed."""

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import (
    SaturationWarning,
    as_float32,
    check_channel_names,
    check_pixels,
    read_images,
)


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(100, 10, shape).astype(dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a1_a_nan_pixel_is_refused(value: float, dtype: str) -> None:
    array = noise(64, 64, dtype=dtype)
    array[17, 42] = value
    with pytest.raises(DataError, match=r"1 NaN and 0 inf|0 NaN and 1 inf") as caught:
        check_pixels(array, "mixture")

    assert "mixture, channel 0" in str(caught.value)
    assert "(y, x) = (17, 42)" in str(caught.value)


def test_a1_channel_sample_count_and_first_position_are_named() -> None:
    array = noise(3, 2, 20, 30)
    array[1, 1, 5, 7:10] = np.nan
    array[1, 1, 6, 0] = np.inf
    images = read_images(array, axes="SCYX", name="training")
    check_pixels(images[0])
    with pytest.raises(DataError) as caught:
        check_pixels(images[1])

    for part in ("training, image 1", "channel 1", "3 NaN and 1 inf", "(y, x) = (5, 7)"):
        assert part in str(caught.value)


def test_a1_the_plane_of_a_series_and_the_name_of_the_channel_are_given() -> None:
    data = xr.DataArray(
        noise(4, 2, 8, 8), dims=("time", "channel", "y", "x"), coords={"channel": ["er", "actin"]}
    )
    data[2, 1, 3, 4] = np.nan
    with pytest.raises(DataError, match=r"channel actin: 1 NaN .* time 2, \(y, x\) = \(3, 4\)"):
        check_pixels(read_images(data)[0])


def test_a1_the_position_is_right_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("careamics_denoisplit.images.checks._BLOCK_BYTES", 30 * 4 * 7)
    array = noise(50, 30)
    array[33, 21] = np.nan
    with pytest.raises(DataError, match=r"\(y, x\) = \(33, 21\)"):
        check_pixels(array)


@pytest.mark.parametrize("value", [0, 7])
def test_a2_a_constant_channel_is_refused_for_training_only(value: int) -> None:
    array = noise(2, 16, 16)
    array[1] = value
    data = xr.DataArray(array, dims=("channel", "y", "x"), coords={"channel": ["er", "actin"]})

    assert check_pixels(data).constant_channels == ("actin",)
    with pytest.raises(DataError, match="channel actin is constant"):
        check_pixels(data, "training", refuse_constant=True)


@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("uint16", 4095)])
def test_a3_saturated_pixels_give_a_warning_with_their_share(dtype: str, full: int) -> None:
    array = np.full((100, 100), 5, dtype)
    array[:2] = full
    with pytest.warns(SaturationWarning, match=rf"2\.0% of the pixels are saturated at {full}"):
        report = check_pixels(array, "er")

    assert report.channels[0].saturated_fraction == pytest.approx(0.02)
    assert report.saturated_channels == ("0",)
    assert report.model_dump()["channels"][0]["saturated_fraction"] == pytest.approx(0.02)


def test_a3_few_saturated_pixels_and_other_maxima_give_no_warning() -> None:
    array = np.full((100, 100), 5, np.uint16)
    array[0, :99] = 65535
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert check_pixels(array).saturated_channels == ()
        assert check_pixels(np.where(array > 5, 300, array)).saturated_channels == ()
        assert check_pixels(np.full((9, 9), 255, np.uint8)).saturated_channels == ()


def test_a4_gray_values_become_float32_before_anything_is_added() -> None:
    first = as_float32(np.full((2, 2), 60000, np.uint16))

    assert (first + first == 120000).all()


WRONG_AXES = [
    ((64, 64), "XX", "X stands twice"),
    ((64, 64), "YQ", "unknown letter Q"),
    ((64, 64), "YC", "Y and X are both needed"),
    ((64, 64), "CYX", "C=64 Y=64 X=?"),
    ((64, 64), "", "Y and X are both needed"),
    ((2, 64, 64), "YX", "Y=2 X=64 ?=64"),
    ((2, 64, 64), "SCYX", "S=2 C=64 Y=64 X=?"),
    ((2, 64, 64), "C,Y,X", "unknown letter ,"),
    ((3, 2, 64, 64), "CCYX", "C stands twice"),
    ((3, 2, 64, 64), "CYX", "C=3 Y=2 X=64 ?=64"),
    ((2, 2, 2, 2, 64, 64), "ABCDYX", "unknown letter A, B, D"),
    ((64,), "X", "Y and X are both needed"),
]


@pytest.mark.parametrize(("shape", "axes", "message"), WRONG_AXES)
def test_a5_wrong_axes_are_shown_beside_the_shape(
    shape: tuple[int, ...], axes: str, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_images(np.zeros(shape), axes=axes)

    assert message in str(caught.value)


def test_a5_the_channel_count_is_never_taken_from_height() -> None:
    array = noise(40, 50, 2)
    with pytest.raises(DataError, match="looks like colors"):
        read_images(array, channels=2)
    with pytest.raises(DataError, match=r"C=40 Y=50 X=2.*Axis 2 has 2 entries"):
        read_images(array, axes="CYX", channels=2)

    assert read_images(array, axes="YXC", channels=2)[0].data.shape == (2, 40, 50)


@pytest.mark.parametrize("colors", [3, 4])
def test_a5_an_image_with_colors_last_is_refused(colors: int) -> None:
    with pytest.raises(DataError, match="looks like colors"):
        read_images(noise(32, 32, colors))


def test_a5_a_number_of_channels_that_differs_names_guess_and_shape() -> None:
    with pytest.raises(DataError, match=r"guessed as S=3 Y=32 X=32.*1 channels; 2 expected"):
        read_images(noise(3, 32, 32), axes=None, channels=2)
    with pytest.raises(DataError, match=r"read as C=3 Y=32 X=32.*1 expected"):
        read_images(noise(3, 32, 32), axes="CYX", channels=1)


def test_a5_dimensions_that_contradict_the_axes_are_refused() -> None:
    data = xr.DataArray(noise(2, 8, 8), dims=("channel", "y", "x"))
    with pytest.raises(DataError, match=r"names its axes C=2 Y=8 X=8.*given are S=2 Y=8 X=8"):
        read_images(data, axes="SYX")
    with pytest.raises(DataError, match="call them sample, time"):
        read_images(xr.DataArray(noise(2, 8, 8), dims=("wave", "y", "x")))


@pytest.mark.parametrize(
    ("shape", "channels", "letters"),
    [
        ((32, 32), None, "YX"),
        ((2, 32, 32), None, "CYX"),
        ((2, 32, 32), 1, "SYX"),
        ((100, 32, 32), None, "SYX"),
        ((5, 2, 32, 32), 2, "SCYX"),
        ((5, 4, 32, 32), 1, "STYX"),
    ],
)
def test_a5_what_is_guessed_is_recorded(
    shape: tuple[int, ...], channels: int | None, letters: str
) -> None:
    image = read_images(noise(*shape), channels=channels)[0]

    assert image.axes == letters
    assert image.axes_guessed


def test_a5_an_open_question_is_an_error() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 2, 32, 32\) and nothing says"):
        read_images(noise(2, 2, 32, 32), channels=2)
    with pytest.raises(DataError, match="nothing says what its axes are"):
        read_images(noise(32))


def test_a6_channels_in_another_order_are_noticed() -> None:
    data = xr.DataArray(
        noise(2, 8, 8), dims=("channel", "y", "x"), coords={"channel": ["F-actin", "ER"]}
    )
    image = read_images(data)[0]
    check_channel_names(image, ("F_actin", "er"))
    with pytest.raises(DataError, match="called F-actin, ER, but they are used as er, f_actin"):
        check_channel_names(image, ("er", "f_actin"))
    check_channel_names(read_images(noise(2, 8, 8))[0], ("er", "actin"))


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 0), (0, 8, 8), (2, 0, 8)])
def test_a7_an_image_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"no pixels: its shape is \("):
        read_images(np.zeros(shape), axes="CYX"[-len(shape) :])
    with pytest.raises(DataError, match="no pixels"):
        check_pixels(np.zeros(shape))


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_a7_a8_every_size_from_one_pixel_is_read(height: int, width: int) -> None:
    array = np.arange(height * width, dtype=np.float32).reshape(height, width)
    (image,) = read_images(array)

    assert image.height_width == (height, width)
    np.testing.assert_array_equal(image.data.values[0], array)
    assert check_pixels(image).channels[0].count == height * width


def variants() -> dict[str, np.ndarray]:
    plain = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    wide = np.zeros((6, 8), np.float32)
    wide[::2, ::2] = plain
    return {
        "float32": plain,
        **{name: plain.astype(name) for name in ("float16", "float64", "longdouble")},
        **{name: plain.astype(name) for name in ("int8", "uint8", "int32", "uint64")},
        "big endian": plain.astype(">f4"),
        "big endian integers": plain.astype(">u2"),
        "Fortran order": np.asfortranarray(plain),
        "steps": wide[::2, ::2],
        "negative strides": plain[::-1, ::-1].copy()[::-1, ::-1],
        "nothing masked": np.ma.masked_array(plain, mask=False),
        "matrix": np.array(plain),
    }


@pytest.mark.parametrize("name", variants())
def test_a9_every_real_type_and_layout_gives_the_same_numbers(name: str) -> None:
    array = variants()[name]
    before, dtype = np.array(array), array.dtype
    array.flags.writeable = False
    (image,) = read_images(array)
    check_pixels(image)
    converted = as_float32(image.data)
    converted += 1

    np.testing.assert_array_equal(converted[0] - 1, variants()["float32"])
    assert converted.dtype == np.dtype("=f4")
    assert converted.flags.c_contiguous
    np.testing.assert_array_equal(array, before)
    assert array.dtype == dtype


def test_a9_booleans_are_zero_and_one() -> None:
    np.testing.assert_array_equal(as_float32(np.eye(2, dtype=bool)), np.eye(2))


def test_a9_the_array_of_the_caller_cannot_be_changed_through_the_image() -> None:
    array = noise(8, 8)
    (image,) = read_images(array)
    with pytest.raises(ValueError, match="read-only"):
        image.data.values[0, 0, 0] = 0

    assert array.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 4), complex),
        np.ones((4, 4), object),
        np.full((4, 4), "a"),
        np.ones((4, 4), "M8[s]"),
        np.ones((4, 4), [("a", "f4")]),
    ],
    ids=["complex", "object", "text", "dates", "records"],
)
def test_a9_values_that_are_no_real_numbers_are_refused(array: np.ndarray) -> None:
    for use in (read_images, check_pixels, as_float32):
        with pytest.raises(DataError, match="real numbers are needed"):
            use(array)


def test_a9_masked_pixels_are_refused() -> None:
    array = np.ma.masked_greater(noise(4, 4), 1e9)
    array[1, 1] = np.ma.masked
    with pytest.raises(DataError, match="1 masked pixels"):
        read_images(array)
    with pytest.raises(DataError, match="1 masked pixels"):
        as_float32(array)


def test_a9_large_small_and_negative_values_are_kept() -> None:
    extreme = np.array([[1e30, -1e30], [1e-40, -50.0]])
    check_pixels(extreme)

    np.testing.assert_array_equal(as_float32(extreme), extreme.astype(np.float32))
    with pytest.raises(DataError, match="2 values beyond the range of float32"):
        as_float32(np.array([[1e39, -1e39]]))


def test_samples_become_images_and_series_stay_in_one() -> None:
    array = noise(3, 4, 2, 8, 9)
    images = read_images(array, axes="STCYX", name="mixture")

    assert [image.index for image in images] == [0, 1, 2]
    assert images[0].data.dims == ("time", "channel", "y", "x")
    np.testing.assert_array_equal(images[2].data, array[2])


@given(order=st.permutations("TZCYX"))
@settings(deadline=None, max_examples=25)
def test_axes_in_any_order_give_the_same_image(order: list[str]) -> None:
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    shuffled = array.transpose(["TZCYX".index(letter) for letter in order])
    (image,) = read_images(shuffled, axes="".join(order))

    np.testing.assert_array_equal(image.data, array)


def test_names_and_pixel_size_are_read_from_coordinates() -> None:
    data = xr.DataArray(
        noise(2, 4, 4),
        dims=("channel", "y", "x"),
        coords={
            "channel": ["er", "actin"],
            "y": ("y", np.arange(4) * 65.0, {"units": "nm"}),
            "x": ("x", np.arange(4) * 0.13, {"units": "um"}),
        },
        attrs={"camera": "A", "gain": 2},
    )
    (image,) = read_images(data)

    assert image.channel_names == ("er", "actin")
    assert image.pixel_size == pytest.approx((0.065, 0.13))
    assert image.acquisition == {"camera": "A", "gain": "2"}
    assert read_images(data.drop_vars("y"))[0].pixel_size is None


def test_several_arrays_are_numbered_and_lists_may_be_nested() -> None:
    images = read_images([noise(8, 8), [noise(9, 7)]], name="mixture")

    assert [image.source for image in images] == ["mixture 0", "mixture 1"]
    assert images[0] is read_images(images)[0]


@pytest.mark.parametrize("source", [[], None, 3, [1.0, 2.0], {"er": 1}])
def test_what_is_no_image_is_refused(source: object) -> None:
    with pytest.raises(DataError, match=r"No image was given|give arrays or paths"):
        read_images(source)
