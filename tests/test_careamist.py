"""The front end: careamics' words where they exist, and one run folder for everything."""

import ast
import inspect
import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
from careamics import CAREamist
from careamics.dataset.factory import ReadFuncLoading
from careamics.lightning.utils.csv_logger import TrainingReport
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from scipy.ndimage import gaussian_filter

from careamics_denoisplit import DenoiSplitCAREamist, Prediction
from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    create_advanced_denoisplit_config,
    save_configuration,
)
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NoiseModelError,
    OutputExistsError,
    PackageError,
)

CHANNELS = ("er", "actin")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: small images only wait for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clean_channels(count: int = 3) -> np.ndarray:
    """Return images (S, C, Y, X) of spots of two sizes in gray values."""
    random = np.random.default_rng(1)
    fields = [
        [gaussian_filter((random.random((96, 96)) > 0.98).astype(np.float32), s) for s in (1.5, 3)]
        for _ in range(count)
    ]
    stack = np.array(fields, dtype=np.float32)
    return 100 + 400 * stack / stack.max(axis=(-2, -1), keepdims=True)


CLEAN = clean_channels()
NOISY = (CLEAN + np.random.default_rng(2).normal(0, 15, CLEAN.shape)).astype(np.float32)
MIXTURE = NOISY[2].mean(axis=0)


def small_config(**changes: Any) -> DenoiSplitConfiguration:
    """Return settings that train in a second."""
    settings: dict[str, Any] = {
        "axes": "SCYX",
        "patch_size": 32,
        "batch_size": 4,
        "num_epochs": 2,
        "num_steps": 2,
        "model_params": {"filters": 8, "latent_channels": (4, 4), "stem_stride": 1},
    } | changes
    return create_advanced_denoisplit_config("small", CHANNELS, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and calibrated for 4 samples."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    careamist = DenoiSplitCAREamist(small_config(), work_dir=folder, enable_progress_bar=False)
    careamist.fit_noise_models(
        signal=CLEAN, observation=NOISY, signal_axes="SCYX", observation_axes="SCYX"
    )
    careamist.train(train_data_target=NOISY[:2], val_data_target=NOISY[2:])
    careamist.calibrate(channels=NOISY[2:], truth=CLEAN[2:], axes="SCYX", n_samples=4)
    return folder


@pytest.fixture
def careamist(run: Path) -> DenoiSplitCAREamist:
    """The front end of the trained run, opened anew."""
    return DenoiSplitCAREamist(checkpoint_path=run, enable_progress_bar=False)


# What careamics promises, and what we rely on.


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self"}


@pytest.mark.parametrize("verb", ["train", "predict", "predict_to_disk", "export_to_bmz"])
def test_every_argument_of_careamics_is_known(verb: str) -> None:
    ours = inspect.signature(getattr(DenoiSplitCAREamist, verb)).parameters
    known = set(ours)
    if any(each.kind is each.VAR_KEYWORD for each in ours.values()):
        known |= parameters(DenoiSplitCAREamist.predict)

    assert parameters(getattr(CAREamist, verb)) <= known


@pytest.mark.parametrize(
    "verb", ["get_checkpoints", "get_losses", "stop_training", "predict_to_disk", "train"]
)
def test_every_verb_of_careamics_is_there(verb: str) -> None:
    assert callable(getattr(DenoiSplitCAREamist, verb))
    assert callable(getattr(CAREamist, verb))


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("_load_model", {"config", "checkpoint_path", "bmz_path"}),
        ("_from_config", {"config"}),
        ("_from_checkpoint", {"checkpoint_path"}),
        ("_from_bmz", {"bmz_path"}),
        ("_define_callbacks", {"callbacks", "config", "ckpt_root"}),
        ("_create_loggers", {"logger", "experiment_name", "work_dir", "config", "version"}),
        ("_get_checkpoint_root", set()),
        ("_get_default_ckpt", {"checkpoint"}),
        ("_resolve_work_dir", {"work_dir"}),
    ],
)
def test_the_private_hooks_of_careamics_are_as_they_were(hook: str, arguments: set[str]) -> None:
    assert parameters(getattr(CAREamist, hook)) == arguments


