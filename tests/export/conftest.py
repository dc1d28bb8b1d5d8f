"""One tiny trained model and one package of it, built once for all tests of the exporter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from careamics_denoisplit.calibration import (
    CalibrationSet,
    EstimatorCalibration,
    FittedOn,
    PixelSample,
    estimator_name,
    fit_estimator,
)
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import AlgorithmName, create_advanced_denoisplit_config
from careamics_denoisplit.data import LocalLevels, Statistics
from careamics_denoisplit.distillation import Distillation, Gate, weights_digest
from careamics_denoisplit.network import LadderVAE, TorchNoise, head_for
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.prediction import Estimate, predict_image
from careamics_denoisplit_export import (
    Exported,
    Recipe,
    Report,
    check_package,
    export_package,
)
from careamics_denoisplit_export.graph import build_graph
from careamics_denoisplit_export.package import read_zip, writing, zip_bytes
from careamics_denoisplit_export.weights import Traced

CHANNELS = ("er", "actin")
N_SAMPLES = 8


@dataclass(frozen=True)
class Package:
    """A package on disk and the files inside."""

    path: Path
    files: Mapping[str, bytes]
    exported: Exported


def blobs(shape: tuple[int, int], seed: int = 3) -> np.ndarray:
    """Smooth bright spots on a camera offset with shot-like noise, gray values."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 400.0)
    for _ in range(60):
        cy, cx = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        image += 900 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 60)
    return (image + np.sqrt(image) * random.standard_normal(shape)).astype(np.float32)


def percentiles(low: float, high: float) -> dict[str, float]:
    """Evenly spaced values under the names of percentiles."""
    keys = ("0.1", "1", "5", "50", "95", "99", "99.9")
    return dict(zip(keys, np.linspace(low, high, len(keys)).tolist(), strict=True))


def untrained(algorithm: AlgorithmName = "denoisplit", **network: Any) -> TrainedModel:
    """A network with random weights whose batch statistics fit its statistics, and noise models."""
    settings = {"filters": 8, "latent_channels": (4, 4), "stem_stride": 2} | network
    config = create_advanced_denoisplit_config(
        "tiny", CHANNELS, patch_size=64, algorithm=algorithm, model_params=settings
    )
    torch.manual_seed(0)
    model = LadderVAE(**config.algorithm_config.model.model_dump())
    _warm_up(model)
    statistics = Statistics(
        input_mean=520.0,
        input_std=210.0,
        target_means=(510.0, 530.0),
        target_stds=(190.0, 230.0),
        channel_names=CHANNELS,
        mixing="mean",
        input_percentiles={
            "0.1": 330.0,
            "1": 350.0,
            "5": 370.0,
            "50": 430.0,
            "95": 1010.0,
            "99": 1300.0,
            "99.9": 1500.0,
        },
        local_levels=LocalLevels(
            intensity=percentiles(350.0, 1100.0), noise=percentiles(15.0, 40.0), std=205.0
        ),
        n_pixels=100_000,
    )
    noise_models = tuple(
        GaussianMixtureNoiseModel(
            torch.tensor([[0.0, 0.0], [5.0, 3.0], [0.0, 0.0]]),
            300.0,
            1500.0,
            1.0,
            info=NoiseModelInfo(channel=name, verdict="pass"),
        )
        for name in CHANNELS
    )
    needed = noise_models if config.algorithm_config.needs_noise_models else ()
    return TrainedModel(model.eval(), config, statistics, needed)


def _warm_up(model: LadderVAE) -> None:
    """Let the batch statistics settle, so that features stay of the order of one."""
    generator = torch.Generator().manual_seed(1)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(4, 1, 64, 64, generator=generator), TorchNoise(generator), False)


@pytest.fixture(scope="session")
def make_trained() -> Callable[..., TrainedModel]:
    return untrained


@pytest.fixture(scope="session")
def trained() -> TrainedModel:
    return untrained()


@pytest.fixture(scope="session")
def make_image() -> Callable[..., np.ndarray]:
    return blobs


