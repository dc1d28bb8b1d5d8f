"""`denoisplit export`, `check` and `upload`; nothing heavy is imported at the top."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from careamics_denoisplit.cli.job import Job, job
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions, Flag
from careamics_denoisplit.errors import (
    CheckFailedError,
    ConfigurationError,
    FaultError,
    PackageError,
)
from careamics_denoisplit.files import require_absent, write_whole

if TYPE_CHECKING:
    from careamics_denoisplit_export.rules import Report


def export(
    run: Path,
    /,
    *,
    out: Path,
    recipe: Path | None = None,
    test_image: Path | None = None,
    spread: Literal["samples"] = "samples",
    samples: int = 8,
    method: Literal["auto", "scalar", "joint"] = "auto",
    input: Literal["measured", "sum", "mean"] | None = None,  # noqa: A002 - the option's name
    offset: float | None = None,
    no_warnings: Flag = False,
    init_recipe: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Write one bioimage.io package from a run.

    The package holds the denoised channels, the uncertainty of each and two channels that warn
    of unfamiliar images as channels of one output, as TorchScript and as a state dict.

    Parameters
    ----------
    run
        A RUN folder, its model/ folder, or a checkpoint.
    out
        The package, a .zip.
    recipe
        YAML with what only a person knows: name, description, authors, licence.
    test_image
        Raw mixture for the test tensors and the cover; without it one is made up.
    spread
        Where the uncertainty comes from: posterior samples inside the package.
    samples
        Posterior samples inside the package; the calibration must exist for this number.
    method
        Calibration of the uncertainty; auto takes that of the last calibrate, as predict does.
    input
        What the package will get: one exposure of all structures (measured), or the sum or mean
        of an image of each. By default what the training input was; the map is built in.
    offset
        Gray value of a pixel without light, where that map needs it.
    no_warnings
        Leave out the channels that warn of unfamiliar images.
    init_recipe
        Write a commented recipe to --out instead, with all that the run knows filled in.
    """
    del spread
    with job("export", common) as work:
        from careamics_denoisplit.checkpoint import load_model

        require_absent(out, common.overwrite)
        if init_recipe:
            from careamics_denoisplit_export.recipe_template import recipe_template

            if out.suffix.lower() not in (".yaml", ".yml"):
                raise ConfigurationError(f"A recipe is a .yaml file, got --out {out}. Name it so.")
            write_whole(out, recipe_template(load_model(run), out.name).encode())
            work.values = {"recipe": str(out.absolute())}
            work.wrote(out)
            return
        from careamics_denoisplit_export.package import export_package

        exported = export_package(
            load_model(run),
            recipe,
            out,
            test_image=test_image,
            n_samples=samples,
            method=method,
            seed=work.seed,
            input_rule=input,
            camera_offset=offset,
            warnings=not no_warnings,
            overwrite=common.overwrite,
        )
        work.values = {
            "package": str(exported.path),
            "sha256": exported.sha256,
            "channels": list(exported.output_channels),
            "calibrated": exported.calibrated,
            "test_image": exported.test_image,
        }
        work.say(f"output channels: {', '.join(exported.output_channels)}")
        if not exported.calibrated:
            work.say(
                f"the widths are not calibrated: no calibration for {samples} samples in this run "
                f"(denoisplit calibrate RUN --samples {samples} ...)"
            )
        work.say(f"test image: {exported.test_image}")
        work.wrote(exported.path)