def test_the_prediction_hook_of_careamics_is_replaced(careamist: DenoiSplitCAREamist) -> None:
    assert callable(CAREamist._build_predict_datamodule)
    with pytest.raises(NotImplementedError, match="Use `predict`"):
        careamist._build_predict_datamodule(MIXTURE)


def test_every_attribute_that_careamics_sets_is_there(careamist: DenoiSplitCAREamist) -> None:
    source = textwrap.dedent(inspect.getsource(CAREamist.__init__))
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }

    assert "config" in attributes
    missing = {name for name in attributes if not hasattr(careamist, name)}
    assert missing == {"prediction_writer"}  # results are written whole, without a trainer


def test_stopping_is_what_careamics_does(careamist: DenoiSplitCAREamist) -> None:
    class Trainer:
        should_stop = False
        limit_val_batches = 1.0

    careamist.stop_training()  # before any training there is nothing to stop
    careamist.trainer = Trainer()
    careamist.stop_training()

    assert careamist.trainer.should_stop
    assert careamist.trainer.limit_val_batches == 0


def test_it_is_a_careamist(careamist: DenoiSplitCAREamist) -> None:
    assert isinstance(careamist, CAREamist)


# Opening.


def test_exactly_one_source_is_opened() -> None:
    with pytest.raises(ConfigurationError, match=r"Exactly one of .* got 0"):
        DenoiSplitCAREamist(work_dir=".")
    with pytest.raises(ConfigurationError, match=r"Exactly one of .* got 2"):
        DenoiSplitCAREamist(small_config(), checkpoint_path="runs/x", work_dir=".")


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    file = save_configuration(small_config(), tmp_path / "config.yaml")

    opened = DenoiSplitCAREamist(file, work_dir=tmp_path)

    assert opened.config == small_config()
    assert opened.model is None


def test_a_configuration_of_careamics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"got dict.*create_denoisplit_config"):
        DenoiSplitCAREamist({"algorithm": "n2v"}, work_dir=tmp_path)  # type: ignore[arg-type]  # on purpose


def test_a_package_is_refused_with_the_way_that_works(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"`checkpoint_path=`"):
        DenoiSplitCAREamist(bmz_path="er_actin.zip", work_dir=tmp_path)


@pytest.mark.parametrize("part", [".", "model", "checkpoints/best.ckpt"])
def test_a_run_is_opened_by_its_folder_its_model_or_a_checkpoint(run: Path, part: str) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run / part)

    assert opened.work_dir == run
    assert opened.model is not None
    assert opened.config.channel_names == CHANNELS


def test_a_run_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        DenoiSplitCAREamist(checkpoint_path=tmp_path)


def test_before_training_there_is_nothing_to_predict_with(tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)

    with pytest.raises(CheckpointError, match="Call `train` first"):
        opened.predict(MIXTURE)
    with pytest.raises(CheckpointError, match="no training curves yet"):
        opened.get_losses()


# Noise models and training.


def test_the_run_holds_what_users_are_promised(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}

    assert {
        "config.yaml",
        "model/weights.safetensors",
        "model/calibration.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "logs/metrics.csv",
        "logs/denoisplit.log",
        "report.html",
        "noise_models/noise_model_er.npz",
        "noise_models/noise_model_actin.json",
    } <= files


def test_noise_models_are_not_overwritten_unless_asked_for(careamist: DenoiSplitCAREamist) -> None:
    with pytest.raises(OutputExistsError, match=r"noise_model_er\.npz"):
        careamist.fit_noise_models(signal=CLEAN, observation=NOISY)


