"""Packages whose uncertainty comes from one pass: the numbers of `predict --spread distilled`."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.errors import ConfigurationError, PackageError
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit.packages import load_package
from careamics_denoisplit.prediction import Monitors, predict_image, warning_maps
from careamics_denoisplit_export import Recipe, check_package, export_package
from careamics_denoisplit_export.architecture import architecture_source, load_architecture
from careamics_denoisplit_export.graph import ExportGraph, build_graph
from careamics_denoisplit_export.package import read_zip, writing, zip_bytes
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.rules.archive import ALLOWED_OPERATORS, read_script
from careamics_denoisplit_export.spread import PackagedSpread, choose_spread
from careamics_denoisplit_export.weights import (
    Traced,
    graph_settings,
    graph_state,
    write_torchscript,
)

ONE_PASS = PackagedSpread("distilled")


def build(trained: TrainedModel, method: str = "none") -> ExportGraph:
    calibration = trained.calibrations.get("distilled", method)
    graph = build_graph(**graph_settings(trained, calibration, ONE_PASS))
    graph.load_state_dict(graph_state(trained, calibration, ONE_PASS))
    return graph


def output_of(graph: Any, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = graph(torch.from_numpy(image)[None, None])[0].numpy()
    return result


def require_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """The bound that the strictest consumer asks for, at every pixel."""
    assert actual.shape == expected.shape
    assert (np.abs(actual - expected) <= 1.5e-4 + 1e-4 * np.abs(expected)).all()


def expected_of(trained: TrainedModel, image: np.ndarray) -> np.ndarray:
    estimate = predict_image(trained, image, spread="distilled")
    assert estimate.spread is not None
    return np.concatenate([estimate.mean, estimate.spread])


# The graph.


@pytest.mark.parametrize("size", [(64, 96), (17, 203), (1, 1)])
def test_the_graph_is_the_one_pass_of_predict(
    distilled: TrainedModel, make_image: Callable[..., np.ndarray], size: tuple[int, int]
) -> None:
    image = make_image(size)

    require_close(output_of(build(distilled), image), expected_of(distilled, image))


@pytest.mark.parametrize(
    "network",
    [{"algorithm": "altered_musplit"}, {"stem_stride": 1}, {"latent_channels": (3, 4, 5)}],
    ids=str,
)
def test_every_kind_of_network_can_have_a_one_pass_spread(
    make_trained: Callable[..., TrainedModel],
    give_head: Callable[..., TrainedModel],
    make_image: Callable[..., np.ndarray],
    network: dict[str, Any],
) -> None:
    trained, image = give_head(make_trained(**network)), make_image((64, 96))

    require_close(output_of(build(trained), image), expected_of(trained, image))


@pytest.mark.parametrize("method", ["scalar", "joint"])
def test_the_std_channel_carries_the_calibration_of_the_one_pass(
    distilled: TrainedModel, make_image: Callable[..., np.ndarray], method: str
) -> None:
    image = make_image((96, 128))
    estimate = predict_image(distilled, image, spread="distilled")
    assert estimate.spread is not None
    std = distilled.calibrations.std(estimate.mean, estimate.spread, "distilled", method)
    assert std is not None
    assert np.abs(std - estimate.spread).max() > 1  # the calibration does something

    require_close(output_of(build(distilled, method), image)[2:], std.astype(np.float32))


def test_the_trace_of_one_pass_is_small_tested_and_runs_at_other_sizes(
    distilled: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    settings = graph_settings(distilled, None, ONE_PASS)
    state = graph_state(distilled, None, ONE_PASS)
    image = make_image((64, 64))
    traced = write_torchscript(architecture_source(), settings, state, image[None, None])
    script = torch.jit.load(io.BytesIO(traced.archive))
    text = read_script(io.BytesIO(traced.archive))

    assert text.refused == ()
    assert text.operators <= ALLOWED_OPERATORS
    assert "cos" not in text.operators  # no noise is drawn
    assert "device" not in script.code
    assert not {"n_samples", "seed"} & set(settings)
    for size in ((96, 160), (17, 203)):
        other = make_image(size)
        actual, eager = output_of(script, other), output_of(build(distilled), other)
        np.testing.assert_allclose(actual, eager, rtol=1e-6, atol=1e-4)


def test_the_one_file_source_builds_the_head(
    distilled: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    source = architecture_source()
    module = load_architecture(source, "denoisplit_architecture_with_head")
    image = make_image((72, 80))

    graph = module.build_graph(**graph_settings(distilled, None, ONE_PASS))
    graph.load_state_dict(graph_state(distilled, None, ONE_PASS))

    assert (output_of(graph, image) == output_of(build(distilled), image)).all()


# The choice.


def test_a_head_that_passed_its_gates_is_taken(distilled: TrainedModel) -> None:
    taken = choose_spread(distilled, None, 8, 0)

    assert taken == PackagedSpread("distilled")
    assert taken.estimator == "distilled"
    assert choose_spread(distilled, "distilled", 8, 0) == taken
    assert choose_spread(distilled, "samples", 4, 3) == PackagedSpread("samples", 4, 3)


@pytest.mark.parametrize("asked", [None, "distilled"])
def test_a_head_that_failed_its_gates_is_never_taken(
    calibrated: TrainedModel, give_head: Callable[..., TrainedModel], asked: Any
) -> None:
    failed = give_head(calibrated, "failed")

    taken = choose_spread(failed, asked, 8, 0)

    assert (taken.kind, taken.n_samples) == ("samples", 8)
    assert "ratio of mean squares" in taken.reason
    assert taken.reason.endswith("so every tile takes 8 posterior samples.")


def test_a_head_that_was_never_judged_is_not_taken(distilled: TrainedModel) -> None:
    assert distilled.distillation is not None
    unknown = distilled.distillation.model_copy(update={"gates": ()})

    taken = choose_spread(replace(distilled, distillation=unknown), None, 8, 0)

    assert taken.kind == "samples"
    assert "not compared" in taken.reason


def test_a_model_without_a_head_takes_samples_and_names_the_command(
    calibrated: TrainedModel,
) -> None:
    assert "denoisplit distil RUN" in choose_spread(calibrated, None, 8, 0).reason
    assert choose_spread(calibrated, "samples", 8, 0).reason == ""
    with pytest.raises(ConfigurationError, match="denoisplit distil RUN"):
        choose_spread(calibrated, "distilled", 8, 0)
    with pytest.raises(ConfigurationError, match="distilled"):
        choose_spread(calibrated, "none", 8, 0)  # type: ignore[arg-type]  # what is refused


# The package.


@pytest.fixture(scope="module")
def one_pass(
    distilled: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A package of the one-pass spread."""
    path = tmp_path_factory.mktemp("one_pass") / "one.zip"
    export_package(distilled, recipe, path, test_image=mixture, method="scalar")
    return path


