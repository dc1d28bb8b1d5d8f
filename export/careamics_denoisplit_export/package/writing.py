"""Write one package from a trained model and a recipe, whole or not at all."""

import dataclasses
import hashlib
import io
import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from careamics_denoisplit.checkpoint import (
    CALIBRATION,
    DISTILLATION,
    STATISTICS,
    TrainedModel,
)
from careamics_denoisplit.data import InputRule, input_map
from careamics_denoisplit.errors import ConfigurationError, FaultError, NonFiniteError
from careamics_denoisplit.files import require_absent, require_writable, write_whole
from careamics_denoisplit.noise_model import noise_model_file
from careamics_denoisplit.prediction import NO_MONITORS, Monitors
from careamics_denoisplit_export import rdf
from careamics_denoisplit_export.architecture import architecture_source
from careamics_denoisplit_export.card import Card
from careamics_denoisplit_export.figures import estimator_in_words
from careamics_denoisplit_export.package.card_facts import card_facts
from careamics_denoisplit_export.package.cover import cover_png
from careamics_denoisplit_export.package.drift import (
    ABSOLUTE_TOLERANCE,
    RELATIVE_TOLERANCE,
    expected_drift,
)
from careamics_denoisplit_export.package.plan import Input, Plan
from careamics_denoisplit_export.package.sample_image import (
    SampleImage,
    made_up_images,
    sample_image,
)
from careamics_denoisplit_export.package.zipped import zip_bytes
from careamics_denoisplit_export.recipe import Recipe, default_recipe, load_recipe
from careamics_denoisplit_export.spread import PackagedSpread, SpreadKind, choose_spread
from careamics_denoisplit_export.weights import (
    STATE_DICT_FILE,
    TORCHSCRIPT_FILE,
    write_state_dict,
    write_torchscript,
)

Method = Literal["scalar", "joint", "auto"]

CONFIG_FILE = "config.json"
"""The whole configuration, as JSON: a package holds one YAML file only."""

N_SAMPLES = 8
SEED = 0

_OWN_FILES = (
    TORCHSCRIPT_FILE,
    STATE_DICT_FILE,
    rdf.ARCHITECTURE_FILE,
    rdf.TEST_INPUT_FILE,
    rdf.TEST_OUTPUT_FILE,
    rdf.COVER_FILE,
    rdf.README_FILE,
)
"""Files that have a field of their own in the description; the others are attachments."""

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
    spread : PackagedSpread
        Where the widths come from, and why.
    test_image : str
        Where the test image comes from.
    card : str
        The README inside.
    facts : mapping
        What the card names, in JSON types.
    """

    path: Path
    sha256: str
    output_channels: tuple[str, ...]
    calibrated: bool
    spread: PackagedSpread
    test_image: str
    card: str
    facts: Mapping[str, Any]


def export_package(
    trained: TrainedModel,
    recipe: Recipe | Path | str | None,
    out: Path | str,
    *,
    test_image: Any = None,
    spread: SpreadKind | None = None,
    n_samples: int = N_SAMPLES,
    method: Method = "auto",
    seed: int = SEED,
    input_rule: InputRule | None = None,
    camera_offset: float | None = None,
    warnings: bool = True,
    measured: Mapping[str, Any] | None = None,
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
    spread : {"distilled", "samples"} or None
        One pass with the head that `denoisplit distil` fitted, or posterior samples in the graph.
        None takes the former where the model holds a head that passed its tests. A head that
        failed them is never packaged: samples take its place, and the package says so.
    n_samples : int
        Posterior samples in the graph, at least 2; a calibration must exist for this number.
    method : {"scalar", "joint", "auto"}
        Calibration of the widths; `auto` takes the one that prediction applies, that of the last
        `calibrate`.
    seed : int
        Seed of the samples.
    input_rule : {"measured", "sum", "mean"}, optional
        How the user's images come about; by default as the training input did. The map from one
        to the other is built in.
    camera_offset : float, optional
        Gray value of a pixel without light, which that map may need; by default that of the
        recipe, else of the configuration.
    warnings : bool
        Whether the channels `consistency` and `input_range` are added. The former needs noise
        models and a known mixing rule.
    measured : mapping, optional
        Figures for the model card, as `measured_figures` collects them.
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
        If the recipe, a setting or the test image is wrong, or one pass is asked for and the
        model holds no head.
    NonFiniteError, FaultError, StorageError
        If the network returns NaN, the graph differs from prediction, or writing fails.
    """
    out = _checked_target(out, overwrite)
    recipe = _recipe(recipe, trained)
    rdf.halo_of(trained.network.size_multiple)
    taken = choose_spread(trained, spread, n_samples, seed)
    given = _input(trained, recipe, input_rule, camera_offset)
    source = recipe.test_image if test_image is None else test_image
    statistics = given.statistics(trained)
    image = sample_image(source, statistics)
    if "padded" in image.origin:
        logger.warning("Test image: %s.", image.origin)
    chosen = _chosen_method(trained, method, taken)
    monitors = Monitors.of(trained) if warnings else NO_MONITORS
    plan = Plan(trained, recipe, image, taken, chosen, given, monitors, measured or {})
    _require_valid_facts(plan)
    _warn_of_other_figures(plan)
    if source is None:
        plan = _clear_of_zero(plan, made_up_images(statistics))
    card = Card(plan.recipe, card_facts(plan), plan.measured)
    text = card.render()
    package = zip_bytes(_files(plan, text))
    write_whole(out, package)
    return Exported(
        path=out,
        sha256=hashlib.sha256(package).hexdigest(),
        output_channels=plan.output_channels,
        calibrated=plan.calibration is not None,
        spread=plan.spread,
        test_image=plan.image.origin,
        card=text,
        facts=card.facts,
    )