def test_noise_models_are_fitted_by_name(tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)

    reports = opened.fit_noise_models(
        signal={"actin": CLEAN[:, 1], "er": CLEAN[:, 0]},
        observation={"er": NOISY[:, 0], "actin": NOISY[:, 1]},
        signal_axes="SYX",
        observation_axes="SYX",
    )

    assert [report.channel for report in reports] == list(CHANNELS)


@pytest.mark.parametrize(
    "images",
    [
        {},
        {"signal": CLEAN},
        {"observation": NOISY},
        {"signal": CLEAN, "observation": NOISY, "bootstrap": True},
        {"repeats": NOISY, "observation": NOISY},
    ],
    ids=["nothing", "signal", "observation", "both and bootstrap", "repeats and observation"],
)
def test_images_that_belong_to_no_route_are_refused(tmp_path: Path, images: dict[str, Any]) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)

    with pytest.raises(ConfigurationError, match="Give `signal` and `observation`, or `repeats`"):
        opened.fit_noise_models(**images, signal_axes="SCYX", observation_axes="SCYX")


def test_a_noise_model_of_an_unknown_channel_is_refused(tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)

    with pytest.raises(DataError, match=r"signal has the channels \['er', 'golgi'\]"):
        opened.fit_noise_models(signal={"er": CLEAN[:, 0], "golgi": CLEAN[:, 1]}, observation=NOISY)


def test_training_without_noise_models_says_how_to_get_them(tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path / "run")

    with pytest.raises(NoiseModelError, match=r"first, or give .*to `--noise-model`"):
        opened.train(train_data_target=NOISY[:2], val_data_target=NOISY[2:])
    assert not (tmp_path / "run").exists()


def test_noise_models_are_superfluous_for_a_gaussian_likelihood(run: Path, tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(algorithm="altered_musplit"), work_dir=tmp_path)

    with pytest.raises(NoiseModelError, match="uses no noise models"):
        opened.train(
            train_data_target=NOISY[:2],
            val_data_target=NOISY[2:],
            noise_model=run / "noise_models",
        )


def test_swapped_noise_models_are_refused(run: Path, tmp_path: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)
    folder = run / "noise_models"

    with pytest.raises(NoiseModelError, match="swapped"):
        opened.train(
            train_data_target=NOISY[:2],
            val_data_target=NOISY[2:],
            noise_model=[folder / "noise_model_actin.npz", folder / "noise_model_er.npz"],
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "noisy channels as `train_data_target`"),
        ({"train_data_target": NOISY, "filtering_mask": NOISY}, "`filtering_mask` is not"),
        ({"train_data_target": NOISY, "loading": object()}, "`loading` of object is not"),
    ],
)
def test_arguments_that_mean_nothing_here_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=tmp_path)

    with pytest.raises(ConfigurationError, match=message):
        opened.train(**arguments)


def test_callbacks_that_training_sets_up_itself_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ModelCheckpoint is set up by the training"):
        DenoiSplitCAREamist(small_config(), work_dir=tmp_path, callbacks=[ModelCheckpoint()])


class StopAtOnce(Callback):
    """Asks to stop after the first step, as a button would."""

    careamist: DenoiSplitCAREamist

    def on_train_batch_end(self, *args: Any) -> None:
        """Stop."""
        self.careamist.stop_training()


def test_a_stopped_training_is_continued_from_its_folder(run: Path, tmp_path: Path) -> None:
    button = StopAtOnce()
    stopped = DenoiSplitCAREamist(
        small_config(), work_dir=tmp_path, callbacks=[button], enable_progress_bar=False
    )
    button.careamist = stopped
    data = {"train_data_target": NOISY[:2], "val_data_target": NOISY[2:]}
    stopped.train(**data, noise_model=run / "noise_models")
    with pytest.raises(CheckpointError, match="no training curves yet"):
        stopped.get_losses()

    goes_on = DenoiSplitCAREamist(checkpoint_path=tmp_path, enable_progress_bar=False)
    goes_on.train(**data)

    assert goes_on.get_losses().train_loss.epoch == [0, 1]
    unbroken = DenoiSplitCAREamist(checkpoint_path=run)
    for name, tensor in unbroken.trained.network.state_dict().items():
        assert torch.equal(tensor, goes_on.trained.network.state_dict()[name]), name


