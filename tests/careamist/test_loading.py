"""careamics' `loading`: read functions and image stacks of the users."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from careamics.dataset.factory import ImageStackLoading, ReadFuncLoading
from careamics.dataset.image_stack import ImageStack

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.errors import ConfigurationError, DataError


@dataclass
class StoredStack:
    """A stack (S, C, Y, X) that hands out patches, as users write them for their formats."""

    source: Path
    pixels: np.ndarray
    original_axes: str

    @property
    def data_shape(self) -> Sequence[int]:
        """Shape of the pixels."""
        return self.pixels.shape

    @property
    def original_data_shape(self) -> Sequence[int]:
        """The same: nothing is rearranged."""
        return self.pixels.shape

    @property
    def data_dtype(self) -> Any:
        """Type of the pixels."""
        return self.pixels.dtype

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> np.ndarray:
        """Cut a patch."""
        sample = self.pixels[sample_idx] if channels is None else self.pixels[sample_idx, channels]
        (y, x), (height, width) = coords, patch_size
        return sample[:, y : y + height, x : x + width].astype(np.float32)


def load_stacks(source: Any, axes: str, *, key: str) -> list[ImageStack]:
    """Open `.npz` files of stacks; `axes` is what careamics tells every loader."""
    paths = source if isinstance(source, list) else [source]
    stacks = []
    for path in paths:
        pixels = np.load(path)[key]
        while pixels.ndim < 4:
            pixels = pixels[None]
        stacks.append(StoredStack(path, pixels, axes))
    return stacks


STACKS = ImageStackLoading(load_stacks, {"key": "image"})


def read(path: Path, *, key: str) -> np.ndarray:
    """Read an `.npz` file."""
    return np.load(path)[key]


@pytest.fixture
def files(tmp_path: Path, fields: ModuleType) -> Path:
    """A folder of three fields (C, Y, X), and the folder `mixtures` in it."""
    (tmp_path / "mixtures").mkdir()
    for index, field in enumerate(fields.NOISY):
        np.savez(tmp_path / f"field{index}.npz", image=field)
        np.savez(tmp_path / "mixtures" / f"cell.{index}.npz", image=field.mean(axis=0))
    return tmp_path


@pytest.mark.parametrize("loading", [ReadFuncLoading(read, {"key": "image"}), STACKS])
def test_training_with_a_loading_of_careamics_equals_training_on_the_arrays(
    loading: Any, run: Path, files: Path, fields: ModuleType
) -> None:
    trained = []
    for name, data in (
        ("loaded", [files / "field0.npz", files / "field1.npz", files / "field2.npz"]),
        ("arrays", list(fields.NOISY)),
    ):
        opened = DenoiSplitCAREamist(
            fields.small_config(axes="CYX", num_epochs=1),
            work_dir=files / name,
            enable_progress_bar=False,
        )
        opened.train(
            train_data_target=data[:2],
            val_data_target=data[2:],
            noise_model=run / "noise_models",
            loading=loading if name == "loaded" else None,
        )
        assert opened.trained is not None
        trained.append(opened.trained)

    assert trained[0].statistics == trained[1].statistics
    first, second = (each.network.state_dict() for each in trained)
    assert all(bool((first[name] == second[name]).all()) for name in first)


@pytest.mark.parametrize(
    "loading", [ReadFuncLoading(read, {"key": "image"}, "*.npz"), STACKS], ids=["read", "stacks"]
)
def test_results_are_named_by_the_files_that_were_loaded(
    careamist: DenoiSplitCAREamist, files: Path, fields: ModuleType, loading: Any
) -> None:
    whole = files / "mixtures" if isinstance(loading, ReadFuncLoading) else None
    source = whole or sorted((files / "mixtures").iterdir())

    written = careamist.predict_to_disk(
        source,
        prediction_dir=files / "out",
        loading=loading,
        axes="YX",
        n_samples=2,
    )
    predicted = careamist.predict(source, loading=loading, axes="YX", n_samples=2)

    assert [path.name for path in written][:2] == [
        "cell.0.npz_mean.ome.tif",
        "cell.0.npz_std.ome.tif",
    ]
    assert len(written) == 6
    alone = careamist.predict(fields.NOISY[1].mean(axis=0), n_samples=2)
    assert np.array_equal(predicted[1].mean, alone.mean)


def test_a_loader_of_stacks_must_be_told_the_axes(
    careamist: DenoiSplitCAREamist, files: Path, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(axes=None), work_dir=files / "run")

    with pytest.raises(ConfigurationError, match="must be told the axes of the data"):
        opened.train(train_data_target=files / "field0.npz", loading=STACKS)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([], "list without image stacks"),
        ([np.zeros((4, 4))], r"ndarray of shape \(\)|ndarray of shape"),
    ],
)
def test_a_loader_that_returns_something_else_is_refused(
    careamist: DenoiSplitCAREamist, result: list[Any], message: str
) -> None:
    loading = ImageStackLoading(lambda source, axes: result)

    with pytest.raises(DataError, match=message):
        careamist.predict("anything", loading=loading, axes="YX")


def test_a_loader_of_other_channels_is_refused(careamist: DenoiSplitCAREamist, files: Path) -> None:
    with pytest.raises(DataError, match="has 2 channels; 1 expected"):
        careamist.predict(files / "field0.npz", loading=STACKS, axes="CYX")
    chosen = careamist.predict(
        files / "field0.npz", loading=STACKS, axes="CYX", channels=[1], n_samples=2
    )
    assert chosen.mean.shape == (2, 96, 96)


def test_paths_without_files_are_refused(careamist: DenoiSplitCAREamist, files: Path) -> None:
    loading = ReadFuncLoading(read, {"key": "image"}, "*.xyz")

    with pytest.raises(DataError, match=r"holds no file '\*\.xyz'.*`extension_filter`"):
        careamist.predict(files, loading=loading)
    with pytest.raises(DataError, match=r"no file or folder .*Did you mean .*field0\.npz"):
        careamist.predict(files / "fild0.npz", loading=loading)


def test_another_loading_is_refused_with_the_kinds_that_work(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    with pytest.raises(ConfigurationError, match=r"of object is not.*`ReadFuncLoading` or"):
        careamist.predict(fields.MIXTURE, loading=object())
