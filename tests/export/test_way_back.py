"""A package opened as a model: the same numbers, and nothing of a stranger's is executed."""

import copy
import hashlib
import io
import json
import socket
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import (
    InputError,
    NoiseModelError,
    OutputExistsError,
    PackageError,
)
from careamics_denoisplit.files import guarded_zip, load_yaml
from careamics_denoisplit.packages import is_package, load_package
from careamics_denoisplit.prediction import predict_image, warning_maps
from careamics_denoisplit_export.rdf import to_yaml

Content = dict[str, Any]
Repack = Callable[[Mapping[str, bytes | None]], Path]


@pytest.fixture
def rewritten(package: Any, repack: Repack) -> Callable[..., Path]:
    """Write the package with other files, and an rdf.yaml whose hashes fit them."""

    def build(change: Callable[[Content], None] = lambda _: None, **files: bytes) -> Path:
        named = {name.replace("__", "."): data for name, data in files.items()}
        content: Content = copy.deepcopy(load_yaml(package.files["rdf.yaml"].decode()))
        entries = [*content["attachments"], content["weights"]["pytorch_state_dict"]]
        for entry in entries:
            if entry["source"] in named:
                entry["sha256"] = hashlib.sha256(named[entry["source"]]).hexdigest()
        change(content)
        return repack({**named, "rdf.yaml": to_yaml(content)})

    return build


def test_a_package_holds_the_whole_model(package: Any, calibrated: TrainedModel) -> None:
    found = load_package(package.path)

    assert found.trained.config == calibrated.config
    assert found.as_trained.statistics == calibrated.statistics
    assert found.trained.calibrations == calibrated.calibrations
    assert [model.info for model in found.trained.noise_models] == [
        model.info for model in calibrated.noise_models
    ]
    assert found.trained.source == package.path
    expected = calibrated.network.state_dict()
    for name, tensor in found.trained.network.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_what_is_opened_predicts_the_numbers_of_the_package(package: Any) -> None:
    trained = load_package(package.path).trained
    raw = np.load(io.BytesIO(package.files["test_input.npy"]))[0, 0]
    expected = np.load(io.BytesIO(package.files["test_output.npy"]))[0]

    estimate = predict_image(trained, raw, n_samples=8)
    assert estimate.spread is not None
    std = trained.calibrations.std(estimate.mean, estimate.spread, "samples-8", "scalar")
    warnings = warning_maps(trained, raw, estimate.mean)
    assert std is not None
    assert warnings.consistency is not None
    found = np.concatenate(
        [estimate.mean, std, warnings.consistency[None], warnings.input_range[None]]
    )

    assert (np.abs(found - expected) <= 1.5e-4 + 1e-4 * np.abs(expected)).all()


def test_the_front_end_opens_packages(
    package: Any, calibrated: TrainedModel, make_image: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    image = make_image((64, 96))

    careamist = DenoiSplitCAREamist(
        bmz_path=package.path, work_dir=tmp_path, enable_progress_bar=False
    )

    found = careamist.predict(image, n_samples=2)
    expected = predict_image(calibrated, image, n_samples=2)
    assert np.array_equal(found.mean.values, expected.mean)
    assert careamist.config == calibrated.config
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_fine_tuned(
    rewritten: Callable[..., Path],
    calibrated: TrainedModel,
    make_image: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    def expect_sums(content: Content) -> None:
        content["config"]["careamics_denoisplit"]["input"] = {"rule": "sum", "gain": 0.5}

    mapped = rewritten(expect_sums)
    careamist = DenoiSplitCAREamist(
        bmz_path=mapped, work_dir=tmp_path / "run", enable_progress_bar=False
    )
    training = careamist.config.training_config
    training.trainer_params = {**training.trainer_params, "max_epochs": 1, "limit_train_batches": 1}
    noisy, val = (
        {name: make_image((96, 96), seed=10 * part + k) for k, name in enumerate(("er", "actin"))}
        for part in (1, 2)
    )

    careamist.train(train_data_target=noisy, val_data_target=val, device="cpu")

    tuned = careamist.trained
    assert tuned is not None
    assert tuned.statistics.input_mean == calibrated.statistics.input_mean  # not those of the map
    assert torch.equal(tuned.noise_models[0].weight, calibrated.noise_models[0].weight)
    moved = [
        (tensor - calibrated.network.state_dict()[name]).abs().max()
        for name, tensor in tuned.network.named_parameters()
    ]
    assert 0 < max(moved) < 0.05
    origin = tuned.config.training_config.origin
    assert origin is not None
    assert origin.name == mapped.name
    with pytest.raises(OutputExistsError, match="holds a run"):
        careamist.train(train_data_target=noisy, val_data_target=val)


def test_only_a_file_that_ends_in_zip_is_a_package(package: Any, tmp_path: Path) -> None:
    assert is_package(package.path)
    assert not is_package(tmp_path)
    assert not is_package(tmp_path / "absent.zip")


def test_a_package_of_others_is_no_model(rewritten: Callable[..., Path]) -> None:
    with pytest.raises(PackageError, match="not written by this project"):
        load_package(rewritten(lambda content: content.pop("config")))


@pytest.mark.parametrize(
    "name", ["config.json", "statistics.json", "calibration.json", "noise_model_er.npz"]
)
def test_g8_a_missing_or_changed_part_is_named(package: Any, repack: Repack, name: str) -> None:
    for data in (None, package.files[name] + b" "):
        with pytest.raises(PackageError, match=name):
            load_package(repack({name: data}))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config__json", b"[]"),
        ("config__json", b'{"a": 1, "a": 2}'),
        ("config__json", b'{"unknown": 1}'),
        ("config__json", b"[" * 100_000),
        ("statistics__json", b'{"input_mean": NaN}'),
        ("statistics__json", b"{}"),
        ("calibration__json", b'{"format_version": 99}'),
        ("noise_model_er__npz", b"no npz"),
        ("weights_state_dict__pth", b"no zip"),
    ],
)
def test_g8_a_part_of_another_form_is_an_error_of_ours(
    rewritten: Callable[..., Path], name: str, data: bytes
) -> None:
    with pytest.raises(InputError, match=name.replace("__", ".").split(".")[0] + "|unknown|npz"):
        load_package(rewritten(**{name: data}))


