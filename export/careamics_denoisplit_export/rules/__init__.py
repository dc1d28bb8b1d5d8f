"""The 39 rules that a package must keep so that every tool can run it, and their check."""

from careamics_denoisplit_export.rules.checking import check_package
from careamics_denoisplit_export.rules.findings import Finding, Report

__all__ = ["Finding", "Report", "check_package"]
