"""`denoisplit export`, `check`, `upload` and `models`; nothing heavy is imported at the top."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from careamics_denoisplit.cli.job import Job, job
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    Flag,
    SomePaths,
    existing_paths,
)
from careamics_denoisplit.errors import (
    CheckFailedError,
    ConfigurationError,
    DataError,
    FaultError,
    PackageError,
)
from careamics_denoisplit.files import require_absent, write_whole

if TYPE_CHECKING:
    import numpy as np

    from careamics_denoisplit_export.rules import Report
    from careamics_denoisplit_export.rules.subject import Subject


def export(
    run: Path,
    /,
    *,
    out: Path,
    recipe: Path | None = None,
    test_image: Path | None = None,
    spread: Literal["distilled", "samples"] | None = None,
    samples: int = 8,
    method: Literal["auto", "scalar", "joint"] = "auto",
    input: Literal["measured", "sum", "mean"] | None = None,  # noqa: A002 - the option's name
    offset: float | None = None,
    no_warnings: Flag = False,
    figures: SomePaths = None,
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
        Where the uncertainty comes from: one pass with the head of `denoisplit distil`
        (distilled), or posterior samples inside the package. Without it the former, where the run
        holds a head that fails no gate which samples pass; any other is never packaged.
    samples
        Posterior samples inside the package, where it takes them. Its uncertainty is calibrated
        only where `calibrate` was run for this number.
    method
        Calibration of the uncertainty; auto takes that of the last calibrate, as predict does.
    input
        What the package will get: one exposure of all structures (measured), or the sum or mean
        of an image of each. By default what the training input was; the map is built in.
    offset
        Gray value of a pixel without light, where that map needs it.
    no_warnings
        Leave out the channels that warn of unfamiliar images.
    figures
        What evaluate and trials wrote with --json: tables for the model card.
    init_recipe
        Write a commented recipe to --out instead, with all that the run knows filled in.
    """
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
        from careamics_denoisplit_export.figures import load_figures
        from careamics_denoisplit_export.package import export_package
        from careamics_denoisplit_export.upload.completeness import metadata_completeness
        from careamics_denoisplit_export.upload.contents import open_contents
        from careamics_denoisplit_export.upload.readiness import obstacles_to_review

        measured = load_figures(existing_paths(figures or [], "--figures"))
        exported = export_package(
            load_model(run),
            recipe,
            out,
            test_image=test_image,
            spread=spread,
            n_samples=samples,
            method=method,
            seed=work.seed,
            input_rule=input,
            camera_offset=offset,
            warnings=not no_warnings,
            measured=measured,
            overwrite=common.overwrite,
        )
        contents = open_contents(exported.path)
        completeness = metadata_completeness(contents.rdf)
        obstacles = obstacles_to_review(contents)
        work.values = {
            "package": str(exported.path),
            "sha256": exported.sha256,
            "channels": list(exported.output_channels),
            "calibrated": exported.calibrated,
            "spread": exported.spread.kind,
            "spread_reason": exported.spread.reason,
            "samples": exported.spread.n_samples,
            "test_image": exported.test_image,
            "obstacles": list(obstacles),
            "completeness": round(completeness.share, 3),
            "could_be_given": list(completeness.fields),
        }
        work.say(f"output channels: {', '.join(exported.output_channels)}")
        work.say(exported.spread.reason or f"uncertainty: {exported.spread.words}")
        if not exported.calibrated:
            taken = exported.spread
            work.say(
                f"the widths are not calibrated: no calibration of {taken.estimator} in this run "
                f"(denoisplit calibrate RUN {taken.option} ...)"
            )
        work.say(f"test image: {exported.test_image}")
        for obstacle in obstacles:
            work.say(f"before reviewers of the zoo look at it: {obstacle}")
        work.say(completeness.words)
        work.wrote(exported.path)


