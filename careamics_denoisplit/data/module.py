"""Training and validation data for Lightning."""

from collections.abc import Sequence
from typing import Any

import lightning
from torch.utils.data import DataLoader

from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data.agreement import compare_mixture, require_related
from careamics_denoisplit.data.dimming import Light
from careamics_denoisplit.data.mixing import MixtureFit
from careamics_denoisplit.data.patches import (
    Batch,
    Field,
    GridPatches,
    IndexedSampler,
    Recipe,
    TrainingPatches,
    collate,
)
from careamics_denoisplit.data.planes import Plane
from careamics_denoisplit.data.resolve import resolved_configuration, with_given_values
from careamics_denoisplit.data.sources import Opened, axes_like, open_channels
from careamics_denoisplit.data.splits import refuse_leak, split_by_frame, split_by_rows
from careamics_denoisplit.data.statistics import Statistics, compute_statistics
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.images import check_pixels


class DenoiSplitDataModule(lightning.LightningDataModule):
    """Open, check, measure and serve training and validation data.

    Everything that can be wrong with the data is found when the object is made.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        The configuration; it is not changed.
    train_data_target : mapping, array, path or list
        Noisy channels: one source for each channel by name, or sources that hold all channels.
    train_data : array, path or list, optional
        Measured mixture, aligned with the targets.
    val_data_target, val_data : optional
        The same for validation; without them `data_config.validation_split` decides.
    statistics : Statistics, optional
        Statistics of the run that is continued; measured by default.

    Raises
    ------
    DataError
        If the data are wrong, too small, contradict the configuration, or leak into validation.
    ConfigurationError
        If there are no validation data and no split is configured, or the mixing rule and the
        data that were given disagree.
    """

    def __init__(
        self,
        config: DenoiSplitConfiguration,
        train_data_target: Any,
        train_data: Any = None,
        val_data_target: Any = None,
        val_data: Any = None,
        *,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self._require_agreement(train_data, val_data_target, val_data)
        training = self._open(train_data_target, train_data, "training")
        validation = (
            None
            if val_data_target is None
            else self._open(val_data_target, val_data, "validation", training)
        )
        if statistics is None:
            for image in (*training.images, *(validation.images if validation else ())):
                check_pixels(image, refuse_constant=True)
        # Before frames are set aside: afterwards a missing image would no longer show.
        self._require_pairs(training, "training")
        if validation is not None:
            self._require_pairs(validation, "validation")
        self.training, self.validation = self._separate(training, validation)
        self._require_size()
        self.mixture_fit = self._compare_mixture()
        self.statistics = statistics or with_given_values(self._measure(), config)
        self._require_channels()
        algorithm, data = config.algorithm_config, config.data_config
        rule = None if algorithm.mixing == "measured" else algorithm.mixing
        self.train_dataset = TrainingPatches(
            self.training.channels,
            self.training.mixture,
            self.statistics,
            Recipe(
                patch=data.patch_size,
                rule=rule,
                jitter=algorithm.mixing_jitter,
                independent=algorithm.independent_probability,
                augment=algorithm.augment,
                seed=algorithm.seed,
                dimming=algorithm.dimming,
            ),
            data.patches_per_epoch,
        )
        self.val_dataset = GridPatches(
            self.validation.fields(), self.statistics, data.patch_size, rule
        )
        self.sampler = IndexedSampler(len(self.train_dataset))

    @property
    def resolved_config(self) -> DenoiSplitConfiguration:
        """The configuration with axes, kind of data and statistics written in."""
        return self.resolve(self.config)

    def resolve(self, config: DenoiSplitConfiguration) -> DenoiSplitConfiguration:
        """Write axes, kind of data and statistics into a configuration of these data."""
        opened = (self.training, self.validation)
        return resolved_configuration(
            config,
            [image for each in opened for image in each.targets],
            [image for each in opened for image in each.mixtures],
            self.statistics,
        )

    @property
    def val_fields(self) -> tuple[Field, ...]:
        """Fields of the validation data."""
        return self.validation.fields()

    def set_lights(self, lights: Sequence[Light]) -> None:
        """Say what the cameras make of light; call it before training where channels are dimmed.

        Parameters
        ----------
        lights : sequence of C Light
            Dark level and noise of each channel.
        """
        self.train_dataset.lights = tuple(lights)

    def set_position(self, epoch: int, position: int = 0) -> None:
        """Continue a training exactly; call it before the loader's first iteration.

        Parameters
        ----------
        epoch : int
            Epoch to continue, from 0.
        position : int
            Patches of that epoch that were used before.
        """
        self.sampler.set_position(epoch, position)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Serve random patches; the sampler holds the position."""
        parameters = self.config.data_config.train_dataloader_params
        return self._loader(self.train_dataset, parameters, self.sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Serve the fixed grid."""
        parameters = self.config.data_config.val_dataloader_params
        return self._loader(self.val_dataset, parameters, None)

    def _loader(
        self,
        dataset: TrainingPatches | GridPatches,
        parameters: dict[str, Any],
        sampler: IndexedSampler | None,
    ) -> DataLoader[Batch]:
        data = self.config.data_config
        options: dict[str, Any] = {"num_workers": data.num_workers, **parameters}
        if options["num_workers"] > 0:
            options.setdefault("persistent_workers", True)
        return DataLoader(
            dataset,
            batch_size=data.batch_size,
            sampler=sampler,
            shuffle=False,
            collate_fn=collate,
            **options,
        )

    def _open(self, target: Any, mixture: Any, what: str, like: Opened | None = None) -> Opened:
        data = self.config.data_config
        given = None if data.axes == "auto" else data.axes
        axes, mixture_axes = data.target_axes or given, given
        if like is not None:
            axes = axes or axes_like(target, like.targets)
            mixture_axes = mixture_axes or axes_like(mixture, like.mixtures)
        return open_channels(
            target,
            mixture,
            self.config.channel_names,
            axes=axes,
            mixture_axes=mixture_axes,
            chosen=data.channels,
            in_memory=data.in_memory,
            what=what,
        )

    def _require_agreement(self, mixture: Any, val_target: Any, val_mixture: Any) -> None:
        """Refuse a mixture where the input is mixed, and none where it is measured."""
        mixing = self.config.algorithm_config.mixing
        if mixing == "measured" and mixture is None:
            raise ConfigurationError(
                '`mixing` is "measured", but no mixture was given. Give it as `train_data`, or '
                'set `mixing` to "mean" or "sum".'
            )
        if mixing != "measured" and (mixture is not None or val_mixture is not None):
            raise ConfigurationError(
                f'`mixing` is "{mixing}", but a mixture was given. Set `mixing` to "measured".'
            )
        if val_target is None and val_mixture is not None:
            raise ConfigurationError(
                "A validation mixture was given without the channels it consists of. "
                "Give them as `val_data_target`."
            )
        if val_target is not None and mixing == "measured" and val_mixture is None:
            raise ConfigurationError(
                '`mixing` is "measured", but no validation mixture was given. Give it as '
                "`val_data`."
            )
        if val_target is None and self.config.data_config.validation_split == "none":
            raise ConfigurationError(
                "There are no validation data, so nothing says which epoch is the best. Give "
                '`val_data_target` (`--val`), or set `data_config.validation_split` to "rows" '
                'or "frames".'
            )

    def _separate(self, training: Opened, validation: Opened | None) -> tuple[Opened, Opened]:
        """Use the validation data that were given, or set some aside."""
        if validation is not None:
            refuse_leak(training.channels, validation.channels)
            return training, validation
        data = self.config.data_config
        extra = () if training.mixture is None else (training.mixture,)
        everything = (*training.channels, *extra)
        split = (
            split_by_frame(everything, data.validation_fraction)
            if data.validation_split == "frames"
            else split_by_rows(everything, data.validation_fraction, data.patch_size)
        )
        return self._rejoin(training, split.training), self._rejoin(training, split.validation)

    @staticmethod
    def _rejoin(opened: Opened, planes: tuple[tuple[Plane, ...], ...]) -> Opened:
        count = len(opened.channels)
        return opened._replace(
            channels=planes[:count],
            mixture=None if opened.mixture is None else planes[count],
        )

    def _require_pairs(self, opened: Opened, what: str) -> None:
        """Refuse channels of different number or size, unless they need no partner."""
        if self.config.algorithm_config.pairing == "independent":
            return
        named: list[tuple[str, Sequence[Plane]]] = list(
            zip(self.config.channel_names, opened.channels, strict=True)
        )
        if opened.mixture is not None:
            named.append(("mixture", opened.mixture))
        first_name, first = named[0]
        for name, planes in named[1:]:
            if len(planes) != len(first):
                raise DataError(
                    f"The {what} data have {len(first)} images of {first_name!r} and "
                    f"{len(planes)} of {name!r}. Give one of each for every field, or set "
                    '`algorithm_config.pairing` to "independent".'
                )
            for one, other in zip(first, planes, strict=True):
                if one.shape != other.shape:
                    raise DataError(
                        f"{one.name} ({first_name!r}) has {one.shape} pixels, {other.name} "
                        f"({name!r}) {other.shape}. Images of one field must be of equal size."
                    )

    def _require_size(self) -> None:
        """Refuse images into which no patch fits."""
        patch = self.config.data_config.patch_size
        for what, opened in (("training", self.training), ("validation", self.validation)):
            for name, planes in zip(self.config.channel_names, opened.channels, strict=True):
                if not planes:
                    raise DataError(f"There is no {what} image of channel {name!r}.")
                for plane in planes:
                    if min(plane.shape) < patch:
                        raise DataError(
                            f"{plane.name} ({what} channel {name!r}) has {plane.shape} pixels; "
                            f"at least ({patch}, {patch}) are needed for patches of {patch} "
                            "pixels. Use larger images or a smaller `patch_size`."
                        )

    def _compare_mixture(self) -> MixtureFit | None:
        """Compare a measured mixture with its channels."""
        if self.training.mixture is None:
            return None
        fit = compare_mixture(self.training.fields())
        require_related(fit, self.config.channel_names)
        return fit

    def _require_channels(self) -> None:
        """Refuse statistics of other channels."""
        if self.statistics.channel_names != self.config.channel_names:
            raise DataError(
                f"The statistics belong to the channels {self.statistics.channel_names}, the "
                f"configuration names {self.config.channel_names}."
            )

    def _measure(self) -> Statistics:
        """Measure all training pixels once."""
        opened = self.training
        return compute_statistics(
            [(block for plane in planes for block in plane.blocks()) for planes in opened.channels],
            self.config.channel_names,
            mixing=self.config.algorithm_config.mixing,
            camera_offsets=self.config.algorithm_config.channel_offsets,
            mixture=None
            if opened.mixture is None
            else (block for plane in opened.mixture for block in plane.blocks()),
            n_pixels=sum(plane.shape[0] * plane.shape[1] for plane in opened.channels[0]),
        )