@pytest.fixture(scope="session")
def mixture() -> np.ndarray:
    return blobs((512, 512))


@pytest.fixture(scope="session")
def calibrated(trained: TrainedModel) -> TrainedModel:
    """The same model with scalar and joint calibrations of the estimator that packages use."""
    image = blobs((128, 128), seed=5)
    estimate = predict_image(trained, image, n_samples=N_SAMPLES)
    fitted = CalibrationSet(channel_names=CHANNELS).with_estimator(
        estimator_name("samples", N_SAMPLES), fitted_to(estimate, seed=0)
    )
    return replace(trained, calibrations=fitted)


def with_head(
    trained: TrainedModel, status: Literal["passed", "failed"] = "passed"
) -> TrainedModel:
    """The same model with a spread head of random weights, and gates that it passed or failed."""
    network = trained.network
    head = head_for(network, width=8)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        head.out.weight.normal_(0, 0.05, generator=generator)
        head.start_from(torch.full((network.output_channels,), -2.0))
    gate = Gate(name="mean_square_ratio", title="ratio of mean squares", limit="0.9-1.1",
                status=status)  # fmt: skip
    record = Distillation(
        channel_names=trained.channel_names,
        width=8,
        weights_sha256=weights_digest(network),
        reference_samples=200,
        gates=(gate,),
    )
    return replace(trained, spread_head=head.eval(), distillation=record)


@pytest.fixture(scope="session")
def give_head() -> Callable[..., TrainedModel]:
    return with_head


@pytest.fixture(scope="session")
def distilled(calibrated: TrainedModel) -> TrainedModel:
    """The calibrated model with a head that passed its gates, and calibrations for it, too."""
    model = with_head(calibrated)
    image = blobs((128, 128), seed=5)
    estimate = predict_image(model, image, spread="distilled")
    fitted = fitted_to(estimate, seed=1)
    known = calibrated.calibrations
    return replace(model, calibrations=known.with_estimator("distilled", fitted))


def fitted_to(estimate: Estimate, seed: int) -> EstimatorCalibration:
    """Calibrations to errors of 2.5 times the spread."""
    assert estimate.spread is not None
    random = np.random.default_rng(seed)
    error = 2.5 * estimate.spread * random.standard_normal(estimate.mean.shape)
    pixels = PixelSample.draw(estimate.mean, estimate.spread, estimate.mean + error, 4000, random)
    return fit_estimator(pixels, fitted_on=FittedOn(images=("validation",)))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe(
        name="Tiny test model",
        description="Splits er and actin, untrained.",
        validation="None: the weights are random.",
    )


@pytest.fixture(scope="session")
def package(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> Package:
    """A good package, calibrated by the scalar factor."""
    path = tmp_path_factory.mktemp("package") / "tiny.zip"
    exported = export_package(calibrated, recipe, path, test_image=mixture, method="scalar")
    return Package(path, read_zip(path), exported)


@pytest.fixture(scope="session")
def report(package: Package) -> Report:
    """What a whole check of the good package says, weights run and all."""
    return check_package(package.path)


@pytest.fixture
def without_tracing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Traced]:
    """Packages hold no trace, where it is not under test, but what the graph computes."""

    def compute(
        _source: str, settings: dict[str, Any], state: dict[str, torch.Tensor], raw: np.ndarray
    ) -> Traced:
        graph = build_graph(**settings)
        graph.load_state_dict(state)
        with torch.no_grad():
            return Traced(b"weights", graph(torch.from_numpy(raw)).numpy())

    monkeypatch.setattr(writing, "write_torchscript", compute)
    return compute


@pytest.fixture
def repack(package: Package, tmp_path: Path) -> Callable[[Mapping[str, bytes | None]], Path]:
    """Write a copy of the good package in which files are changed, added or (None) left out."""

    def build(changes: Mapping[str, bytes | None]) -> Path:
        files = {**package.files, **changes}
        path = tmp_path / "changed.zip"
        path.write_bytes(zip_bytes({k: v for k, v in files.items() if v is not None}))
        return path

    return build
