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

        from careamics_denoisplit.cli.inspection import inspect

        found = inspect(
            channels,
            mixture=mixtures,
            truth=require_all(truths, names, "--truth") if truths else {},
            validation=require_all(validation, names, "--val") if validation else {},
            axes=axes,
        )
        work.values = found.as_json()
        for line in found.facts:
            work.say(line)
        for line in found.warnings:
            work.say(f"warning: {line}")
        for line in found.problems:
            work.say(f"PROBLEM: {line}")
        if not found.problems:
            work.say(f"No problem found, {len(found.warnings)} warnings.")
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        raise CheckFailedError(f"{found.problems[0]}{more}")
