"""The verdicts as a page that needs nothing else."""

import jinja2

from careamics_denoisplit_export.rules.findings import Report


def to_html(report: Report) -> str:
    """Write a report as one self-contained page; every text is escaped.

    Parameters
    ----------
    report : Report
        Result of a check.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("careamics_denoisplit_export"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("check.html.j2").render(report=report)
