"""One published model, from shared images to a package and its card, by the commands of users."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from careamics_denoisplit.checkpoint import TrainedModel, load_model
from careamics_denoisplit.config import (
    configuration_from_dict,
    create_denoisplit_config,
    load_configuration,
    save_configuration,
)
from careamics_denoisplit.errors import FaultError
from careamics_denoisplit.evaluation import (
    Example,
    align_truth,
    aligned_truth,
    evaluate_ratios,
    example_of,
    open_scenes,
)
from careamics_denoisplit.files import read_json, sha256_of, write_json, write_whole
from careamics_denoisplit.noise_model import noise_model_file
from careamics_denoisplit.prediction import predict_image
from careamics_denoisplit_export.card import Card
from careamics_denoisplit_export.figures import load_figures, measured_figures
from careamics_denoisplit_export.models.images import Fields, Part
from careamics_denoisplit_export.models.pictures import (
    Crop,
    draw_split,
    draw_worst,
    worst_crops,
)
from careamics_denoisplit_export.models.plans import ModelPlan
from careamics_denoisplit_export.models.publishing import card_document, render_model_card
from careamics_denoisplit_export.models.steps import Say, Step, run_steps
from careamics_denoisplit_export.package import export_package
from careamics_denoisplit_export.recipe import Recipe, load_recipe
from careamics_denoisplit_export.spread import PackagedSpread, choose_spread

PACKAGE_SAMPLES = 8
"""Posterior samples of a package that takes them."""

SAMPLES = 16
"""Posterior samples of prediction in Python."""

LIBRARIES = ("careamics-denoisplit", "careamics", "torch", "bioimageio.core", "bioimageio.spec")
"""Distributions whose versions a card names."""


@dataclass(frozen=True)
class Making:
    """Folders and steps of one model.

    Attributes
    ----------
    plan : ModelPlan
        What is made.
    shared : pathlib.Path
        Folder of the shared images.
    folder : pathlib.Path
        Where the model is made; what is there is not made again.
    recipes, cards : pathlib.Path
        Folders of the recipes, and of figures and cards.
    say : callable
        Receives a line at every step.
    """

    plan: ModelPlan
    shared: Path
    folder: Path
    recipes: Path
    cards: Path
    say: Say

    def run(self) -> list[Path]:
        """Do what is not done yet, then write figures, pictures and the card.

        Returns
        -------
        list of pathlib.Path
            Package, figures and card.

        Raises
        ------
        DenoiSplitError
            If a step fails; what was finished before stays.
        """
        self.say(f"images: {len(self.fields.files)} files")
        seconds = run_steps(self.steps, self.folder / "steps.json", self.say)
        return [self.package, *self._publish(seconds)]

    @cached_property
    def fields(self) -> Fields:
        """The images, prepared where they are missing."""
        return self.plan.prepare(self.shared, self.folder / "data")

    @property
    def package(self) -> Path:
        """The bioimage.io package."""
        return self.folder / f"{self.plan.name}.zip"

    @property
    def steps(self) -> list[Step]:
        """All steps, in order."""
        place, run, names = self.folder, self.folder / "run", self.plan.channel_names
        noise = tuple(place / "noise" / noise_model_file(name) for name in names)
        model = run / "model"
        return [
            Step("noise models", noise, self._fit_noise),
            Step("configuration", (place / "config.yaml",), self._configure),
            Step("training", (model,), self._train, self._is_trained, self._training_seconds),
            Step(
                "calibration",
                (model / "calibration.json",),
                lambda: self._calibrate("--samples", str(SAMPLES)),
                lambda: self._is_calibrated(f"samples-{SAMPLES}"),
            ),
            Step("one-pass spread", (model / "spread.safetensors",), self._distil),
            Step(
                "its calibration",
                (model / "spread.safetensors",),
                lambda: self._calibrate("--spread", "distilled"),
                lambda: self._is_calibrated("distilled"),
            ),
            Step("scores", (place / "scores.json",), self._score),
            Step("unequal brightness", (place / "ratios.json",), self._score_ratios),
            Step("unfamiliar images", (place / "trials.json",), self._try_unfamiliar),
            Step("pictures", (place / "split.png", place / "worst.png"), self._draw),
            Step("package", (self.package, place / "facts.json"), self._export),
            Step(
                "check",
                (place / "check.json", place / "seams.png"),
                self._check,
                # A check that failed leaves its verdict, too.
                lambda: bool(read_json(place / "check.json")["passed"]),
            ),
        ]

    @cached_property
    def recipe(self) -> Recipe:
        """What people wrote."""
        return load_recipe(self.recipes / f"{self.plan.name}.yaml")

    @property
    def trained(self) -> TrainedModel:
        """The model, read anew: steps add to it."""
        return load_model(self.folder / "run")

    @property
    def spread(self) -> PackagedSpread:
        """What the package takes as uncertainty."""
        return choose_spread(self.trained, None, PACKAGE_SAMPLES, 0)

    def _fit_noise(self) -> None:
        train = self.fields.train
        align = ["--align"] if self.plan.align else []
        self._command(
            *("noise-model", "fit", "--out", self.folder / "noise", "--overwrite", *align),
            *_named("--signal", train.truth),
            *_named("--observation", train.noisy),
        )

    def _configure(self) -> None:
        plan = self.plan
        config = create_denoisplit_config(
            plan.name, plan.channel_names, "laptop", num_epochs=plan.epochs
        )
        plain = config.to_plain()
        plain["algorithm_config"] |= plan.algorithm
        plain["distillation_config"] |= plan.distillation
        save_configuration(configuration_from_dict(plain), self.folder / "config.yaml")

    def _train(self) -> None:
        run = self.folder / "run"
        go_on = (run / "checkpoints" / "last.ckpt").is_file()
        how = "--resume" if go_on else "--overwrite"
        self._command(
            *("train", self.folder / "config.yaml", "--run", run, how),
            *_named("--channel", self.fields.train.noisy),
            *_named("--val", self.fields.val.noisy),
            *("--noise-model", self.folder / "noise"),
        )

    def _is_trained(self) -> bool:
        run = self.folder / "run"
        if not (run / "config.yaml").is_file():
            return False
        epochs = load_configuration(run / "config.yaml").training_config.trainer_params
        return len(_epochs(run)) >= int(epochs["max_epochs"])

    def _training_seconds(self) -> float | None:
        rows = _epochs(self.folder / "run")
        return float(rows[-1]["seconds"]) if rows else None

    def _calibrate(self, *options: str) -> None:
        val = self.fields.val
        self._command(
            *("calibrate", self.folder / "run", "--method", "joint", *options),
            *_named("--channel", val.noisy),
            *_named("--truth", val.truth),
        )

    def _is_calibrated(self, estimator: str) -> bool:
        found = self.trained.calibrations.estimators.get(estimator)
        return found is not None and found.joint is not None

    def _distil(self) -> None:
        self._command(
            *("distil", self.folder / "run", "--overwrite"),
            *_named("--channel", self.fields.train.noisy),
            *_named("--val", self.fields.val.noisy),
            *_named("--truth", self.fields.val.truth),
        )

    def _score(self) -> None:
        self._command(
            *("evaluate", self.folder / "run", *_option(self.spread)),
            *_scored(self.fields.test),
            *("--json", self.folder / "scores.json", "--overwrite"),
        )

    def _score_ratios(self) -> None:
        test, spread = self.fields.test, self.spread
        result = evaluate_ratios(
            self.trained,
            truth=test.truth,
            channels=test.noisy,
            n_samples=max(1, spread.n_samples),
            spread=spread.kind,
        )
        write_json(self.folder / "ratios.json", result)

    def _try_unfamiliar(self) -> None:
        third = self.fields.third
        more = [] if third is None else ["--third", str(third)]
        self._command(
            *("trials", self.folder / "run", *_option(self.spread)),
            *_scored(self.fields.test),
            *more,
            *("--json", self.folder / "trials.json", "--overwrite"),
        )

    def _draw(self) -> None:
        examples = self._examples()
        crops = worst_crops(examples)
        write_whole(self.folder / "split.png", draw_split(examples[0]))
        write_whole(self.folder / "worst.png", draw_worst(examples, crops))
        write_json(self.folder / "worst.json", [_told(crop, examples) for crop in crops])

    def _examples(self) -> list[Example]:
        """Predict all test images as the package does, in whole images."""
        trained, test, spread = self.trained, self.fields.test, self.spread
        scenes = open_scenes(
            trained.statistics, mixture=test.mixture, truth=test.truth, channels=test.noisy
        )
        examples = []
        for scene in scenes:
            estimate = predict_image(
                trained, scene.mixture, n_samples=max(1, spread.n_samples), spread=spread.kind
            )
            alignment = align_truth(scene, estimate.mean, recorded=trained.calibrations.alignment)
            truth = aligned_truth(scene, alignment)
            examples.append(example_of(trained, scene, estimate, truth, spread.estimator))
        return examples

    def _export(self) -> None:
        exported = export_package(
            self.trained,
            self.recipe,
            self.package,
            test_image=self.fields.test.mixture[0],
            n_samples=PACKAGE_SAMPLES,
            measured=self._figures(),
            overwrite=True,
        )
        write_json(self.folder / "facts.json", dict(exported.facts))

    def _figures(self) -> dict[str, Any]:
        files = [self.folder / f"{name}.json" for name in ("scores", "ratios", "trials")]
        return load_figures(files) | {"worst": read_json(self.folder / "worst.json")}

    def _check(self) -> None:
        self._command(
            *("check", self.package, "--consumers", "auto"),
            *("--image", self.fields.test.mixture[0], "--seams", self.folder / "seams.png"),
            *("--json", self.folder / "check.json", "--overwrite"),
        )

    def _publish(self, seconds: Mapping[str, float | None]) -> list[Path]:
        """Write figures, pictures and card to where they are committed."""
        name, check = self.plan.name, read_json(self.folder / "check.json")
        pictures = {key: f"{name}_{key}.png" for key in ("split", "worst", "seams")}
        for key, file in pictures.items():
            write_whole(self.cards / file, (self.folder / f"{key}.png").read_bytes())
        published = {
            "picture": pictures["split"],
            "picture_words": f"The middle of a test image. Images: {self.plan.source}.",
            "worst_picture": pictures["worst"],
            "seams_picture": pictures["seams"],
            "package": {
                "name": self.package.name,
                "bytes": self.package.stat().st_size,
                "sha256": sha256_of(self.package),
                "check": _check_words(check),
            },
            "consumers": [_consumer(each) for each in check["consumers"]],
            "versions": {"Python": platform.python_version()}
            | {library: version(library) for library in LIBRARIES},
            "machine": machine(),
            "seconds": dict(seconds),
        }
        measured = self._figures() | measured_figures(check)
        facts = read_json(self.folder / "facts.json")
        document, card = self.cards / f"{name}.json", self.cards / f"{name}.md"
        write_json(document, card_document(Card(self.recipe, facts, measured, published)))
        text = render_model_card(self.recipes / f"{name}.yaml", document)
        write_whole(card, text.encode())
        return [document, card]

    def _command(self, *words: object) -> None:
        """Run one command of the program, in a process of its own.

        Raises
        ------
        FaultError
            If it fails; its own message stands above.
        """
        command = [sys.executable, "-m", "careamics_denoisplit", *map(str, words)]
        done = subprocess.run(command, check=False)  # noqa: S603 - our own program
        if done.returncode:
            raise FaultError(
                f"`denoisplit {words[0]}` ended with exit code {done.returncode}; its message "
                "stands above. What was finished before is kept."
            )


def machine() -> str:
    """Name the processor and how many of its cores may be used."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{cores} cores of {models[0] if models else platform.processor() or 'a processor'}"