def test_a_package_of_one_pass_passes_every_rule(one_pass: Path) -> None:
    report = check_package(one_pass)

    assert [f"{each.id}: {each.message}" for each in report.failed] == []
    files = read_zip(one_pass)
    facts = load_yaml(files["rdf.yaml"].decode())["config"]["careamics_denoisplit"]
    assert (facts["spread"], facts["n_samples"], facts["method"]) == ("distilled", 0, "scalar")
    assert "spread_reason" not in facts
    assert b"one pass" in files["README.md"]
    assert "distillation.json" in files


def test_a_package_of_one_pass_opens_as_the_model(
    one_pass: Path, distilled: TrainedModel, tmp_path: Path
) -> None:
    files = read_zip(one_pass)
    raw = np.load(io.BytesIO(files["test_input.npy"]))[0, 0]
    expected = np.load(io.BytesIO(files["test_output.npy"]))[0]
    trained = load_package(one_pass).trained
    assert trained.distillation == distilled.distillation

    estimate = predict_image(trained, raw, spread="distilled")
    assert estimate.spread is not None
    std = trained.calibrations.std(estimate.mean, estimate.spread, "distilled", "scalar")
    maps = warning_maps(trained, raw, estimate.mean)
    assert std is not None
    assert maps.consistency is not None
    found = np.concatenate([estimate.mean, std, maps.consistency[None], maps.input_range[None]])
    require_close(found.astype(np.float32), expected)

    opened = DenoiSplitCAREamist(bmz_path=one_pass, work_dir=tmp_path, enable_progress_bar=False)
    prediction = opened.predict(raw[:64, :96], spread="distilled", method="scalar")
    again = predict_image(distilled, raw[:64, :96], spread="distilled")
    assert prediction.calibrated
    assert np.array_equal(prediction.mean.values, again.mean)


