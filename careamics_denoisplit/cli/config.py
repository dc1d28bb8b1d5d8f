"""`denoisplit config`: write a configuration file."""

from pathlib import Path
from typing import Literal

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions, Flag

Algorithm = Literal["denoisplit", "altered_musplit", "musplit", "hdn", "hdn_musplit"]


def config(
    *,
    channel_names: str,
    out: Path = Path("config.yaml"),
    preset: Literal["paper", "fast", "laptop"] = "laptop",
    algorithm: Algorithm = "denoisplit",
    name: str | None = None,
    axes: str | None = None,
    patch_size: int | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    max_hours: float | None = None,
    no_augment: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Write a configuration file; every setting in it can be edited.

    Parameters
    ----------
    channel_names
        Names of the structures, separated by commas: er,actin.
    out
        File to write.
    preset
        What the training may cost: laptop (two CPU cores), fast (a GPU), paper (as published).
    algorithm
        Which of the five systems to train.
    name
        Name of the experiment; by default the channels'.
    axes
        Axes of the images where the files do not say: YX, SYX, CYX, ...
    patch_size
        Side of the training crops, in pixels.
    batch_size
        Crops per step.
    epochs
        Largest number of epochs.
    max_hours
        Hours after which training stops.
    no_augment
        Train without flips and rotations.
    """
    from careamics_denoisplit.config import create_denoisplit_config, save_configuration
    from careamics_denoisplit.files import require_absent

    with job("config", common) as work:
        require_absent(out, common.overwrite)
        names = tuple(part.strip() for part in channel_names.split(","))
        configuration = create_denoisplit_config(
            experiment_name=name or "_".join(names),
            channel_names=names,
            preset=preset,
            axes=axes,
            patch_size=patch_size,
            batch_size=batch_size,
            num_epochs=epochs,
            max_hours=max_hours,
            algorithm=algorithm,
            augment=False if no_augment else None,
            seed=work.seed,
        )
        save_configuration(configuration, out)
        work.values = {
            "preset": preset,
            "algorithm": algorithm,
            "channel_names": list(configuration.algorithm_config.channel_names),
        }
        work.wrote(out)
