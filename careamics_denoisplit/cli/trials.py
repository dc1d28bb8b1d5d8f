"""`denoisplit trials`: what a model says of images that it was not trained for."""

from pathlib import Path
from typing import Any, Literal

from careamics_denoisplit.cli.job import job, time_left
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    NamedPaths,
    SomePaths,
    existing_paths,
    named_paths,
    require_all,
)


def trials(
    model: Path,
    /,
    *,
    truth: NamedPaths = None,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    third: SomePaths = None,
    samples: int = 16,
    spread: Literal["samples", "distilled", "none"] = "samples",
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Change test images in ways the model was not trained for: gain, offset, noise, blur, ...

    For each change: the error, the predicted error, and both warning maps. For model cards.

    Parameters
    ----------
    model
        A RUN folder, a checkpoint, or a package.
    truth
        High-quality images of each channel.
    channel
        Noisy images of each channel.
    mixture
        Measured superpositions of the same fields.
    third
        Images of a structure that the model does not know.
    samples
        Posterior samples.
    spread
        Mean and standard deviation of samples, the same in one pass, or one without them.
    axes
        Axes of the images where the files do not say.
    """
    with job("trials", common) as work:
        from careamics_denoisplit.cli.prediction_job import device_name
        from careamics_denoisplit.evaluation import run_trials
        from careamics_denoisplit.packages import open_model

        trained = open_model(model)
        names = list(trained.channel_names)
        noisy = named_paths(channel, "--channel", names)

        def advance(done: int, total: int) -> None:
            work.say(f"predictions: {time_left(done, total, work.seconds)}")

        found = run_trials(
            trained,
            truth=require_all(named_paths(truth, "--truth", names), names, "--truth"),
            mixture=existing_paths(mixture or [], "--mixture") or None,
            channels=require_all(noisy, names, "--channel") if noisy else None,
            third=existing_paths(third or [], "--third") or None,
            n_samples=samples,
            spread=spread,
            seed=work.seed,
            axes=axes,
            device=device_name(common.device),
            progress=advance,
        )
        work.values = {key: value for key, value in found.items() if key not in _COMMON}
        for line in table(found["trials"]):
            work.say(line)


_COMMON = ("command", "seed", "seconds")
_COLUMNS = (
    ("relative_error", "error", ".2f"),
    ("predicted_relative_error", "predicted", ".2f"),
    ("consistency", "consistency", ".2f"),
    ("input_range", "input range", ".2f"),
    ("outside", "outside", ".0%"),
)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Write the trials as lines that a person can read.

    Parameters
    ----------
    rows : list of dict
        The entry `trials` of the result; errors are relative to the contrast of the true channels.
    """
    lines = [f"{'trial':<20}" + "".join(f"{title:>13}" for _, title, _ in _COLUMNS)]
    for row in rows:
        cells = [_cell(row[key], form) for key, _, form in _COLUMNS]
        why = f"  skipped: {row['skipped']}" if row["skipped"] else ""
        lines.append(f"{row['name']:<20}{''.join(cells)}{why}")
    return lines


def _cell(value: float | None, form: str) -> str:
    return f"{'-' if value is None else format(value, form):>13}"
