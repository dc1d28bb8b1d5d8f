"""The command's work: a package is checked, then carried into the zoo."""

from pathlib import Path

from careamics_denoisplit.errors import CheckFailedError, PackageError
from careamics_denoisplit_export.rules import Report, check_package
from careamics_denoisplit_export.upload.address import DEFAULT_SERVER, server_address
from careamics_denoisplit_export.upload.contents import Contents, open_contents
from careamics_denoisplit_export.upload.drafting import Draft, Say, make_draft, require_answer
from careamics_denoisplit_export.upload.readiness import require_ready_for_review
from careamics_denoisplit_export.upload.secrecy import token_from_environment, without_token


def upload_package(
    path: Path | str,
    *,
    server: str = DEFAULT_SERVER,
    submit: bool = False,
    dry_run: bool = False,
    say: Say = lambda _text: None,
) -> Draft:
    """Carry a package into the BioImage Model Zoo, as a draft that only reviewers publish.

    A package that breaks a rule is not sent. The same package goes to the same draft, whatever
    happened in between.

    Parameters
    ----------
    path : pathlib.Path or str
        The zip.
    server : str
        Address of the server.
    submit : bool
        Whether to ask the reviewers of the zoo to look at it.
    dry_run : bool
        Whether to stop before anything is sent; no token is needed.
    say : callable
        Gets one line of text at each step.

    Returns
    -------
    Draft
        Its id, its status and its files.

    Raises
    ------
    ConfigurationError
        If the address or the token cannot be used.
    PackageError
        If the package cannot be read, or is not ready for review and `submit` was asked for.
    CheckFailedError
        If it breaks a rule.
    LockedError
        If another process uploads it.
    FaultError
        If the server refuses or cannot be reached.
    """
    address = server_address(server)
    token = None if dry_run else token_from_environment()
    contents = open_contents(Path(path))
    if submit:
        require_ready_for_review(contents)
    if token is not None:
        say(f"asking {address.url} ...")
        require_answer(address, token)
    say("checking the package, which runs its weights ...")
    with without_token():
        require_passed(check_package(contents.path), contents)
    if token is None:
        files = (*contents.members, contents.own_rdf)
        return Draft(contents, address.url, None, None, files, ())
    return make_draft(contents, address, token, submit=submit, say=say)


def require_passed(report: Report, contents: Contents) -> None:
    """Refuse a package that breaks a rule, or is not the one that was checked.

    Parameters
    ----------
    report : Report
        Result of the check.
    contents : Contents
        The package.

    Raises
    ------
    CheckFailedError
        If a rule is broken; the message lists them.
    PackageError
        If the file has changed.
    """
    if not report.passed:
        broken = "; ".join(f"{finding.id}: {finding.title}" for finding in report.failed)
        raise CheckFailedError(
            f"{contents.path} breaks {len(report.failed)} of {len(report.findings)} rules "
            f"({broken}). Nothing was sent; `denoisplit check` says what to do."
        )
    if report.sha256 != contents.sha256:
        raise PackageError(f"{contents.path} changed while it was checked. Run the command again.")
