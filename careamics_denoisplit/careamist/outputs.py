"""Where predictions go on disk, checked for all images before the first is predicted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import require_absent, require_writable, whole_file
from careamics_denoisplit.images import Image, output_stems
from careamics_denoisplit.prediction import Prediction

WriteType = Literal["tiff", "zarr", "custom"]
SUFFIXES = {"tiff": ".ome.tif", "zarr": ".ome.zarr"}


@dataclass(frozen=True)
class Outputs:
    """Format and folder of predictions.

    Attributes
    ----------
    folder : pathlib.Path
        Folder, which mirrors that of the images.
    kind : {"tiff", "zarr", "custom"} or None
        Format; None follows each image.
    extension : str or None
        Suffix of the custom format.
    function : callable or None
        Writer of the custom format: path, array, keyword arguments.
    arguments : dict
        Keyword arguments of the writer.
    overwrite : bool
        Whether files that are there may be replaced.
    """

    folder: Path
    kind: WriteType | None = None
    extension: str | None = None
    function: Callable[..., None] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown format, and a custom one that is incomplete."""
        if self.kind not in (None, "custom", *SUFFIXES):
            raise ConfigurationError(
                f"`write_type` must be 'tiff', 'zarr' or 'custom', got {self.kind!r}."
            )
        if self.kind == "custom" and (self.extension is None or self.function is None):
            raise ConfigurationError(
                "A custom `write_type` needs `write_extension` and `write_func`, a function of "
                "path and array."
            )

    def plan(self, images: Sequence[Image]) -> list[Path]:
        """Return the target of each image, after checking that nothing is in the way.

        Raises
        ------
        OutputExistsError
            If a file is there and may not be replaced.
        StorageError
            If the folder is not writable.
        """
        targets = [
            self.folder / stem.with_name(f"{stem.name}{self._suffix(image)}")
            for image, stem in zip(images, output_stems(images), strict=True)
        ]
        for target in targets:
            for file in self._files(target):
                require_absent(file, self.overwrite)
        require_writable(self.folder)
        return targets

    def write(self, prediction: Prediction, target: Path) -> tuple[Path, ...]:
        """Write one prediction; return the absolute paths."""
        if self.function is None or self.kind != "custom":
            return prediction.save(target, overwrite=self.overwrite)
        arrays = [prediction.mean, prediction.std]
        written = []
        for file, array in zip(self._files(target), arrays, strict=True):
            if array is not None:
                with whole_file(file) as temporary:
                    self.function(temporary, array.values, **self.arguments)
                written.append(file.absolute())
        return tuple(written)

    def _suffix(self, image: Image) -> str:
        if self.kind == "custom":
            return self.extension or ""
        is_zarr = ".zarr" in str(image.source).lower() if isinstance(image.source, Path) else False
        return SUFFIXES[self.kind or ("zarr" if is_zarr else "tiff")]

    def _files(self, target: Path) -> list[Path]:
        """Return the files that one target stands for."""
        ending = self.extension if self.kind == "custom" else SUFFIXES["tiff"]
        if not ending or not target.name.endswith(ending):
            return [target]
        stem = target.name.removesuffix(ending)
        return [target.with_name(f"{stem}_{part}{ending}") for part in ("mean", "std")]
