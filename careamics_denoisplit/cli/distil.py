"""`denoisplit distil`: mean and spread in one pass, fitted to samples and judged by them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    NamedPaths,
    SomePaths,
    existing_paths,
    named_paths,
    require_all,
)
from careamics_denoisplit.cli.scores import open_run
from careamics_denoisplit.errors import ConfigurationError

if TYPE_CHECKING:
    from careamics_denoisplit.distillation import Gate


def distil(
    run: Path,
    /,
    *,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    image: SomePaths = None,
    val: NamedPaths = None,
    val_mixture: SomePaths = None,
    truth: NamedPaths = None,
    steps: int | None = None,
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Fit mean and spread in one pass, so that packages need no samples; compare with samples.

    The network stays as it is, no truth is needed, and without images those of the training are
    taken. The verdict is stored in the run: export takes samples where a gate failed.

    Parameters
    ----------
    run
        RUN folder.
    channel
        Noisy images of each channel, mixed by the rule of the training: er=PATH... actin=PATH...
    mixture
        Measured superpositions.
    image
        Further superpositions without channels or truth, such as those the model is for.
    val
        Noisy images of each channel to stop and to judge on.
    val_mixture
        Superpositions to stop and to judge on.
    truth
        High-quality images of the validation fields; with them likelihood and ranking are
        compared, and one pass and 16 samples are calibrated.
    steps
        Steps of the fit at most; those of the configuration by default.
    axes
        Axes of the images where the files do not say.
    """
    with job("distil", common, log_folder=run / "logs" if run.is_dir() else None) as work:
        careamist = open_run(run, common)
        names = list(careamist.config.channel_names)

        def by_name(tokens: list[str] | None, option: str) -> dict[str, list[Path]] | None:
            if not tokens:
                return None
            return require_all(named_paths(tokens, option, names), names, option)

        if steps is not None and steps < 1:
            raise ConfigurationError(f"--steps must be a number of at least 1, got {steps}.")
        settings = careamist.config.distillation_config
        if steps is not None:
            settings = type(settings)(**settings.model_dump() | {"steps": steps})
        record = careamist.distil(
            channels=by_name(channel, "--channel"),
            mixture=existing_paths(mixture or [], "--mixture") or None,
            images=existing_paths(image or [], "--image") or None,
            val_channels=by_name(val, "--val"),
            val_mixture=existing_paths(val_mixture or [], "--val-mixture") or None,
            truth=by_name(truth, "--truth"),
            settings=settings,
            seed=work.seed,
            axes=axes,
            device=common.device,
            overwrite=common.overwrite,
        )
        work.values = {
            "run": str(run.absolute()),
            "passed": record.passed,
            "serves": record.serves,
            **record.model_dump(mode="json", exclude={"seed", "seconds"}),
            "fit_seconds": record.seconds,
        }
        for line in table(record.gates):
            work.say(line)
        work.say(record.words())
        if not record.serves:
            work.say("note: export takes posterior samples for this model and says so.")
        model = run / "model"
        work.wrote(model / "spread.safetensors", model / "distillation.json")


def table(gates: Sequence["Gate"]) -> list[str]:
    """Write gates as lines that a person can read.

    Parameters
    ----------
    gates : sequence of Gate
        Questions and answers.

    Returns
    -------
    list of str
        One line for each gate, and one for each channel below it.
    """
    lines = []
    for gate in gates:
        lines.append(f"{gate.status}: {gate.title}; asked: {gate.limit}")
        for name, row in gate.figures.items():
            figures = ", ".join(
                f"{column} {value:.3f}" for column, value in zip(gate.columns, row, strict=False)
            )
            lines.append(f"  {name}: {figures}")
    return lines
