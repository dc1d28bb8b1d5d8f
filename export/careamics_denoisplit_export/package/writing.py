"""Write one package from a trained model and a recipe, whole or not at all."""

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32

from careamics_denoisplit.calibration import EstimatorCalibration, estimator_name
from careamics_denoisplit.checkpoint import CALIBRATION, STATISTICS, TrainedModel
from careamics_denoisplit.errors import ConfigurationError, FaultError, NonFiniteError
from careamics_denoisplit.files import require_absent, require_writable, write_whole
from careamics_denoisplit.noise_model import noise_model_file
from careamics_denoisplit.prediction import predict_image, whole_image
from careamics_denoisplit_export import rdf
from careamics_denoisplit_export.architecture import architecture_source
from careamics_denoisplit_export.card import mixing_in_words, render_card
from careamics_denoisplit_export.package.cover import cover_png
from careamics_denoisplit_export.package.sample_image import SampleImage, sample_image
from careamics_denoisplit_export.package.zipped import zip_bytes
from careamics_denoisplit_export.recipe import Recipe, default_recipe, load_recipe
from careamics_denoisplit_export.weights import (
    STATE_DICT_FILE,
    TORCHSCRIPT_FILE,
    Calibration,
    graph_settings,
    graph_state,
    write_state_dict,
    write_torchscript,
)

Method = Literal["scalar", "joint", "auto"]

CONFIG_FILE = "config.json"
"""The whole configuration, as JSON: a package holds one YAML file only."""

N_SAMPLES = 8
SEED = 0

ABSOLUTE_TOLERANCE = 1.5e-4
RELATIVE_TOLERANCE = 1e-4
"""Largest difference |a - e| <= 1.5e-4 + 1e-4 |e|, the strictest that a consumer asks for."""

