"""Check a package: read it safely, run what may be run, judge every rule."""

from dataclasses import replace
from pathlib import Path

from careamics_denoisplit_export.rules import metadata, tensors, testing, weights
from careamics_denoisplit_export.rules.findings import Report
from careamics_denoisplit_export.rules.registry import RULES
from careamics_denoisplit_export.rules.running import reason_not_to_run, run_weights
from careamics_denoisplit_export.rules.subject import open_subject

RULE_FILES = (metadata, tensors, weights, testing)
"""The files that register the rules."""


def check_package(path: Path | str, *, trust: bool = False, run: bool = True) -> Report:
    """Check a package against all rules.

    Nothing of the package is unpacked to disk by us, its weights are run in processes of their
    own without network access, and only after their code was read: the TorchScript if it uses
    tested operators only, `architecture.py` if it is the file that this version writes.

    Parameters
    ----------
    path : pathlib.Path or str
        The zip.
    trust : bool
        Whether to run weights and source that could not be recognised.
    run : bool
        Whether to run the weights at all; otherwise rules that need it are skipped.

    Returns
    -------
    Report
        One finding for each rule.

    Raises
    ------
    PackageError
        If the file is no zip, is unsafe, or has no `rdf.yaml` that is plain YAML.
    """
    path = Path(path)
    subject = open_subject(path)
    reason = reason_not_to_run(subject, trust) if run else "running was not asked for"
    if reason:
        subject = replace(subject, not_run=reason)
    else:
        subject = replace(subject, runs=run_weights(subject, trust))
    findings = tuple(RULES[number].judge(subject) for number in sorted(RULES))
    return Report(str(path.absolute()), subject.sha256, findings)