def test_a_run_is_not_replaced_unless_asked_for(run: Path) -> None:
    opened = DenoiSplitCAREamist(small_config(), work_dir=run, enable_progress_bar=False)

    with pytest.raises(OutputExistsError, match="epoch 2 of 2"):
        opened.train(
            train_data_target=NOISY[:2],
            val_data_target=NOISY[2:],
            noise_model=run / "noise_models",
        )


def test_only_the_last_checkpoint_of_a_run_is_continued(run: Path) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run / "checkpoints" / "best.ckpt")

    with pytest.raises(ConfigurationError, match="continues a run from its last checkpoint"):
        opened.train(train_data_target=NOISY[:2], val_data_target=NOISY[2:])


def test_the_curves_are_those_of_careamics(careamist: DenoiSplitCAREamist) -> None:
    report = careamist.get_losses()

    assert isinstance(report, TrainingReport)
    assert report.train_loss.epoch == [0, 1]
    assert len(report.val_loss.value) == 2
    assert "reconstruction_er" in report.metrics


def test_checkpoints_are_the_best_and_the_last(careamist: DenoiSplitCAREamist, run: Path) -> None:
    assert careamist.get_checkpoints() == [
        run / "checkpoints" / "best.ckpt",
        run / "checkpoints" / "last.ckpt",
    ]


def test_a_read_function_of_careamics_is_used(run: Path, tmp_path: Path) -> None:
    for index, field in enumerate(NOISY):
        np.savez(tmp_path / f"field{index}.npz", image=field)

    def read(path: Path, *, key: str) -> np.ndarray:
        return np.load(path)[key]

    opened = DenoiSplitCAREamist(
        small_config(axes="CYX", num_epochs=1), work_dir=tmp_path / "run", enable_progress_bar=False
    )
    opened.train(
        train_data_target=[tmp_path / "field0.npz", tmp_path / "field1.npz"],
        val_data_target=tmp_path / "field2.npz",
        noise_model=run / "noise_models",
        loading=ReadFuncLoading(read, {"key": "image"}),
    )

    assert opened.trained is not None


# Prediction.


def test_one_image_gives_one_prediction_calibrated_where_it_was(
    careamist: DenoiSplitCAREamist,
) -> None:
    prediction = careamist.predict(MIXTURE, n_samples=4)

    assert isinstance(prediction, Prediction)
    assert prediction.calibrated
    assert prediction.mean.shape == (2, 96, 96)
    factors = careamist.trained.calibrations.factors("samples-4")
    raw = careamist.predict(MIXTURE, n_samples=5)
    assert not raw.calibrated
    assert factors is not None


def test_the_predictions_name_for_samples_is_that_of_careamics(
    careamist: DenoiSplitCAREamist,
) -> None:
    first = careamist.predict(MIXTURE, n_predictions=4)
    second = careamist.predict(MIXTURE, n_samples=4)

    assert first.mean.equals(second.mean)
    with pytest.raises(ConfigurationError, match="two names for the same number"):
        careamist.predict(MIXTURE, n_samples=4, n_predictions=8)


def test_several_images_of_different_size_give_a_list(careamist: DenoiSplitCAREamist) -> None:
    predictions = careamist.predict([MIXTURE, MIXTURE[:50, :33]], n_samples=2)

    assert [each.mean.shape for each in predictions] == [(2, 96, 96), (2, 50, 33)]
    assert [each.source for each in predictions] == ["mixture 0", "mixture 1"]