_LARGEST_SEED = 2**31 - 1  # Java readers take no larger integers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : pathlib.Path
        Absolute path of the package.
    sha256 : str
        Hash of the package.
    output_channels : tuple of str
        Names of the channels of its output.
    calibrated : bool
        Whether the widths are calibrated standard deviations.
    test_image : str
        Where the test image comes from.
    card : str
        The README inside.
    """

    path: Path
    sha256: str
    output_channels: tuple[str, ...]
    calibrated: bool
    test_image: str
    card: str


def export_package(
    trained: TrainedModel,
    recipe: Recipe | Path | str | None,
    out: Path | str,
    *,
    test_image: Any = None,
    n_samples: int = N_SAMPLES,
    method: Method = "auto",
    seed: int = SEED,
    overwrite: bool = False,
) -> Exported:
    """Write one bioimage.io package.

    Its output is that of `predict_image` on one tile with the same settings; this is compared
    before anything is written.

    Parameters
    ----------
    trained : TrainedModel
        Network, configuration, statistics, noise models and calibrations.
    recipe : Recipe or pathlib.Path or str or None
        Facts that a person wrote, or their YAML file; None makes up the least.
    out : pathlib.Path or str
        The package, a `.zip`.
    test_image : array-like or pathlib.Path or str, optional
        Raw mixture (Y, X) for the test tensors; by default that of the recipe, else made up.
        An image below 512 px is padded by reflection, which the card says.
    n_samples : int
        Posterior samples in the graph, at least 2; a calibration must exist for this number.
    method : {"scalar", "joint", "auto"}
        Calibration of the widths; `auto` takes the one that prediction applies, that of the last
        `calibrate`.
    seed : int
        Seed of the samples.
    overwrite : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    Exported
        Path, hash and what the channels are.

    Raises
    ------
    OutputExistsError
        If `out` exists.
    ConfigurationError, DataError
        If the recipe, a setting or the test image is wrong.
    NonFiniteError, FaultError, StorageError
        If the network returns NaN, the graph differs from prediction, or writing fails.
    """
    out = _checked_target(out, overwrite)
    recipe = _recipe(recipe, trained)
    _require_settings(trained, n_samples, seed)
    source = recipe.test_image if test_image is None else test_image
    image = sample_image(source, trained.statistics)
    if "padded" in image.origin:
        logger.warning("Test image: %s.", image.origin)
    chosen = _chosen_method(trained, method, n_samples)
    plan = _Plan(trained, recipe, image, n_samples, seed, chosen)
    files, card = plan.files()
    package = zip_bytes(files)
    write_whole(out, package)
    return Exported(
        path=out,
        sha256=hashlib.sha256(package).hexdigest(),
        output_channels=plan.output_channels,
        calibrated=plan.calibration is not None,
        test_image=image.origin,
        card=card,
    )


@dataclass(frozen=True)
class _Plan:
    """Everything that decides about the content of a package."""

    trained: TrainedModel
    recipe: Recipe
    image: SampleImage
    n_samples: int
    seed: int
    method: Literal["scalar", "joint"]

    @property
    def fitted(self) -> EstimatorCalibration | None:
        """All calibrations of the estimator; None where nothing was fitted for it."""
        estimator = estimator_name("samples", self.n_samples)
        return self.trained.calibrations.estimators.get(estimator)

    @property
    def calibration(self) -> Calibration | None:
        """What calibrates the widths; None where nothing was fitted for this estimator."""
        return None if self.fitted is None else self.fitted.method(self.method)

    @property
    def output_channels(self) -> tuple[str, ...]:
        """Name of each channel, then of each width."""
        ending = "spread" if self.calibration is None else "std"
        names = self.trained.channel_names
        return (*names, *(f"{name}_{ending}" for name in names))

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild the graph."""
        return graph_settings(self.trained, self.calibration, self.n_samples, self.seed)

    def files(self) -> tuple[dict[str, bytes], str]:
        """Build the content of every file, and the card as text."""
        state = graph_state(self.trained, self.calibration)
        source = architecture_source()
        traced = write_torchscript(source, self.settings, state, self.image.tensor)
        self.require_prediction(traced.output)
        channels = len(self.trained.channel_names)
        attached = self.attachments()
        card = render_card(self.card_facts())
        files = {
            TORCHSCRIPT_FILE: traced.archive,
            STATE_DICT_FILE: write_state_dict(state),
            rdf.ARCHITECTURE_FILE: source.encode(),
            rdf.TEST_INPUT_FILE: _npy(self.image.tensor),
            rdf.TEST_OUTPUT_FILE: _npy(traced.output),
            rdf.COVER_FILE: cover_png(self.image.raw, traced.output[0, :channels]),
            rdf.README_FILE: card.encode(),
            **attached,
        }
        description = rdf.Description(
            output_channels=self.output_channels,
            settings=self.settings,
            size_multiple=self.trained.network.size_multiple,
            sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
            attachments=tuple(sorted(attached)),
            facts=self.facts(),
        )
        files[rdf.RDF_FILE] = rdf.to_yaml(rdf.describe(self.recipe, description))
        return files, card

    def require_prediction(self, output: Float32[np.ndarray, "1 c2 y x"]) -> None:
        """Stop where the graph's channels are not those of prediction."""
        if not np.isfinite(output).all():
            raise NonFiniteError(
                "The network returns NaN or infinite numbers for the test image. Use another "
                "test image, or train again."
            )
        raw = self.image.raw
        tiling = whole_image(raw.shape, self.trained.network.size_multiple)
        estimate = predict_image(
            self.trained, raw, n_samples=self.n_samples, seed=self.seed, tiling=tiling
        )
        spread = estimate.spread
        if spread is not None and self.calibration is not None:
            spread = self.calibration.std(estimate.mean, spread)
        expected = np.concatenate([estimate.mean, np.asarray(spread)])
        excess = np.abs(output[0] - expected) - RELATIVE_TOLERANCE * np.abs(expected)
        if excess.max() > ABSOLUTE_TOLERANCE:
            raise FaultError(
                f"The graph differs from prediction by up to {excess.max():.3g} gray values in "
                "the test image. Nothing was written; please report this."
            )

    def attachments(self) -> dict[str, bytes]:
        """Build the files with which the model can be used and trained again."""
        trained = self.trained
        files = {
            CONFIG_FILE: _json(trained.config.to_plain()),
            STATISTICS: _json(trained.statistics.model_dump(mode="json")),
            CALIBRATION: _json(json.loads(trained.calibrations.to_json())),
        }
        for channel, model in zip(trained.channel_names, trained.noise_models, strict=False):
            content = io.BytesIO()
            np.savez(content, **model.to_arrays())  # type: ignore[arg-type]  # numpy types **kwds together with allow_pickle
            files[noise_model_file(channel)] = content.getvalue()
        return files

    def facts(self) -> dict[str, Any]:
        """Say what the channels are, for readers of our own."""
        return {
            "version": exporter_version(),
            "spread": "samples",
            "n_samples": self.n_samples,
            "seed": self.seed,
            "calibrated": self.calibration is not None,
            "method": self.method if self.calibration is not None else "none",
        }

    def card_facts(self) -> dict[str, Any]:
        """Collect what the card's template names."""
        trained, statistics = self.trained, self.trained.statistics
        names = trained.channel_names
        return {
            "recipe": self.recipe,
            "listed": " and ".join(names),
            "channel_names": names,
            "statistics": statistics,
            "mixing": mixing_in_words(statistics.mixing),
            "outputs": list(zip(self.output_channels, self.contents(), strict=True)),
            "calibrated": self.calibration is not None,
            "method": self.method,
            "n_samples": self.n_samples,
            "calibration_lines": self.calibration_lines(),
            "fitted_on": self.fitted.fitted_on.images if self.fitted else (),
            "halo": rdf.halo_of(trained.network.size_multiple),
            "tile": rdf.TILE,
            "size_multiple": trained.network.size_multiple,
            "settings": self.settings,
            "parameters": f"{sum(p.numel() for p in trained.network.parameters()):,}",
            "algorithm": trained.config.algorithm_config.algorithm,
            "targets": list(
                zip(names, statistics.target_means, statistics.target_stds, strict=True)
            ),
            "noise_models": [noise_model_file(name) for name in names]
            if trained.noise_models
            else [],
            "input_id": rdf.INPUT_ID,
            "torch_version": torch.__version__.split("+")[0],
            "version": exporter_version(),
            "test_image": self.image.origin,
        }

    def contents(self) -> list[str]:
        """Say in words what each output channel is."""
        width = "spread, not calibrated" if self.calibration is None else "calibrated std"
        names = self.trained.channel_names
        return [f"{name}, denoised" for name in names] + [f"{width} of {name}" for name in names]

    def calibration_lines(self) -> list[str]:
        """Say for each channel how the calibration did on validation."""
        calibrations, name = self.trained.calibrations, estimator_name("samples", self.n_samples)
        fitted = self.fitted
        if fitted is None or self.method not in fitted.scores:
            return []
        lines = []
        for index, channel in enumerate(self.trained.channel_names):
            scores = fitted.scores[self.method][index]
            verdict = (
                "better than a table of error against intensity"
                if calibrations.well_calibrated(name, self.method, index)
                else "**no better than a table of error against intensity**"
            )
            lines.append(
                f"{channel}: {scores.coverage_90 * 100:.0f} % of the validation pixels within the "
                f"90 % interval; {verdict}."
            )
        return lines