def _epochs(run: Path) -> list[dict[str, str]]:
    """Rows of the metrics of a run; none where it was not trained."""
    metrics = run / "logs" / "metrics.csv"
    if not metrics.is_file():
        return []
    head, *rows = metrics.read_text(encoding="utf-8").splitlines()
    return [dict(zip(head.split(","), row.split(","), strict=False)) for row in rows]


def _named(option: str, paths: Mapping[str, Sequence[Path]]) -> list[str]:
    """Write files by channel as the command line takes them."""
    words: list[str] = []
    for name, (first, *others) in paths.items():
        words += [option, f"{name}={first}", *map(str, others)]
    return words


def _scored(part: Part) -> list[str]:
    mixture = ["--mixture", *map(str, part.mixture)]
    return [*mixture, *_named("--channel", part.noisy), *_named("--truth", part.truth)]


def _option(spread: PackagedSpread) -> tuple[str, str]:
    if spread.kind == "distilled":
        return ("--spread", "distilled")
    return ("--samples", str(spread.n_samples))


def _told(crop: Crop, examples: Sequence[Example]) -> dict[str, Any]:
    told = crop._asdict()
    return {"image": examples[told.pop("example")].name, **told}


def _check_words(check: Mapping[str, Any]) -> str:
    states = [rule["status"] for rule in check["rules"]]
    return (
        f"{states.count('passed')} of {len(states)} rules of denoisplit check passed, "
        f"{states.count('failed')} failed, {states.count('skipped')} were skipped."
    )


def _consumer(record: Mapping[str, Any]) -> dict[str, Any]:
    difference = record.get("max_abs_difference")
    return {
        "name": record["name"],
        "engine": record["engine"],
        "status": record["status"],
        "difference": "-" if difference is None else f"{difference:.2g}",
        "seconds": (record.get("tile") or {}).get("seconds"),
    }
