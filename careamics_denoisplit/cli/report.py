"""`denoisplit report`: the page of a run."""

from pathlib import Path

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions


def report(run: Path, /, *, common: CommonOptions = DEFAULTS) -> None:
    """Write report.html of a run: curves, noise models, calibration, scores, in one file.

    Parameters
    ----------
    run
        RUN folder.
    """
    with job("report", common) as work:
        from careamics_denoisplit.report import write_report

        path = write_report(run)
        work.values = {"report": str(path.absolute())}
        work.wrote(path)
