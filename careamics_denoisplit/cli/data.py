"""`denoisplit data check`: what is wrong with images, before an hour is spent."""

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
from careamics_denoisplit.errors import CheckFailedError, ConfigurationError


def check(
    *,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    truth: NamedPaths = None,
    val: NamedPaths = None,
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Look for what spoils a training: axes, dead or clipped channels, leaks, a wrong mixture.

    Problems make the exit code 1; warnings do not.

    Parameters
    ----------
    channel
        Images of each channel: er=PATH... actin=PATH...
    mixture
        Measured superpositions of the same fields, in the same order.
    truth
        High-quality images of the same fields and channels.
    val
        Images of each channel that are kept for validation.
    axes
        Axes of the images where the files do not say: YX, SYX, CYX, ...
    """
    with job("data check", common) as work:
        channels = named_paths(channel, "--channel")
        if not channels:
            raise ConfigurationError("Give the images of each channel: --channel NAME=PATH...")
        names = list(channels)
        truths = named_paths(truth, "--truth", names)
        validation = named_paths(val, "--val", names)
        mixtures = existing_paths(mixture or [], "--mixture")

        from careamics_denoisplit.cli.findings import facts
        from careamics_denoisplit.data import check_data

        report = check_data(
            channels,
            names,
            mixture=mixtures or None,
            truth=require_all(truths, names, "--truth") if truths else None,
            validation=require_all(validation, names, "--val") if validation else None,
            axes=axes,
        )
        work.values = {"passed": report.passed, **report.model_dump(mode="json")}
        for line in facts(report):
            work.say(line)
        for line in report.warnings:
            work.say(f"warning: {line}")
        for line in report.problems[1:]:
            work.say(f"PROBLEM: {line}")
        if report.passed:
            work.say(f"No problem found, {_counted(len(report.warnings), 'warning')}.")
    if not report.passed:
        # The first problem becomes the one line on standard error; no problem is shown twice.
        others = len(report.problems) - 1
        more = f" (and {_counted(others, 'more problem')}{'' if common.quiet else ', see above'})"
        raise CheckFailedError(f"{report.problems[0]}{more if others else ''}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