def check(
    package: Path | None = None,
    /,
    *,
    consumers: Literal["auto", "all", "none"] = "auto",
    build_consumers: Flag = False,
    image: Path | None = None,
    html: Path | None = None,
    seams: Path | None = None,
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
        Mixture that they predict, and that seams are measured in; by default the packaged test
        image, continued by reflection.
    html
        Write the verdicts as a page.
    seams
        Measure what tiles leave behind, for halos of 0, 32 px, the package's and twice that, and
        draw it as this PNG.
    trust
        Run weights and source code of a package that could not be recognised as harmless.
    """
    if package is None and not build_consumers:
        raise ConfigurationError("Give a package, a .zip file, or --build-consumers.")
    for path in (package, image):
        if path is not None and not path.exists():
            what = "package" if path is package else "image"
            raise ConfigurationError(f"There is no {what} at {path}. Give its path.")
    if seams is not None and seams.suffix.lower() != ".png":
        raise ConfigurationError(f"The picture of seams is a .png file, got {seams}. Name it so.")
    for path in (html, seams):
        if path is not None:
            require_absent(path, common.overwrite)
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
            _check(work, package, consumers, image, html, seams, trust)


def _check(
    work: Job,
    package: Path,
    consumers: Literal["auto", "all", "none"],
    image: Path | None,
    html: Path | None,
    seams: Path | None,
    trust: bool,
) -> None:
    """Judge all rules, run all consumers, tell and write the verdicts."""
    from careamics_denoisplit_export.consumers.reference import first_plane
    from careamics_denoisplit_export.rules import check_package
    from careamics_denoisplit_export.rules.page import to_html

    plane = None if image is None else first_plane(image)
    work.say("reading the package and running its weights ...")
    report = check_package(package, trust=trust)
    work.values = report.to_dict()
    if consumers != "none":
        # Until the consumers have run, nobody can say that the package passes.
        work.values["passed"] = False
        try:
            report = _consume(work, report, consumers, plane, trust)
        except Exception:
            _tell(work, report)
            raise
        work.values = report.to_dict()
    _tell(work, report)
    if html is not None:
        write_whole(html, to_html(report).encode())
        work.wrote(html)
    if seams is not None:
        try:
            work.values["seams"] = _draw_seams(work, report, plane, seams, trust)
        except (ConfigurationError, DataError, FaultError) as error:
            if report.passed:
                raise
            work.say(f"no picture of seams: {error}")
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
    image: "np.ndarray | None",
    trust: bool,
) -> "Report":
    """Run the package that was judged in the programs of others."""
    from careamics_denoisplit_export.consumers.checking import check_consumers, settle

    records = check_consumers(_judged(report), which, trust=trust, image=image, say=work.say)
    return settle(report, records)


def _draw_seams(
    work: Job, report: "Report", image: "np.ndarray | None", picture: Path, trust: bool
) -> dict[str, Any]:
    """Measure what tiles leave behind in the package that was judged, and draw it."""
    from careamics_denoisplit_export.consumers.halo_picture import draw_halo_trade
    from careamics_denoisplit_export.consumers.halos import trade_of_package

    trade = trade_of_package(_judged(report), image, trust=trust, say=work.say)
    for row in trade.rows:
        figures = ", ".join(f"{name} {value:.2g}" for name, value in row.seams._asdict().items())
        work.say(f"halo {row.halo} px, {row.tiles} tiles: seams of {figures} std")
    write_whole(picture, draw_halo_trade(trade))
    work.wrote(picture)
    return trade.to_dict()


def _judged(report: "Report") -> "Subject":
    """Open the package that was judged once more."""
    from careamics_denoisplit_export.rules.subject import open_subject

    subject = open_subject(Path(report.package))
    if subject.sha256 != report.sha256:
        raise PackageError(f"{report.package} changed while it was checked. Check it again.")
    return subject


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
        if not draft.obstacles and draft.status in (None, "draft"):
            work.say("nothing that is checked here keeps it from reviewers (--submit)")
        work.say(draft.completeness.words)
        if draft.id is None:
            for file in draft.files:
                work.say(f"  {file.name}: {file.size / 1e6:.3f} MB")
            megabytes = sum(file.size for file in draft.files) / 1e6
            work.say(
                f"dry run: {len(draft.files)} files, {megabytes:.1f} MB, would go to {draft.server}"
            )
        else:
            work.say(f"{draft.status}: {draft.id}")
            if draft.status == "draft":
                work.say(f"look at it on the website, then: denoisplit upload {package} --submit")


def models(
    names: list[str] | None = None,
    /,
    *,
    data: Path = Path("../shared/data"),
    out: Path = Path("models"),
    recipes: Path = Path("export/recipes"),
    cards: Path = Path("model_cards"),
    only_cards: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Make the published demonstration models from the shared images, and their model cards.

    Every step that is finished is skipped, so the same command goes on after an interruption. Run
    it in the root folder of a clone.

    Parameters
    ----------
    names
        Models to make; all of them by default.
    data
        Folder of the shared images.
    out
        Folder of the models.
    recipes
        Folder of the recipes.
    cards
        Folder of figures and cards, which are committed.
    only_cards
        Make nothing; render the cards from recipes and committed figures.
    """
    with job("models", common) as work:
        from careamics_denoisplit_export.models import PLANS

        if only_cards:
            from careamics_denoisplit_export.models.publishing import write_model_cards

            written = write_model_cards(recipes, cards)
            work.values = {
                "models": [path.stem for path in written],
                "files": [str(path.absolute()) for path in written],
            }
            work.wrote(*written)
            return
        unknown = sorted(set(names or ()) - set(PLANS))
        if unknown:
            raise ConfigurationError(
                f"There is no model {unknown[0]!r}. Name one of {', '.join(PLANS)}."
            )
        from careamics_denoisplit_export.models.making import Making

        made: list[str] = []
        files: list[str] = []
        for name in names or PLANS:
            work.say(f"{name}:")
            making = Making(PLANS[name], data, out / name, recipes, cards, work.say)
            written = making.run()
            made.append(name)
            files += [str(path.absolute()) for path in written]
            # Said after each model, so that those that were made are told if a later one fails.
            work.values = {"models": made, "files": files}
            work.wrote(*written)


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
