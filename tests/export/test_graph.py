"""The graph inside a package: the function of `predict`, at every size, without randomness."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import SAME_INPUT, InputMap
from careamics_denoisplit.prediction import (
    NO_MONITORS,
    Monitors,
    predict_image,
    warning_maps,
    whole_image,
)
from careamics_denoisplit_export.architecture import architecture_source, load_architecture
from careamics_denoisplit_export.graph import ExportGraph, build_graph
from careamics_denoisplit_export.spread import PackagedSpread
from careamics_denoisplit_export.weights import (
    Calibration,
    graph_settings,
    graph_state,
    write_torchscript,
)

SIZES = [(448, 448), (576, 576), (512, 768)]
OUTSIDE_THE_GRID = [(1, 1), (17, 203), (63, 64)]
SAMPLED = PackagedSpread("samples", 8)


def build(
    trained: TrainedModel,
    calibration: Calibration | None = None,
    seed: int = 0,
    n_samples: int = 8,
    monitors: Monitors = NO_MONITORS,
    mapped: InputMap = SAME_INPUT,
) -> ExportGraph:
    spread = PackagedSpread("samples", n_samples, seed)
    graph = build_graph(**graph_settings(trained, calibration, spread, monitors))
    graph.load_state_dict(graph_state(trained, calibration, spread, monitors, mapped))
    return graph


def run(graph: Any, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = graph(torch.from_numpy(image)[None, None])[0].numpy()
    return result


def require_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """The bound that the strictest consumer asks for, at every pixel."""
    assert actual.shape == expected.shape
    assert (np.abs(actual - expected) <= 1.5e-4 + 1e-4 * np.abs(expected)).all()


@pytest.fixture(scope="module")
def script(trained: TrainedModel, mixture: np.ndarray) -> Any:
    """The graph as TorchScript, read back from the bytes of its file."""
    monitors = Monitors.of(trained)
    settings = graph_settings(trained, None, SAMPLED, monitors)
    state = graph_state(trained, None, SAMPLED, monitors)
    traced = write_torchscript(architecture_source(), settings, state, mixture[None, None])
    return torch.jit.load(io.BytesIO(traced.archive))


@pytest.mark.parametrize("size", [(64, 64), *OUTSIDE_THE_GRID])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_graph_is_the_function_of_predict(
    trained: TrainedModel, make_image: Callable[..., np.ndarray], size: tuple[int, int], seed: int
) -> None:
    image = make_image(size)
    tiling = whole_image(size, trained.network.size_multiple)
    expected = predict_image(trained, image, n_samples=8, seed=seed, tiling=tiling)
    assert expected.spread is not None

    actual = run(build(trained, seed=seed), image)

    require_close(actual, np.concatenate([expected.mean, expected.spread]))


@pytest.mark.parametrize("size", [(96, 128), (17, 203)])
def test_the_warnings_of_the_graph_are_those_of_predict(
    trained: TrainedModel, make_image: Callable[..., np.ndarray], size: tuple[int, int]
) -> None:
    image = 2 * make_image(size) + 300
    estimate = predict_image(trained, image, n_samples=8)
    expected = warning_maps(trained, image, estimate.mean)
    assert expected.consistency is not None
    assert np.abs(expected.input_range).max() > 0.1  # there is something to warn of

    actual = run(build(trained, monitors=Monitors.of(trained)), image)

    require_close(actual[4:], np.stack([expected.consistency, expected.input_range]))
    require_close(actual[:4], run(build(trained), image))


def test_the_map_from_image_to_training_input_is_in_the_graph(
    trained: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    image, monitors = make_image((64, 96)), Monitors.of(trained)
    in_one_exposure = 2 * image - 100

    mapped = build(trained, monitors=monitors, mapped=InputMap(0.5, 50.0))

    expected = run(build(trained, monitors=monitors), image)
    require_close(run(mapped, in_one_exposure), expected)


@pytest.mark.parametrize("method", ["scalar", "joint"])
def test_the_calibration_in_the_graph_is_that_of_the_run(
    calibrated: TrainedModel, make_image: Callable[..., np.ndarray], method: str
) -> None:
    image = make_image((96, 128))
    estimate = predict_image(calibrated, image, n_samples=8)
    assert estimate.spread is not None
    estimator = estimator_name("samples", 8)
    expected = calibrated.calibrations.std(estimate.mean, estimate.spread, estimator, method)
    assert expected is not None
    assert np.abs(expected - estimate.spread).max() > 1  # the calibration does something

    graph = build(calibrated, calibrated.calibrations.get(estimator, method))

    require_close(run(graph, image)[2:], expected.astype(np.float32))


@pytest.mark.parametrize(
    "network",
    [
        {"algorithm": "altered_musplit"},
        {"prior_size": (64, 64)},
        {"stem_stride": 1, "blocks_per_level": 2},
        {"latent_channels": (3, 4, 5), "exponential": "plain"},
        {"analytic_kl": True, "dropout": 0.0},
    ],
    ids=str,
)
def test_every_kind_of_network_can_be_packaged(
    make_trained: Callable[..., TrainedModel],
    make_image: Callable[..., np.ndarray],
    network: dict[str, Any],
) -> None:
    trained = make_trained(**network)
    image = make_image((64, 96))
    expected = predict_image(trained, image, n_samples=4)
    assert expected.spread is not None

    actual = run(build(trained, n_samples=4), image)

    require_close(actual, np.concatenate([expected.mean, expected.spread]))


@pytest.mark.parametrize("size", [*SIZES, *OUTSIDE_THE_GRID], ids=str)
def test_the_trace_runs_at_other_sizes_as_the_network_does(
    trained: TrainedModel,
    script: Any,
    make_image: Callable[..., np.ndarray],
    size: tuple[int, int],
) -> None:
    image = make_image(size)

    eager = build(trained, monitors=Monitors.of(trained))
    actual, expected = run(script, image), run(eager, image)

    assert actual.shape == (6, *size)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-4)


def test_the_same_image_gives_the_same_bits(script: Any, mixture: np.ndarray) -> None:
    torch.manual_seed(1)
    first = run(script, mixture)
    torch.manual_seed(2)

    assert (run(script, mixture) == first).all()


def test_another_seed_gives_another_result(
    trained: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    image = make_image((64, 64))

    assert not np.array_equal(run(build(trained, seed=1), image), run(build(trained), image))


def test_the_trace_holds_no_random_operator_and_no_device(script: Any) -> None:
    operators = torch.jit.export_opnames(script)
    random = [name for name in operators if re.search("rand|drop|bernoulli|normal", name)]

    assert "aten::_convolution" in operators
    assert random == []
    assert "device" not in script.code


def test_the_one_file_source_builds_the_same_network(
    trained: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    image = make_image((72, 80))
    module = load_architecture(architecture_source(), "denoisplit_architecture_under_test")

    graph = module.build_graph(**graph_settings(trained, None, SAMPLED))
    graph.load_state_dict(graph_state(trained, None, SAMPLED))

    assert (run(graph, image) == run(build(trained), image)).all()


def test_the_one_file_source_is_written_the_same_every_time() -> None:
    source = architecture_source()

    assert source == architecture_source()
    assert "jaxtyping" not in source
    assert "careamics_denoisplit" not in source.split('"""', 2)[2]
    assert "class TorchNoise" not in source  # what the graph does not reach is left out


def test_dropout_leaves_the_packaged_network_but_not_the_trained_one(
    trained: TrainedModel,
) -> None:
    def drops(module: torch.nn.Module) -> int:
        return sum(isinstance(part, torch.nn.Dropout2d) for part in module.modules())

    assert drops(build(trained)) == 0
    assert drops(trained.network) > 0
