"""`denoisplit train`: train in a run folder, or continue a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    Flag,
    NamedPaths,
    SomePaths,
    existing_paths,
    named_paths,
    require_all,
)
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import did_you_mean, require_writable

if TYPE_CHECKING:
    from careamics_denoisplit.checkpoint import TrainedModel
    from careamics_denoisplit.config import DenoiSplitConfiguration

BOOTSTRAP = "bootstrap"


def train(
    config: Path | None = None,
    /,
    *,
    run: Path,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    val: NamedPaths = None,
    val_mixture: SomePaths = None,
    noise_model: str | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    new_statistics: Flag = False,
    resume: Flag = False,
    max_hours: float | None = None,
    force: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Train a model in a run folder; Ctrl-C loses nothing, --resume continues.

    Without --mixture the channels are mixed on the fly. Without --val the configuration says
    what is set aside for validation. With --from the training starts from the weights of another
    model and keeps its statistics and, where none are given, its noise models; calibrate anew.

    Parameters
    ----------
    config
        Configuration file; by default that of the run with --resume, that of the other model with
        --from.
    run
        RUN folder to write.
    channel
        Noisy images of each channel: er=PATH... actin=PATH...
    mixture
        Measured superpositions of the same fields, in the same order.
    val
        Noisy images of each channel for validation.
    val_mixture
        Measured superpositions for validation.
    noise_model
        Folder with noise_model_CHANNEL.npz of each channel, or the word bootstrap.
    from_
        RUN, checkpoint or package whose weights the training starts from.
    new_statistics
        With --from: measure means and standard deviations on the new images instead of keeping
        those that the weights were trained with.
    resume
        Continue the run from its last checkpoint.
    max_hours
        Hours after which training stops; it can be continued.
    force
        Train with a noise model that failed its quality check.
    """
    with job("train", common) as work:
        start = None if from_ is None else _start(from_)
        configuration = _configuration(config, run, start, resume=resume, seed=common.seed)
        names = list(configuration.channel_names)
        channels = require_all(named_paths(channel, "--channel", names), names, "--channel")
        validation = named_paths(val, "--val", names)
        mixtures = existing_paths(mixture or [], "--mixture")
        val_mixtures = existing_paths(val_mixture or [], "--val-mixture")
        work.seed = configuration.seed

        require_writable(run)

        from careamics_denoisplit.careamist import DenoiSplitCAREamist
        from careamics_denoisplit.training.resume import find_checkpoint

        if not resume:  # a run that is there is noticed before images are opened
            find_checkpoint(run, resume=False, overwrite=common.overwrite)
        careamist = DenoiSplitCAREamist(
            configuration, work_dir=run, enable_progress_bar=not common.quiet
        )
        careamist.train(
            train_data_target=channels,
            train_data=mixtures or None,
            val_data_target=require_all(validation, names, "--val") if validation else None,
            val_data=val_mixtures or None,
            noise_model=_noise_model(noise_model),
            start_from=start,
            new_statistics=new_statistics,
            resume=resume,
            overwrite=common.overwrite,
            force=force,
            max_hours=max_hours,
            device=common.device,
        )
        work.values = {"run": str(run.absolute()), "channel_names": names}
        work.wrote(run, run / "report.html")


def _start(path: Path) -> "TrainedModel":
    """Read the model that training starts from."""
    from careamics_denoisplit.careamist.starting import open_start

    return open_start(path)


def _configuration(
    path: Path | None, run: Path, start: "TrainedModel | None", *, resume: bool, seed: int | None
) -> "DenoiSplitConfiguration":
    """Read the configuration, that of the run or model that training goes on from, set the seed.

    Raises
    ------
    ConfigurationError
        If there is no configuration, or no run to continue.
    """
    from careamics_denoisplit.config import configuration_from_dict, load_configuration

    if path is None and not resume and start is None:
        raise ConfigurationError(
            "Give a configuration file before the options: denoisplit train config.yaml ... "
            "(denoisplit config writes one), or a model to start from: --from RUN."
        )
    if path is None and resume and not (run / "config.yaml").is_file():
        raise ConfigurationError(
            f"There is no run to continue at {run}.{did_you_mean(run)} Name the folder of a run, "
            "or start one with a configuration file and without --resume."
        )
    if path is None and start is not None and not resume:
        configuration = _of_start(start)
    else:
        configuration = load_configuration(run / "config.yaml" if path is None else path)
    if seed is None:
        return configuration
    plain = configuration.to_plain()
    plain["algorithm_config"]["seed"] = seed
    return configuration_from_dict(plain)


def _of_start(start: "TrainedModel") -> "DenoiSplitConfiguration":
    """Return the settings of the model that training starts from, for other files."""
    from careamics_denoisplit.careamist.starting import settings_for_new_data

    return settings_for_new_data(start.config)


def _noise_model(given: str | None) -> str | Path | None:
    """Return a folder or file that exists, or the word bootstrap."""
    if given is None or given == BOOTSTRAP:
        return given
    (path,) = existing_paths([given], "--noise-model")
    return path
