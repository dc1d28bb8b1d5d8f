"""`denoisplit config`: write a configuration file."""

import re
from pathlib import Path
from typing import Literal

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions, Flag
from careamics_denoisplit.errors import ConfigurationError

LAST_OF_FOUR = (
    "This is the last of four trainings, muSplit. Its images are what three runs of "
    "--algorithm hdn (each channel, the mixture) have denoised: train those first, predict with "
    "--samples 50, and give the results here. The page HDN and muSplit of the documentation lists "
    "the commands."
)
"""Said where the pipeline of HDN and muSplit is configured."""

Algorithm = Literal["denoisplit", "altered_musplit", "musplit", "hdn", "hdn_musplit"]


def config(
    *,
    channel_names: str,
    out: Path = Path("config.yaml"),
    preset: Literal["paper", "fast", "laptop"] = "laptop",
    algorithm: Algorithm = "denoisplit",
    mixing: Literal["mean", "sum", "measured"] = "mean",
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
        Which of the five systems to train; hdn_musplit is the last of four trainings.
    mixing
        How the input comes about: mean or sum of the channels, or a measured mixture.
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
        if len(names) == 1 and len(parts := re.split(r"[\s;+/]+", names[0])) > 1:
            raise ConfigurationError(
                f"--channel-names are separated by commas, got {channel_names!r}. Write "
                f"--channel-names {','.join(parts)}."
            )
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
            mixing=mixing,
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
        if algorithm == "hdn_musplit":
            work.say(LAST_OF_FOUR)
