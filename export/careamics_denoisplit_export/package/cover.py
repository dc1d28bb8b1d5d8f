"""The cover of a package: the test image beside its separated channels."""

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_SIZE = (320, 320)
_RANGE = (0.5, 99.8)
# Magenta, green and so on: pairs that people who do not tell red from green can still tell.
_COLOURS = np.array(
    [
        [1.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
        [0.0, 0.6, 1.0],
        [1.0, 0.6, 0.0],
        [1.0, 1.0, 1.0],
    ],
    dtype=np.float32,
)


def cover_png(mixture: Float[np.ndarray, "y x"], channels: Float[np.ndarray, "c y x"]) -> bytes:
    """Draw the middle square of an image twice: the mixture in gray, the channels in colour.

    Parameters
    ----------
    mixture : numpy.ndarray of shape (Y, X)
        Test input, gray values.
    channels : numpy.ndarray of shape (C, Y, X)
        Denoised channels.

    Returns
    -------
    bytes
        PNG, 640 x 320 pixels, below 500 kB.
    """
    gray = np.repeat(_stretched(mixture)[..., None], 3, axis=2)
    colours = np.resize(_COLOURS, (len(channels), 3))
    mixed = sum(
        _stretched(channel)[..., None] * colour
        for channel, colour in zip(channels, colours, strict=True)
    )
    halves = [_shrunk(gray), _shrunk(np.clip(mixed, 0, 1))]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(halves, axis=1)).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _stretched(image: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    low, high = np.percentile(image, _RANGE)
    stretched: np.ndarray = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return stretched.astype(np.float32)


def _shrunk(picture: Float[np.ndarray, "y x 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    side = min(picture.shape[:2])
    top, left = ((size - side) // 2 for size in picture.shape[:2])
    square = picture[top : top + side, left : left + side]
    pixels = Image.fromarray((square * 255).round().astype(np.uint8))
    return np.asarray(pixels.resize(_SIZE, Image.Resampling.BOX))