def _warn_of_other_figures(plan: Plan) -> None:
    """Say where the card would show figures of another estimator than the package's."""
    own = estimator_in_words(plan.spread.kind, plan.spread.n_samples)
    measured = plan.measured.get("evaluation", {}).get("words", own)
    if measured != own:
        option = plan.spread.option
        logger.warning(
            "The figures for the card are those of %s, the package gives %s: `denoisplit evaluate "
            "RUN %s ...` measures these.",
            measured,
            own,
            option,
        )


def _clear_of_zero(plan: Plan, images: Iterable[SampleImage]) -> Plan:
    """Take the first test image whose predictions other engines reproduce, else the best."""
    best, fewest = plan, math.inf
    for image in images:
        candidate = dataclasses.replace(plan, image=image)
        misses = expected_drift(candidate.estimate.mean).misses
        if misses < fewest:
            best, fewest = candidate, misses
        if misses == 0:
            break
    return best


def _files(plan: Plan, card: str) -> dict[str, bytes]:
    """Build the content of every file."""
    state, source = plan.state, architecture_source()
    traced = write_torchscript(source, plan.settings, state, plan.image.tensor)
    _require_prediction(plan, traced.output)
    channels = len(plan.trained.channel_names)
    files = {
        TORCHSCRIPT_FILE: traced.archive,
        STATE_DICT_FILE: write_state_dict(state),
        rdf.ARCHITECTURE_FILE: source.encode(),
        rdf.TEST_INPUT_FILE: _npy(plan.image.tensor),
        rdf.TEST_OUTPUT_FILE: _npy(traced.output),
        rdf.COVER_FILE: cover_png(
            plan.image.raw[plan.image.given], traced.output[0, :channels, *plan.image.given]
        ),
        rdf.README_FILE: card.encode(),
        **_attachments(plan),
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[rdf.RDF_FILE] = rdf.to_yaml(_described(plan, hashes))
    return files


def _require_valid_facts(plan: Plan) -> None:
    """Stop before the network runs where the facts make no valid package, whatever its files."""
    names = (*_OWN_FILES, *_attachments(plan))
    rdf.require_valid(_described(plan, dict.fromkeys(names, "0" * 64)))


def _described(plan: Plan, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Build the content of rdf.yaml for files of these hashes."""
    description = rdf.Description(
        output_channels=plan.output_channels,
        settings=plan.settings,
        size_multiple=plan.trained.network.size_multiple,
        sha256=hashes,
        attachments=tuple(sorted(hashes.keys() - set(_OWN_FILES))),
        facts=plan.facts(),
    )
    return rdf.describe(plan.recipe, description)


def _require_prediction(plan: Plan, output: Float32[np.ndarray, "1 n y x"]) -> None:
    """Stop where the graph's channels are not those of prediction."""
    if not np.isfinite(output).all():
        raise NonFiniteError(
            "The network returns NaN or infinite numbers for the test image. Use another "
            "test image, or train again."
        )
    raw, estimate = plan.input.as_in_training(plan.image.raw), plan.estimate
    spread = estimate.spread
    if spread is not None and plan.calibration is not None:
        spread = plan.calibration.std(estimate.mean, spread)
    warnings = plan.monitors.maps(raw, estimate.mean)
    expected = np.concatenate([estimate.mean, np.asarray(spread), warnings])
    excess = np.abs(output[0] - expected) - RELATIVE_TOLERANCE * np.abs(expected)
    if excess.max() > ABSOLUTE_TOLERANCE:
        worst = plan.output_channels[int(excess.max(axis=(1, 2)).argmax())]
        raise FaultError(
            f"The graph differs from prediction by up to {excess.max():.3g} in the channel {worst} "
            "of the test image. Nothing was written; please report this."
        )


def _attachments(plan: Plan) -> dict[str, bytes]:
    """Build the files with which the model can be used and trained again."""
    trained = plan.trained
    files = {
        CONFIG_FILE: _json(trained.config.to_plain()),
        STATISTICS: _json(trained.statistics.model_dump(mode="json")),
        CALIBRATION: _json(json.loads(trained.calibrations.to_json())),
    }
    if plan.spread.kind == "distilled" and trained.distillation is not None:
        files[DISTILLATION] = _json(trained.distillation.model_dump(mode="json"))
    for channel, model in zip(trained.channel_names, trained.noise_models, strict=False):
        content = io.BytesIO()
        np.savez(content, **model.to_arrays())  # type: ignore[arg-type]  # numpy types **kwds together with allow_pickle
        files[noise_model_file(channel)] = content.getvalue()
    return files


def _input(
    trained: TrainedModel, recipe: Recipe, rule: InputRule | None, camera_offset: float | None
) -> Input:
    """Find out how the user's images become the input of the training."""
    algorithm = trained.config.algorithm_config
    offsets, training = algorithm.channel_offsets, trained.statistics.mixing
    known = (
        camera_offset,
        recipe.camera_offset,
        None if offsets is None else float(np.mean(offsets)),
    )
    offset = next((value for value in known if value is not None), None)
    if offset is not None and not np.isfinite(offset):
        raise ConfigurationError(f"The camera offset must be a finite gray value, got {offset}.")
    if rule is None:
        # A sum that holds the offset once is what one exposure records.
        one_exposure = training == "sum" and offsets is not None
        return Input("measured" if one_exposure else training, offset)
    mapped = input_map(
        training,
        rule,
        len(trained.channel_names),
        offset,
        offset_counted_once=offsets is not None,
    )
    return Input(rule, offset, mapped)


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


def _chosen_method(
    trained: TrainedModel, method: Method, spread: PackagedSpread
) -> Literal["scalar", "joint"]:
    """Return the method that was asked for, else the one that prediction applies."""
    calibrations, estimator = trained.calibrations, spread.estimator
    if method == "auto":
        return calibrations.applied(estimator) or "scalar"
    if method == "joint" and calibrations.get(estimator, method) is None:
        raise ConfigurationError(
            f"No joint calibration was fitted for {estimator} (fitted: {calibrations.words()}). "
            f"Run `denoisplit calibrate RUN --method joint {spread.option}` first."
        )
    return method


def _npy(array: Float32[np.ndarray, "1 c y x"]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _json(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()
