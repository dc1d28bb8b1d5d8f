"""Synthetic images and noise: the demo sample and the noise protocol of the benchmarks.

Two independent things live here. `generate_sample` draws fields that look like a fluorescence
microscope's: a mesh of filaments and a population of vesicles, seen through a point spread
function by a camera with offset, shot noise and read noise. `add_noise` applies the protocol
of the paper's benchmarks (Sec. 5.2) to clean images of any origin.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatImages = NDArray[np.float32]
Field = NDArray[np.float64]

BIOSR_SIGMA = {
    ("er", "ccps"): 3400.0,
    ("er", "mt"): 4450.0,
    ("ccps", "mt"): 3150.0,
    ("f-actin", "er"): 4450.0,
    ("f-actin", "ccps"): 3050.0,
    ("f-actin", "mt"): 4300.0,
}
"""Std of the level-1 Gaussian noise for each pair of BioSR structures, gray values (Sec. 5.2)."""

NOISE_LEVELS = (1.0, 1.5, 2.0, 4.0)
"""Multiples of the level-1 std that the tables of the paper report."""


class Camera(NamedTuple):
    """How photons become counts."""

    offset: float = 100.0
    """Counts of a dark pixel."""
    gain: float = 2.0
    """Counts per detected photon."""
    read_noise: float = 1.2
    """Std of the read-out, in photons."""


DEFAULT_CAMERA = Camera()
"""A camera at a short exposure."""


class SyntheticSample(NamedTuple):
    """Fields of two structures, recorded with much and with little light.

    All arrays have the shape (F, C, Y, X): field, channel, and pixels.
    """

    channel_names: tuple[str, ...]
    clean: FloatImages
    """Expected camera counts without noise."""
    noisy: NDArray[np.uint16]
    """One exposure of each channel, in camera counts."""
    pixel_size: float
    """Edge of a pixel, in micrometres."""


def generate_sample(
    n_fields: int,
    *,
    size: int = 512,
    photons: tuple[float, float] = (7.0, 8.0),
    camera: Camera = DEFAULT_CAMERA,
    seed: int = 0,
) -> SyntheticSample:
    """Draw fields of filaments and vesicles and record each channel once.

    Parameters
    ----------
    n_fields : int
        Number of fields F.
    size : int
        Height and width of a field, in pixels.
    photons : tuple of float
        Photons per pixel that a bright filament and a bright vesicle send in one exposure.
    camera : Camera
        Offset, gain and read noise of the camera.
    seed : int
        The same seed gives the same sample; field `i` does not depend on the number of fields.

    Returns
    -------
    SyntheticSample
        Noise-free and noisy images of shape (F, 2, Y, X).

    Raises
    ------
    ValueError
        If a number is not positive, or a field is smaller than 64 pixels.
    """
    if n_fields < 1 or size < 64 or min(photons) <= 0:
        raise ValueError(
            "A sample needs at least one field of 64 pixels and a positive number of photons, got "
            f"{n_fields} fields, size {size}, photons {photons}."
        )
    streams = np.random.SeedSequence(seed).spawn(n_fields)
    fields = [_field(size, photons, camera, np.random.default_rng(stream)) for stream in streams]
    return SyntheticSample(
        channel_names=("filaments", "vesicles"),
        clean=np.stack([clean for clean, _ in fields]),
        noisy=np.stack([noisy for _, noisy in fields]),
        pixel_size=0.065,
    )


def expose(
    photons: NDArray[np.floating], camera: Camera, random: np.random.Generator
) -> NDArray[np.uint16]:
    """Record expected photons once: shot noise, read noise, gain, offset, whole counts."""
    detected = random.poisson(photons) + random.normal(0.0, camera.read_noise, photons.shape)
    counts = np.rint(camera.offset + camera.gain * detected)
    return np.clip(counts, 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _field(
    size: int, photons: tuple[float, float], camera: Camera, random: np.random.Generator
) -> tuple[FloatImages, NDArray[np.uint16]]:
    """One field: expected counts and one exposure, each of shape (2, Y, X)."""
    thickness = _cell_thickness(size, random)
    structures = (_filaments(size, thickness, random), _vesicles(size, thickness, random))
    expected = np.stack(
        [
            light * _through_microscope(structure, thickness)
            for light, structure in zip(photons, structures, strict=True)
        ]
    )
    clean = (camera.offset + camera.gain * expected).astype(np.float32)
    return clean, expose(expected, camera, random)


def _cell_thickness(size: int, random: np.random.Generator) -> Field:
    """Smooth map in 0..1 of how much cell lies above each pixel."""
    coarse = _blur(random.normal(size=(size, size)), size / 10)
    ranks = (coarse - coarse.min()) / np.ptp(coarse)
    thickness: Field = np.clip(2.2 * ranks - 0.35, 0.0, 1.0)
    return thickness


def _filaments(size: int, thickness: Field, random: np.random.Generator) -> Field:
    """Mesh of stiff, slightly bent fibres; the middle of a single fibre is about 1 bright."""
    n_fibres = max(6, round(size * size / 2000))
    length = int(1.1 * size)
    centres = random.uniform(-0.3 * size, 1.3 * size, (n_fibres, 1, 2))
    angles = random.uniform(0.0, 2 * np.pi, (n_fibres, 1)) + _bending(n_fibres, length, random)
    path = np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=-1), axis=1)
    points = centres + path - path[:, length // 2, None]
    brightness = random.uniform(0.7, 1.0, (n_fibres, 1)) * np.ones((1, length))
    drawn = _blur(_splat(size, points.reshape(-1, 2), brightness.ravel()), 1.2)
    density = 7.0 * drawn * (0.4 + 0.6 * thickness)
    # Fibres cross at different depths: what lies behind contributes less than its full light.
    return 1.5 * density / (1 + density)


def _bending(n_fibres: int, length: int, random: np.random.Generator) -> Field:
    """Deviation from a straight course along each fibre, in radians, smooth over 40 pixels."""
    turns = _blur(random.normal(size=(n_fibres, length)), (0.0, 40.0))
    return 4.0 * turns


def _vesicles(size: int, thickness: Field, random: np.random.Generator) -> Field:
    """Round and oval bodies of several sizes, denser where the cell is thick."""
    n_bodies = max(6, round(size * size / 300))
    canvas = np.zeros((size, size))
    for y, x in random.uniform(0, size, (n_bodies, 2)):
        if random.uniform() > 0.15 + thickness[int(y), int(x)]:
            continue
        major = random.uniform(3.5, 7.0)
        _add_body(canvas, (y, x), (major, major * random.uniform(0.65, 1.0)), random)
    return canvas


def _add_body(
    canvas: Field,
    centre: tuple[float, float],
    axes: tuple[float, float],
    random: np.random.Generator,
) -> None:
    """Add one filled ellipse; where bodies touch, the brighter one is seen."""
    angle, brightness = random.uniform(0, np.pi), random.uniform(0.75, 1.0)
    reach = int(np.ceil(axes[0])) + 1
    top, left = (max(0, int(position) - reach) for position in centre)
    window = canvas[top : int(centre[0]) + reach + 1, left : int(centre[1]) + reach + 1]
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    dy, dx = y + top - centre[0], x + left - centre[1]
    along = (np.cos(angle) * dx + np.sin(angle) * dy) / axes[0]
    across = (np.cos(angle) * dy - np.sin(angle) * dx) / axes[1]
    np.maximum(window, brightness * (along**2 + across**2 <= 1), out=window)


def _splat(size: int, points: Field, values: Field) -> Field:
    """Add values at positions between pixels, shared among the four neighbours."""
    canvas = np.zeros((size, size))
    corner = np.floor(points).astype(int)
    part = points - corner
    for step_y, step_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y, x = corner[:, 0] + step_y, corner[:, 1] + step_x
        share = np.abs(1 - step_y - part[:, 0]) * np.abs(1 - step_x - part[:, 1])
        inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
        np.add.at(canvas, (y[inside], x[inside]), (values * share)[inside])
    return canvas


def _blur(image: Field, width: float | tuple[float, float]) -> Field:
    """Gaussian blur, reflected at the border; width in pixels, per axis where two are given."""
    blurred: Field = ndimage.gaussian_filter(image, width, mode="reflect")
    return blurred


def _through_microscope(structure: Field, thickness: Field) -> Field:
    """Blur by the focal spot, add what lies out of focus and a diffuse cell background."""
    in_focus = _blur(structure, 1.7)
    out_of_focus = _blur(structure, 9.0)
    return in_focus + 0.2 * out_of_focus + 0.05 * thickness + 0.03


class NoisySplit(NamedTuple):
    """One part of a data set (training, validation or test) under the benchmark noise."""

    truth: FloatImages
    """Clean images, clipped above, of shape (N, C, Y, X), in gray values."""
    channels: FloatImages
    """Noisy channels of shape (N, C, Y, X), in gray values."""
    mixture: FloatImages
    """Mean of the noisy channels, of shape (N, Y, X), in gray values."""


def add_noise(
    clean: NDArray[np.generic],
    *,
    sigma: float,
    poisson_factor: float = 1000.0,
    clip_at: float | None = None,
    random: np.random.Generator,
) -> NoisySplit:
    """Give clean images one fixed realisation of Poisson and Gaussian noise (Sec. 5.2, S.2).

    Shot noise is drawn first, `Poisson(x / f) f`, and the result is clipped above; then Gaussian
    noise is added. Mixing the noisy channels makes the input noise the mean of the target noises.

    Parameters
    ----------
    clean : numpy.ndarray of shape (N, C, Y, X)
        Noise-free images of one split, in gray values.
    sigma : float
        Std of the Gaussian noise, in gray values; see `BIOSR_SIGMA` and `NOISE_LEVELS`.
    poisson_factor : float
        Gray values per photon f; 0 for no shot noise.
    clip_at : float, optional
        Upper bound of an image before Gaussian noise: `training_maximum` of the training split.
        Without it nothing is clipped.
    random : numpy.random.Generator
        Source of the noise; draw each split once.

    Returns
    -------
    NoisySplit
        Truth, noisy channels and mixture.

    Raises
    ------
    ValueError
        If the images are not (N, C, Y, X), a noise strength is negative, or shot noise is asked
        for negative gray values.
    """
    images = np.asarray(clean, dtype=np.float64)
    if images.ndim != 4:
        raise ValueError(f"Images must have the shape (N, C, Y, X), got {images.shape}.")
    if sigma < 0 or poisson_factor < 0:
        raise ValueError(
            f"Noise strengths cannot be negative, got sigma={sigma}, "
            f"poisson_factor={poisson_factor}."
        )
    bound = np.inf if clip_at is None else clip_at
    shot = np.minimum(_shot_noise(images, poisson_factor, random), bound)
    noisy = shot + random.normal(0.0, sigma, images.shape)
    return NoisySplit(
        truth=np.minimum(images, bound).astype(np.float32),
        channels=noisy.astype(np.float32),
        mixture=noisy.mean(axis=1).astype(np.float32),
    )


def training_maximum(clean_training: NDArray[np.generic]) -> float:
    """Gray value at which all splits are clipped: one maximum over all channels (S.2)."""
    return float(np.max(clean_training))


def _shot_noise(images: Field, poisson_factor: float, random: np.random.Generator) -> Field:
    """Count photons of `poisson_factor` gray values each."""
    if poisson_factor == 0:
        return images
    if images.min() < 0:
        raise ValueError(
            f"Shot noise needs gray values of at least 0, got {images.min():g}. Remove the "
            "offset, or pass `poisson_factor=0`."
        )
    photons = random.poisson(images / poisson_factor).astype(np.float64)
    return poisson_factor * photons