def check(
    package: Path | None = None,
    /,
    *,
    consumers: Literal["auto", "all", "none"] = "auto",
    build_consumers: Flag = False,
    image: Path | None = None,
    html: Path | None = None,
    trust: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Check a package against the rules of the programs that run it, and in these programs.

    Exit code 1 where a rule is broken or a program returns other numbers. What was not run is
    counted as skipped, with the reason.

    Parameters
    ----------
    package
        The package, a .zip.
    consumers
        Run it in the engines of Fiji, QuPath, ilastik and the zoo: those that are built, all of
        them, or none.
    build_consumers
        Build these engines first, once for this user; needs the network, Java and Maven. Without
        a package nothing else is done.
    image
        Mixture that they predict; by default the packaged test image, continued by reflection.
    html
        Write the verdicts as a page.
    trust
        Run weights and source code of a package that could not be recognised as harmless.
    """
    if package is None and not build_consumers:
        raise ConfigurationError("Give a package, a .zip file, or --build-consumers.")
    for path in (package, image):
        if path is not None and not path.exists():
            what = "package" if path is package else "image"
            raise ConfigurationError(f"There is no {what} at {path}. Give its path.")
    if html is not None:
        require_absent(html, common.overwrite)
    with job("check", common) as work:
        if build_consumers:
            from careamics_denoisplit_export import consumers as programs

            failures = programs.build_consumers(work.say)
            work.values = {"consumers_folder": str(programs.consumers_folder())}
            work.say(f"consumers: {programs.consumers_folder()}")
            if failures:
                raise FaultError(
                    f"{len(failures)} consumers were not built: {', '.join(failures)}."
                )
        if package is not None:
            _check(work, package, consumers, image, html, trust)


def _check(
    work: Job,
    package: Path,
    consumers: Literal["auto", "all", "none"],
    image: Path | None,
    html: Path | None,
    trust: bool,
) -> None:
    """Judge all rules, run all consumers, tell and write the verdicts."""
    from careamics_denoisplit_export.rules import check_package
    from careamics_denoisplit_export.rules.page import to_html

    work.say("reading the package and running its weights ...")
    report = check_package(package, trust=trust)
    if consumers != "none":
        report = _consume(work, report, consumers, image, trust)
    work.values = report.to_dict()
    if html is not None:
        write_whole(html, to_html(report).encode())
        work.wrote(html)
    _tell(work, report)
    if not report.passed:
        broken = [f"rule {finding.id}" for finding in report.failed]
        broken += [each["name"] for each in report.consumers if each["status"] == "failed"]
        total = len(report.findings) + len(report.consumers)
        raise CheckFailedError(
            f"{package} fails {len(broken)} of {total} checks: {', '.join(broken)}."
        )


def _consume(
    work: Job,
    report: "Report",
    which: Literal["auto", "all"],
    image: Path | None,
    trust: bool,
) -> "Report":
    """Run the package that was judged in the programs of others."""
    from careamics_denoisplit_export.consumers.checking import (
        check_consumers,
        first_plane,
        settle,
    )
    from careamics_denoisplit_export.rules.subject import open_subject

    subject = open_subject(Path(report.package))
    if subject.sha256 != report.sha256:
        raise PackageError(f"{report.package} changed while it was checked. Check it again.")
    plane = None if image is None else first_plane(image)
    records = check_consumers(subject, which, trust=trust, image=plane, say=work.say)
    return settle(report, records)


def upload(
    package: Path,
    /,
    *,
    submit: Flag = False,
    dry_run: Flag = False,
    server: str = "https://hypha.aicell.io",
    common: CommonOptions = DEFAULTS,
) -> None:
    """Carry a package into the BioImage Model Zoo, always as a draft.

    The package is checked first; one that breaks a rule is not sent. The same command, given
    again, goes on with the same draft. The token is read from the environment variable
    HYPHA_TOKEN and nowhere else; bioimage.io/#/api gives one.

    Parameters
    ----------
    package
        The package, a .zip.
    submit
        Ask the reviewers of the zoo to look at the draft; only they publish.
    dry_run
        Check everything and say what would be sent, without the network and without a token.
    server
        Address of the server; http:// for this machine only.
    """
    if not package.exists():
        raise ConfigurationError(f"There is no package at {package}. Give a .zip file.")
    with job("upload", common) as work:
        from careamics_denoisplit_export.upload import upload_package

        draft = upload_package(package, server=server, submit=submit, dry_run=dry_run, say=work.say)
        work.values = {**draft.to_dict(), "dry_run": dry_run, "submitted": submit and not dry_run}
        for obstacle in draft.obstacles:
            work.say(f"before reviewers look at it: {obstacle}")
        share, missing = draft.completeness
        more = f"; could be given: {', '.join(missing)}" if missing else ""
        work.say(f"metadata: {share:.0%} of the keys that the zoo counts{more}")
        if draft.id is None:
            megabytes = sum(file.size for file in draft.files) / 1e6
            work.say(
                f"dry run: {len(draft.files)} files, {megabytes:.1f} MB, would go to {draft.server}"
            )
        else:
            work.say(f"{draft.status}: {draft.id}")


def _tell(work: Job, report: "Report") -> None:
    """Say what failed and what was skipped, then the sum."""
    for finding in report.findings:
        if finding.status != "passed":
            work.say(f"rule {finding.id:2} {finding.status}: {finding.title}")
            work.say(f"   {finding.message}")
    for each in report.consumers:
        work.say(f"{each['name']} ({each['engine']}) {each['status']}: {each['message']}")
    passed = sum(finding.status == "passed" for finding in report.findings)
    work.say(f"{passed} rules passed, {len(report.failed)} failed, {report.skipped} skipped")