def exporter_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("careamics-denoisplit")
    except PackageNotFoundError:
        return "0+unknown"


def _checked_target(out: Path | str, overwrite: bool) -> Path:
    path = Path(out).absolute()
    if path.suffix.lower() != ".zip":
        raise ConfigurationError(f"A package is a .zip file, got {path.name}. Name it so.")
    require_absent(path, overwrite)
    require_writable(path.parent)
    return path


def _recipe(recipe: Recipe | Path | str | None, trained: TrainedModel) -> Recipe:
    if recipe is None:
        return default_recipe(trained.channel_names)
    return recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe))


def _require_settings(trained: TrainedModel, n_samples: int, seed: int) -> None:
    rdf.halo_of(trained.network.size_multiple)
    if n_samples < 2:
        raise ConfigurationError(
            f"A package needs 2 posterior samples or more, got {n_samples}: one has no spread."
        )
    if not 0 <= seed <= _LARGEST_SEED:
        raise ConfigurationError(f"The seed must lie in 0 ... {_LARGEST_SEED}, got {seed}.")


def _chosen_method(
    trained: TrainedModel, method: Method, n_samples: int
) -> Literal["scalar", "joint"]:
    """Return the method that was asked for, else the one that prediction applies."""
    calibrations, estimator = trained.calibrations, estimator_name("samples", n_samples)
    if method == "auto":
        return calibrations.applied(estimator) or "scalar"
    if method == "joint" and calibrations.get(estimator, method) is None:
        raise ConfigurationError(
            f"No joint calibration was fitted for {n_samples} samples (fitted: "
            f"{calibrations.words()}). Run `denoisplit calibrate RUN --method joint --samples "
            f"{n_samples}` first."
        )
    return method


def _npy(array: Float32[np.ndarray, "1 c y x"]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _json(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()
