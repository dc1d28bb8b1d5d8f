"""Settings of the data: careamics' data configuration, closed and for planes only."""

from typing import Any, Literal

from careamics.config.augmentations import XYFlipConfig, XYRandomRotate90Config
from careamics.config.data import DataConfig
from careamics.config.data.data_config import Mode
from careamics.config.data.normalization_config import MeanStdConfig
from careamics.config.data.patch_filter import MaskPatchFilterConfig
from careamics.config.data.patching_strategies import RandomPatchingConfig
from careamics.config.validators import check_axes_validity
from pydantic import ConfigDict, Field, field_validator, model_validator

from careamics_denoisplit.config.fields import Count

DataType = Literal["auto", "array", "tiff", "zarr", "czi", "custom"]
"""Kinds of data, as in careamics; "auto" infers the kind when the data are opened."""

LOADER_PARAMETERS = frozenset(
    {
        "num_workers",
        "persistent_workers",
        "pin_memory",
        "prefetch_factor",
        "multiprocessing_context",
        "timeout",
    }
)
"""Parameters of torch's DataLoader that may be set; the order of patches is ours."""

_SMALLEST_PATCH = 16


class PatchConfig(RandomPatchingConfig):
    """Square random crops; where they lie follows from the seed and the step alone."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    seed: None = Field(default=None, exclude=True)
    """Not used: every draw is derived from the seed of the algorithm."""


class DenoiSplitDataConfig(DataConfig):
    """Data configuration of careamics, for planes, with what denoiSplit does not use removed.

    Axes Z and T are accepted: their planes are processed one by one. Fields of careamics
    without an effect here (patch filters, augmentations, number of validation patches, a seed
    of its own) are refused.
    """

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, use_attribute_docstrings=True
    )

    mode: Mode = Mode.TRAINING
    """Training; prediction does not read this configuration's patches."""
    data_type: DataType = "auto"  # type: ignore[assignment]  # careamics has no "infer it"
    """Kind of the data; "auto" infers it when the data are opened."""
    axes: str = "auto"
    """Letters of STCZYX for each dimension of the input; "auto" infers them."""
    patching: PatchConfig = PatchConfig(patch_size=[128, 128])
    """Size of the training crops in pixels."""
    normalization: MeanStdConfig = Field(default_factory=MeanStdConfig)
    """Means and standard deviations in gray values; filled in when training starts."""
    patches_per_epoch: Count | None = None
    """Crops drawn in one epoch; None draws as many as fit beside each other into the data."""
    validation_split: Literal["none", "rows", "frames"] = "none"
    """What to do without validation data: stop ("none"), set aside the lower rows of each image
    with a gap of one patch ("rows"), or whole images ("frames")."""
    validation_fraction: float = Field(default=0.1, strict=True, gt=0, le=0.5)
    """Share of rows or images that a split sets aside."""
    train_dataloader_params: dict[str, Any] = Field(default={}, validate_default=True)
    """Parameters of torch's DataLoader for training."""

    n_val_patches: int = Field(default=0, exclude=True)
    """Not used: the whole validation data are tiled by a fixed grid."""
    patch_filter: None = Field(default=None, exclude=True)
    """Not used."""
    mask_filter: MaskPatchFilterConfig | None = Field(default=None, exclude=True)
    """Not used."""
    augmentations: tuple[XYFlipConfig | XYRandomRotate90Config, ...] = Field(
        default=(), exclude=True
    )
    """Not used: see `augment` of the algorithm."""
    seed: int = Field(default=1, exclude=True)
    """Not used: see `seed` of the algorithm."""

    @field_validator("axes", "target_axes")
    @classmethod
    def validate_axes(cls, axes: str | None, info: Any) -> str | None:
        """Accept "auto" and careamics' axes."""
        del info  # whether the axes fit the kind of data is seen when they are opened
        if axes is not None and axes != "auto":
            check_axes_validity(axes)
        return axes

    @field_validator("channels", mode="before")
    @classmethod
    def validate_channels(cls, channels: Any, info: Any) -> Any:
        """Refuse numbers of channels that are negative or stand twice."""
        del info  # whether there is an axis of channels is seen when the data are opened
        if channels is None:
            return None
        if (
            not isinstance(channels, list | tuple)
            or not channels
            or any(isinstance(c, bool) or not isinstance(c, int) or c < 0 for c in channels)
            or len(set(channels)) != len(channels)
        ):
            raise ValueError(
                f"`channels` must list different numbers of channels from 0 on, got {channels!r}."
            )
        return channels

    @field_validator("patching")
    @classmethod
    def check_patch_size(cls, patching: PatchConfig) -> PatchConfig:
        """Refuse crops that are not planes or too small to learn from."""
        size = list(patching.patch_size)
        if len(size) != 2 or any(isinstance(side, bool) or side < _SMALLEST_PATCH for side in size):
            raise ValueError(
                f"`patch_size` must be two numbers of at least {_SMALLEST_PATCH} pixels, "
                f"got {size}. Write for example [128, 128]."
            )
        return patching

    @field_validator("train_dataloader_params", "val_dataloader_params", "pred_dataloader_params")
    @classmethod
    def check_loader_parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse loader parameters that would change the order or number of patches."""
        unknown = sorted(set(parameters) - LOADER_PARAMETERS)
        if unknown:
            raise ValueError(
                f"The loader parameters {unknown} cannot be set: order and size of the batches "
                f"follow from seed and step. Allowed are {sorted(LOADER_PARAMETERS)}."
            )
        return parameters

    @field_validator("train_dataloader_params")
    @classmethod
    def shuffle_train_dataloader(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Leave the order of patches to the sampler."""
        return parameters

    @field_validator("train_dataloader_params", "val_dataloader_params", mode="before")
    @classmethod
    def set_default_pin_memory(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Write nothing about this machine into the configuration."""
        return parameters

    @model_validator(mode="after")
    def propagate_seed_to_patching(self) -> "DenoiSplitDataConfig":
        """Keep one seed, that of the algorithm."""
        return self

    @model_validator(mode="after")
    def set_default_workers_in_dataloaders(self) -> "DenoiSplitDataConfig":
        """Keep one number of workers, in `num_workers`."""
        return self

    @model_validator(mode="after")
    def validate_target_axes_compatible(self) -> "DenoiSplitDataConfig":
        """Leave axes to the readers, which see the data."""
        return self

    @model_validator(mode="after")
    def validate_dimensions(self) -> "DenoiSplitDataConfig":
        """Accept Z beside two-dimensional crops: planes are processed one by one."""
        return self

    @property
    def patch_size(self) -> int:
        """Height and width of the training crops in pixels."""
        return int(self.patching.patch_size[0])

    def is_3D(self) -> bool:
        """Tell careamics that the network works on planes."""
        return False
