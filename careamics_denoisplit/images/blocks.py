"""Pixels on disk, read block by block and only when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from careamics_denoisplit.errors import DataError

ORDER = "TZCYX"
Slices = tuple[slice, ...]


@runtime_checkable
class Block(Protocol):
    """An n-dimensional array of which any part can be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read a part; each axis is kept."""


class FileStamp(NamedTuple):
    """Size and time of a file, to notice that it changed while it was read."""

    path: Path
    """The file."""
    size: int
    """Bytes."""
    modified: int
    """Time of the last change in nanoseconds."""

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """Take the stamp of a file.

        Raises
        ------
        DataError
            If it is missing or may not be read.
        """
        try:
            status = path.stat()
            with path.open("rb"):
                pass
        except OSError as error:
            raise DataError(
                f"Cannot read {path}: {error.strerror or error}. Check path and permissions."
            ) from error
        return cls(path, status.st_size, status.st_mtime_ns)

    def require_unchanged(self) -> None:
        """Refuse a file that was changed since the stamp was taken.

        Raises
        ------
        DataError
            If size or time differ.
        """
        now = FileStamp.of(self.path)
        if now != self:
            raise DataError(
                f"{self.path} changed while it was read ({self.size} bytes before, {now.size} "
                "now). Wait until the program that writes it is done."
            )


@dataclass(frozen=True)
class ArrayBlock:
    """An array in memory; it is never written to."""

    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.array.dtype

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read a part as a view that refuses to be written to."""
        view = self.array[key].view()
        view.flags.writeable = False
        return view


@dataclass(frozen=True)
class RawFileBlock:
    """Uncompressed values that lie one after the other in a file."""

    stamp: FileStamp
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool = False

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read a part through a memory map, which is opened for this call only."""
        self.stamp.require_unchanged()
        # A map of a file that ends too early gives zeros, hence the check of the readers.
        values = np.memmap(
            self.stamp.path,
            dtype=self.dtype,
            mode="r",
            offset=self.offset,
            shape=self.shape,
            order="F" if self.fortran_order else "C",
        )
        part: npt.NDArray[Any] = np.array(values[key])
        self.stamp.require_unchanged()
        return part


@dataclass(frozen=True)
class Arranged:
    """One sample of a block with its axes in the order T, Z, C, Y, X; C is always there.

    Attributes
    ----------
    block : Block
        The pixels in the order of the source.
    axes : str
        Letter of each axis of the source.
    sample : int or None
        Index on the axis S.
    """

    block: Block
    axes: str
    sample: int | None

    @property
    def letters(self) -> str:
        """Letters of the axes, in order."""
        return "".join(letter for letter in ORDER if letter in self.axes or letter == "C")

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        sizes = dict(zip(self.axes, self.block.shape, strict=True))
        return tuple(sizes.get(letter, 1) for letter in self.letters)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.block.dtype

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read a part; each axis is kept."""
        wanted = dict(zip(self.letters, key, strict=True))
        if self.sample is not None:
            wanted["S"] = slice(self.sample, self.sample + 1)
        part = self.block.read(tuple(wanted[letter] for letter in self.axes))
        if "S" in self.axes:
            part = np.squeeze(part, axis=self.axes.index("S"))
        present = self.axes.replace("S", "")
        part = part.transpose([present.index(x) for x in self.letters if x in present])
        if "C" not in self.axes:
            part = np.expand_dims(part, self.letters.index("C"))[
                tuple(wanted["C"] if x == "C" else slice(None) for x in self.letters)
            ]
        return part


class _LazyArray(BackendArray):
    """Adapter between `Block` and the lazy indexing of xarray."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.shape = block.shape
        self.dtype = block.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        kept = tuple(slice(k, k + 1) if not isinstance(k, slice) else k for k in key)
        taken = tuple(0 if not isinstance(k, slice) else slice(None) for k in key)
        return self.block.read(kept)[taken]


def lazy_variable(block: Arranged, dimensions: Mapping[str, str]) -> xr.Variable:
    """Wrap a block so that xarray reads only what is asked for.

    Parameters
    ----------
    block : Arranged
        The pixels.
    dimensions : mapping of str to str
        Name of the dimension of each letter.

    Returns
    -------
    xarray.Variable
        Slicing it reads nothing, `.values` reads the slice.
    """
    names = tuple(dimensions[letter] for letter in block.letters)
    if isinstance(block.block, ArrayBlock):
        everything = tuple(slice(None) for _ in block.shape)
        return xr.Variable(names, block.read(everything))
    return xr.Variable(names, indexing.LazilyIndexedArray(_LazyArray(block)))