def test_planes_lead_the_dimensions(careamist: DenoiSplitCAREamist) -> None:
    prediction = careamist.predict(NOISY[:, 0], axes="TYX", n_samples=2)

    assert prediction.mean.dims == ("time", "channel", "y", "x")


def test_arrays_come_in_the_form_of_careamics(careamist: DenoiSplitCAREamist) -> None:
    arrays, sources = careamist.predict_arrays([MIXTURE, MIXTURE], n_samples=2)

    assert [array.shape for array in arrays] == [(2, 96, 96)] * 2
    assert all(isinstance(source, str) for source in sources)


def test_the_input_channel_is_chosen_by_number(careamist: DenoiSplitCAREamist) -> None:
    chosen = careamist.predict(NOISY[0], axes="CYX", channels=[1], n_samples=2)
    alone = careamist.predict(NOISY[0, 1], n_samples=2)

    assert np.array_equal(chosen.mean.values, alone.mean.values)
    with pytest.raises(DataError, match="2 channels; 1 expected"):
        careamist.predict(NOISY[0], axes="CYX")
    with pytest.raises(ConfigurationError, match=r"must hold one number, got \[0, 1\]"):
        careamist.predict(NOISY[0], axes="CYX", channels=[0, 1])


def test_samples_are_those_that_the_mean_is_taken_of(careamist: DenoiSplitCAREamist) -> None:
    samples = careamist.sample(MIXTURE, n_samples=4)

    assert isinstance(samples, xr.DataArray)
    assert samples.dims == ("draw", "channel", "y", "x")
    mean = careamist.predict(MIXTURE, n_samples=4).mean
    np.testing.assert_allclose(samples.mean("draw"), mean, rtol=1e-5)
    several = careamist.sample([MIXTURE, MIXTURE], n_samples=1)
    assert len(several) == 2


def test_tiles_are_those_that_were_asked_for(careamist: DenoiSplitCAREamist) -> None:
    prediction = careamist.predict(MIXTURE, n_samples=2, tile_size=(64, 64), tile_overlap=(48, 48))

    assert prediction.mean.attrs["tile"] == [64, 64]
    whole = careamist.predict(MIXTURE, n_samples=2)
    assert np.abs(prediction.mean - whole.mean).max() < float(whole.std.median())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_overlap": (48, 48)}, "without `tile_size`"),
        ({"tile_size": (64,)}, "`tile_size` must be two numbers"),
        ({"output_axes": "YXC"}, "dimensions of a result are named"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"precision": "16", "device": "cpu"}, "Precision 16 exists on GPUs only"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    careamist: DenoiSplitCAREamist, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        careamist.predict(MIXTURE, **options)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_checkpoint_is_chosen_by_name(careamist: DenoiSplitCAREamist, checkpoint: str) -> None:
    by_name = careamist.predict(MIXTURE, n_samples=2, checkpoint=checkpoint)
    file = careamist.work_dir / "checkpoints" / f"{checkpoint}.ckpt"
    by_path = careamist.predict(MIXTURE, n_samples=2, checkpoint=file)

    assert by_name.mean.equals(by_path.mean)


def test_a_checkpoint_that_is_not_there_is_refused(careamist: DenoiSplitCAREamist) -> None:
    with pytest.raises(CheckpointError, match="There is no model at"):
        careamist.predict(MIXTURE, checkpoint="nowhere.ckpt")


def test_folders_are_mirrored_and_nothing_is_overwritten(
    careamist: DenoiSplitCAREamist, tmp_path: Path
) -> None:
    for name in ("a/cell.1.tif", "b/cell.1.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        tifffile.imwrite(tmp_path / "in" / name, MIXTURE[:40, :40])

    written = careamist.predict_to_disk(
        tmp_path / "in", prediction_dir=tmp_path / "out", n_samples=2
    )

    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "a/cell.1_mean.ome.tif",
        "a/cell.1_std.ome.tif",
        "b/cell.1_mean.ome.tif",
        "b/cell.1_std.ome.tif",
    ]
    (tmp_path / "out" / "a" / "cell.1_mean.ome.tif").unlink()
    with pytest.raises(OutputExistsError, match=r"cell\.1_std\.ome\.tif"):
        careamist.predict_to_disk(tmp_path / "in", prediction_dir=tmp_path / "out", n_samples=2)
    assert not (tmp_path / "out" / "a" / "cell.1_mean.ome.tif").exists()