def saved(state: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(state), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network.head.weight": None}, "no tensor head.weight"),
        ({"network.head.weight": torch.zeros(1)}, r"head\.weight has shape \(1,\)"),
        ({"network.extra": torch.zeros(1)}, "tensor extra"),
        ({"network.head.bias": torch.full((2,), float("nan"))}, "NaN"),
        ({"input_mean": torch.zeros(1)}, "input_mean is not that of"),
        ({"list": [1, 2]}, "no plain dict of tensors"),
    ],
)
def test_g8_tensors_that_do_not_fit_are_named(
    package: Any, rewritten: Callable[..., Path], change: dict[str, Any], message: str
) -> None:
    data = io.BytesIO(package.files["weights_state_dict.pth"])
    state = {**torch.load(data, weights_only=True), **change}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}

    with pytest.raises(PackageError, match=message):
        load_package(rewritten(weights_state_dict__pth=saved(kept)))


@pytest.mark.parametrize("forced", [False, True])
def test_g1_weights_with_code_are_not_executed(
    rewritten: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forced: bool,
) -> None:
    marker = tmp_path / "executed"
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    with pytest.raises(PackageError, match="only weights are read"):
        load_package(rewritten(weights_state_dict__pth=saved({"weight": Payload()})))
    assert not marker.exists()


def test_g3_a_bomb_inside_the_weights_is_refused(rewritten: Callable[..., Path]) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data.pkl", bytes(50 * 2**20))

    with pytest.raises(PackageError, match="trap"):
        load_package(rewritten(weights_state_dict__pth=file.getvalue()))


def test_g2_a_package_with_folders_is_refused(repack: Repack) -> None:
    with pytest.raises(PackageError, match="without folders"):
        load_package(repack({"folder/x": b""}))


@pytest.mark.parametrize(
    "text",
    [
        b"config: !!python/object/apply:os.system ['true']\n",
        b"a: &a [1]\nb: [*a, *a]\n",
        b"a: " + b"[" * 5000,
        b"#" + b"x" * 2**20,
    ],
    ids=["tag", "alias", "depth", "size"],
)
def test_g4_a_hostile_yaml_is_refused(repack: Repack, text: bytes) -> None:
    with pytest.raises(PackageError, match=r"rdf\.yaml"):
        load_package(repack({"rdf.yaml": text}))


def test_g6_architecture_and_torchscript_are_never_touched(
    package: Any, repack: Repack, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    evil = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n".encode()

    found = load_package(repack({"architecture.py": evil, "weights.pt": b"no archive"}))

    assert found.trained.channel_names == ("er", "actin")
    assert not marker.exists()


@pytest.mark.parametrize("source", ["/etc/hosts", "../x", "https://example.org/w.pth", 7])
def test_g7_only_members_of_the_zip_are_read(
    rewritten: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    def change(content: Content) -> None:
        content["weights"]["pytorch_state_dict"]["source"] = source

    with pytest.raises(PackageError):
        load_package(rewritten(change))
    with pytest.raises(PackageError, match="local files"):
        load_package("https://example.org/p.zip")


def test_g3_the_whole_package_is_capped(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_zip, "MAX_BYTES", 1000)

    with pytest.raises(PackageError, match="at most 1000"):
        load_package(package.path)


def test_noise_models_of_other_channels_are_refused(
    package: Any, rewritten: Callable[..., Path]
) -> None:
    with pytest.raises(NoiseModelError, match="swapped"):
        load_package(rewritten(noise_model_er__npz=package.files["noise_model_actin.npz"]))


def test_packages_of_earlier_versions_get_images_as_in_training(
    package: Any, rewritten: Callable[..., Path]
) -> None:
    def change(content: Content) -> None:
        del content["config"]["careamics_denoisplit"]["input"]

    found = load_package(rewritten(change))

    assert found.input.rule is None
    assert found.trained.statistics.input_mean == found.as_trained.statistics.input_mean
    statistics = json.loads(package.files["statistics.json"])
    for name in ("local_levels", "superposition"):
        del statistics[name]
    again = load_package(rewritten(statistics__json=json.dumps(statistics).encode()))
    assert again.trained.statistics.local_levels is None


def test_an_input_map_that_is_none_is_refused(rewritten: Callable[..., Path]) -> None:
    def change(content: Content) -> None:
        content["config"]["careamics_denoisplit"]["input"]["gain"] = 0

    with pytest.raises(PackageError, match="gain"):
        load_package(rewritten(change))
