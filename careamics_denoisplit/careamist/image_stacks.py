"""Image stacks of careamics, the lazy readers that users write, as images of ours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from careamics.dataset.factory import ImageStackLoading

from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.images.image import Image, Raw, images_of

_AXES = {4: "SCYX", 5: "SCZYX"}
"""Order of the axes that careamics promises, by their number."""


@dataclass(frozen=True)
class StackBlock:
    """Pixels of an image stack, read patch by patch."""

    stack: Any
    """An `ImageStack` of careamics, which is a protocol: anything that has its attributes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis, sample and channel first."""
        return tuple(int(size) for size in self.stack.data_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values on disk."""
        dtype: np.dtype[Any] = np.dtype(self.stack.data_dtype)
        return dtype

    def read(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Read a part; each axis is kept."""
        wanted = [range(size)[part] for part, size in zip(key, self.shape, strict=True)]
        if not all(wanted):
            return np.empty([len(part) for part in wanted], self.dtype)
        samples, channels, *space = wanted
        first = [min(part) for part in space]
        sizes = [max(part) + 1 - start for part, start in zip(space, first, strict=True)]
        steps = tuple(
            [number - start for number in part] for part, start in zip(space, first, strict=True)
        )
        pixels = [self.stack.extract_patch(n, list(channels), first, sizes) for n in samples]
        picked = np.ix_(range(len(samples)), range(len(channels)), *steps)
        part: npt.NDArray[Any] = np.asarray(pixels)[picked].astype(self.dtype, copy=False)
        return part


def images_of_stacks(loading: ImageStackLoading, source: Any, axes: str | None) -> list[Image]:
    """Load image stacks as careamics does, and see each sample as an image.

    Parameters
    ----------
    loading : ImageStackLoading
        Holds the user's loader and its keywords.
    source : object
        Whatever the loader takes.
    axes : str or None
        Axes that the loader is told, as in careamics.

    Returns
    -------
    list of Image
        Pixels are read when they are asked for.

    Raises
    ------
    ConfigurationError
        If no axes are known.
    DataError
        If the loader returned something else.
    """
    if axes is None or axes == "auto":
        raise ConfigurationError(
            "`ImageStackLoading` must be told the axes of the data. Give `axes=` in the "
            "configuration (and `target_axes` where they differ), in prediction `axes=`."
        )
    keywords = loading.image_stack_loader_kwargs or {}
    stacks: Any = loading.image_stack_loader(source, axes, **keywords)
    if not isinstance(stacks, Sequence) or not stacks:
        raise DataError(
            f"The image stack loader returned {type(stacks).__name__} without image stacks. It "
            "must return a list of at least one."
        )
    return [image for stack in stacks for image in _images(stack)]


def _images(stack: Any) -> list[Image]:
    shape = tuple(getattr(stack, "data_shape", ()))
    if len(shape) not in _AXES or not hasattr(stack, "extract_patch"):
        raise DataError(
            f"The image stack loader returned a {type(stack).__name__} of shape {shape}. An image "
            "stack has `extract_patch` and a `data_shape` of sample, channel, (z,) y, x."
        )
    raw = Raw(StackBlock(stack), axes=_AXES[len(shape)], axes_binding=True)
    images = images_of(raw, _AXES[len(shape)], source=stack.source, guessed=False)
    return [replace(images[0], index=None)] if len(images) == 1 else images