def test_a_format_is_chosen_by_the_words_of_careamics(
    careamist: DenoiSplitCAREamist, tmp_path: Path
) -> None:
    (zarr,) = careamist.predict_to_disk(
        MIXTURE, prediction_dir=tmp_path, write_type="zarr", n_samples=2
    )
    custom = careamist.predict_to_disk(
        MIXTURE,
        prediction_dir=tmp_path,
        write_type="custom",
        write_extension=".npy",
        write_func=lambda path, image, allow_pickle: np.save(
            path, image, allow_pickle=allow_pickle
        ),
        write_func_kwargs={"allow_pickle": False},
        n_samples=2,
    )

    assert zarr.name == "mixture.ome.zarr"
    assert [path.name for path in custom] == ["mixture_mean.npy", "mixture_std.npy"]
    assert np.load(custom[0]).shape == (2, 96, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"write_type": "custom"}, "needs `write_extension` and `write_func`"),
        ({"pred_data_target": CLEAN}, "`pred_data_target` is not used"),
    ],
)
def test_formats_that_do_not_exist_are_refused(
    careamist: DenoiSplitCAREamist, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        careamist.predict_to_disk(MIXTURE, prediction_dir=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# Calibration, scores, packages.


def test_a_calibration_is_kept_in_the_run(run: Path) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run)

    assert opened.trained.calibrations.factors("samples-4") is not None


def test_scores_are_returned_and_kept_in_the_run(careamist: DenoiSplitCAREamist) -> None:
    scores = careamist.evaluate(mixture=MIXTURE, truth=CLEAN[2], axes="CYX", n_samples=4)

    assert [channel["name"] for channel in scores["channels"]] == list(CHANNELS)
    assert scores["samples"] == 4
    assert (careamist.work_dir / "logs" / "evaluation.json").is_file()


def test_a_package_is_exported_by_the_words_of_careamics(
    careamist: DenoiSplitCAREamist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import careamics_denoisplit_export.package as packages

    seen: dict[str, Any] = {}

    class Exported:
        path = tmp_path / "p.zip"

    def export_package(trained: Any, recipe: Any, out: Any, **options: Any) -> Exported:
        seen.update(recipe=recipe, out=out, **options)
        return Exported()

    monkeypatch.setattr(packages, "export_package", export_package)

    path = careamist.export_to_bmz(
        tmp_path / "p.zip",
        friendly_model_name="Spots of two sizes",
        input_array=MIXTURE,
        authors=[{"name": "A. Person", "affiliation": "Institute"}],
        general_description="Splits spots.",
        data_description="Generated spots.",
        channel_names=["er", "actin"],
    )

    assert path == tmp_path / "p.zip"
    assert seen["recipe"].name == "Spots of two sizes"
    assert seen["recipe"].authors[0].name == "A. Person"
    assert seen["recipe"].description == "Splits spots."
    assert seen["recipe"].training_data == "Generated spots."
    assert seen["test_image"] is MIXTURE


def test_a_package_with_other_channels_is_refused(
    careamist: DenoiSplitCAREamist, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="must be those of the model, er, actin"):
        careamist.export_to_bmz(tmp_path / "p.zip", channel_names=["er", "golgi"])


def test_the_choice_of_tiles_is_said_in_the_log(
    careamist: DenoiSplitCAREamist, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        careamist.predict(MIXTURE, n_samples=2)

    assert "Predicting the whole image at once: 96 x 96 px need about" in caplog.text
