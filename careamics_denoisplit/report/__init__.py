"""The page of a run: settings, curves, noise models, calibration and scores, in one file."""

from careamics_denoisplit.report.content import calibration_words
from careamics_denoisplit.report.page import REPORT, write_report
from careamics_denoisplit.report.pictures import RESULT, draw_result, write_result

__all__ = [
    "REPORT",
    "RESULT",
    "calibration_words",
    "draw_result",
    "write_report",
    "write_result",
]
