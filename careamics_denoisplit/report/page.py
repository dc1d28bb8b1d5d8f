"""Render the page: one HTML file without script and without anything outside it."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from careamics_denoisplit.files import write_whole
from careamics_denoisplit.report.content import gather

REPORT = "report.html"
"""File within a run."""


def write_report(run: Path | str) -> Path:
    """Write report.html of a run, replacing an earlier one.

    Parameters
    ----------
    run : pathlib.Path or str
        Run folder; parts that are not there yet are left out of the page.

    Returns
    -------
    pathlib.Path
        Absolute path of the page.

    Raises
    ------
    CheckpointError
        If the folder is no run.
    StorageError
        If the page cannot be written.
    """
    folder = Path(run).absolute()
    content = gather(folder)
    environment = Environment(
        loader=PackageLoader("careamics_denoisplit", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _rounded
    page = environment.get_template("report.html.j2").render(content=content)
    path = folder / REPORT
    write_whole(path, page.encode())
    return path


def _rounded(value: float | None, digits: int = 2) -> str:
    """Format a number for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