def test_predict_takes_the_one_pass_of_a_package(
    one_pass: Path,
    distilled: TrainedModel,
    make_image: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    model = save_model(tmp_path / "run" / "model", distilled)
    tifffile.imwrite(tmp_path / "field.tif", make_image((64, 96)))
    found = []
    for name, source in {"package": one_pass, "run": model}.items():
        out = tmp_path / name
        code = run(["predict", str(source), str(tmp_path / "field.tif"), "--out", str(out),
                    "--spread", "distilled"])  # fmt: skip
        assert code == 0
        found.append(tifffile.imread(out / "field_std.ome.tif"))

    assert np.array_equal(*found)


@pytest.mark.parametrize("lost", ["tensor", "record", "other weights"])
def test_g8_a_package_whose_head_does_not_fit_is_refused(
    one_pass: Path, tmp_path: Path, lost: str
) -> None:
    files = dict(read_zip(one_pass))
    content = load_yaml(files["rdf.yaml"].decode())
    if lost == "tensor":
        state = torch.load(io.BytesIO(files["weights_state_dict.pth"]), weights_only=True)
        del state["spread_head.look.weight"]
        saved = io.BytesIO()
        torch.save(state, saved)
        put(files, content, "weights_state_dict.pth", saved.getvalue())
    elif lost == "record":
        del files["distillation.json"]
    else:
        record = json.loads(files["distillation.json"])
        put(files, content, "distillation.json",
            json.dumps({**record, "weights_sha256": "0" * 64}).encode())  # fmt: skip
    path = tmp_path / "changed.zip"
    path.write_bytes(zip_bytes(files))

    with pytest.raises(PackageError, match=r"look\.weight|distillation\.json"):
        load_package(path)


def put(files: dict[str, bytes], content: dict[str, Any], name: str, data: bytes) -> None:
    """Change a file and its hash in rdf.yaml."""
    entries = [*content["attachments"], content["weights"]["pytorch_state_dict"]]
    for entry in entries:
        if entry["source"] == name:
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    files[name] = data
    files["rdf.yaml"] = to_yaml(content)


@pytest.mark.usefixtures("without_tracing")
def test_a_package_whose_gates_failed_takes_samples_and_says_so_everywhere(
    calibrated: TrainedModel,
    give_head: Callable[..., TrainedModel],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = save_model(tmp_path / "run" / "model", give_head(calibrated, "failed"))
    out, told = tmp_path / "p.zip", tmp_path / "told.json"

    assert run(["export", str(model), "--out", str(out), "--json", str(told)]) == 0

    files = read_zip(out)
    facts = load_yaml(files["rdf.yaml"].decode())["config"]["careamics_denoisplit"]
    result = json.loads(told.read_text())
    sentence = facts["spread_reason"]
    assert "ratio of mean squares" in sentence
    assert sentence in capsys.readouterr().out
    assert sentence in " ".join(files["README.md"].decode().split())
    assert (facts["spread"], result["spread"]) == ("samples", "samples")
    assert result["spread_reason"] == sentence
    state = torch.load(io.BytesIO(files["weights_state_dict.pth"]), weights_only=True)
    assert not [name for name in state if name.startswith("spread_head.")]


def test_a_one_pass_that_differs_from_prediction_is_not_packaged(
    distilled: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_tracing: Callable[..., Traced],
) -> None:
    def off(*job: Any) -> Traced:
        traced = without_tracing(*job)
        traced.output[0, 2, 5, 5] *= 1.01
        return traced

    monkeypatch.setattr(writing, "write_torchscript", off)

    with pytest.raises(Exception, match="differs from prediction") as caught:
        export_package(distilled, recipe, tmp_path / "a.zip", test_image=mixture)
    assert "er_std" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_computed_from_the_mean_of_one_pass(
    distilled: TrainedModel, make_image: Callable[..., np.ndarray]
) -> None:
    monitors, image = Monitors.of(distilled), make_image((64, 96))
    graph = build_graph(**graph_settings(distilled, None, ONE_PASS, monitors))
    graph.load_state_dict(graph_state(distilled, None, ONE_PASS, monitors))
    mean = predict_image(distilled, image, spread="distilled").mean

    require_close(output_of(graph, image)[4:], monitors.maps(image, mean))
