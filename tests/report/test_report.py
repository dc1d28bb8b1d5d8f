"""The page of a run: complete, self-contained, escaped, and honest."""

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.config import create_advanced_denoisplit_config, save_configuration
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.evaluation import Example
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.report import (
    calibration_words,
    draw_result,
    write_report,
    write_result,
)
from careamics_denoisplit.report.figures import draw_calibration, draw_training
from careamics_denoisplit.report.pictures import most_structured

CHANNELS = ("er", "actin")
METRICS = """epoch,seconds,train_loss,val_loss,kl_level_0,kl_level_1,val_psnr_er,val_psnr_actin
0,10.0,3.2,3.1,220.0,11.0,17.7,18.6
1,20.0,3.1,3.0,270.0,8.0,17.9,18.9
"""


class Tags(HTMLParser):
    """Names, sources and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def channel_scores(
    name: str, psnr: float | None = 26.0, beats: bool | None = True
) -> dict[str, Any]:
    """One channel in the layout of `evaluate`."""
    figures = {"nll": 5.1, "ause": 0.1, "ence": 0.2, "coverage_90": 0.91}
    bins = [{"rmv": 10.0 * k, "rmse": 9.0 * k, "count": 50} for k in range(1, 21)]
    fraction = [0.0, 0.5, 0.9]
    return {
        "name": name,
        "psnr": psnr,
        "psnr_plain": 25.0,
        "ms_ssim": None,
        "micro_ssim": 0.8,
        "rmse": 12.0,
        "leakage": 0.2,
        "leakage_mixture": 0.5,
        "references": {
            "noise_free_mixture": 24.0,
            "blurred_mixture": 23.0,
            "blurred_own_channel": None,
        },
        "calibration": {
            "calibrated": beats is not None,
            "method": None if beats is None else "scalar",
            "factor": 2.0,
            "relative_error": 0.12,
            "intensity_only": figures,
            "constant": figures,
            "beats_intensity_only": beats,
            "methods": {"raw": figures, "scalar": figures},
            "bins": bins,
            "bins_equal_width": bins,
            "reference_bins": {"intensity_only": bins, "constant": bins[:1]},
            "sparsification": {
                "fraction": fraction,
                "oracle": [1.0, 0.2, 0.0],
                "scalar": [1.0, 0.5, 0.2],
                "raw": [1.0, 0.5, 0.2],
                "intensity_only": [1.0, 0.6, 0.3],
                "constant": [1.0, 1.0, 1.0],
            },
        },
    }


def scores(**channel: Any) -> dict[str, Any]:
    """Result of `evaluate` on one image."""
    return {
        "samples": 16,
        "spread": "samples",
        "channels": [channel_scores(name, **channel) for name in CHANNELS],
        "images": [{"name": "H12.tif", "psnr": [26.0, 26.0], "trust": 0.8, "relative_error": 0.3}],
        "trust_rank_correlation": None,
        "trust_compared": {"what": "regions", "count": 2},
        "warnings": [],
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder right after training has started."""
    folder = tmp_path / "er_actin"
    folder.mkdir()
    config = create_advanced_denoisplit_config("first try", CHANNELS, patch_size=32)
    save_configuration(config, folder / "config.yaml")
    return folder


def keep(run: Path, values: dict[str, Any]) -> None:
    """Store scores as `evaluate` does."""
    (run / "logs").mkdir(exist_ok=True)
    (run / "logs" / "evaluation.json").write_text(json.dumps(values))


def page_of(run: Path) -> str:
    """The written page."""
    return write_report(run).read_text(encoding="utf-8")


def test_a_run_that_has_only_begun_has_a_page(run: Path) -> None:
    page = page_of(run)

    assert "first try" in page
    assert "Not trained yet" in page
    assert "Not evaluated yet" in page
    assert "No finished model" in page


def test_the_page_shows_scores_beside_predictors_that_do_not_split(run: Path) -> None:
    keep(run, scores())
    (run / "logs" / "metrics.csv").write_text(METRICS)

    page = page_of(run)

    for text in ("26.00", "24.00", "23.00", "+2.0 dB", "H12.tif", "Well calibrated", "2 epochs"):
        assert text in page
    assert page.count("data:image/svg+xml;base64,") == 3


def test_the_page_needs_nothing_outside_it_and_runs_nothing(run: Path) -> None:
    keep(run, scores())
    (run / "logs" / "metrics.csv").write_text(METRICS)
    (run / "logs" / "result.png").write_bytes(picture())

    tags = Tags(page_of(run))

    assert tags.open == []
    assert not {"script", "link", "iframe", "object"} & set(tags.names)
    assert tags.names.count("img") == 4
    assert all(source.startswith("data:image/") for source in tags.sources)


def test_names_from_files_are_escaped(run: Path) -> None:
    values = scores()
    values["images"][0]["name"] = "<script>alert(1)</script>.tif"
    values["warnings"] = ["<img src=x onerror=alert(1)>"]
    keep(run, values)

    page = page_of(run)

    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_a_model_below_a_predictor_that_does_not_split_is_a_warning(run: Path) -> None:
    keep(run, scores(psnr=23.5))

    assert "er scores 0.5 dB below a predictor that does not split" in page_of(run)


def test_scores_that_are_not_defined_are_dashes(run: Path) -> None:
    keep(run, scores(psnr=None, beats=None))

    page = page_of(run)

    assert "<b>-</b>" in page
    assert "None" not in re.sub(r"base64,[^\"]*", "", page.split("config.yaml")[0])


def test_a_page_replaces_the_earlier_one_and_leaves_no_litter(run: Path) -> None:
    first, second = page_of(run), page_of(run)

    assert first == second
    assert sorted(p.name for p in run.iterdir()) == ["config.yaml", "report.html"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()

    with pytest.raises(CheckpointError, match=r"no config\.yaml"):
        write_report(tmp_path)
    with pytest.raises(CheckpointError, match=r"no config\.yaml\. Did you mean .*run_1"):
        write_report(tmp_path / "run_l")

    assert [each.name for each in tmp_path.rglob("*")] == ["run_1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beats": True}, "Well calibrated"),
        ({"beats": False}, "no better than a table of error against intensity"),
        ({"beats": None}, "Not calibrated for this estimator"),
    ],
)
def test_only_what_beats_the_intensity_table_is_called_well_calibrated(
    change: dict[str, Any], words: str
) -> None:
    found = calibration_words(channel_scores("er", **change)["calibration"])

    assert words in found
    assert ("Well calibrated" in found) == (change["beats"] is True)


def test_curves_are_equal_bytes_for_equal_numbers() -> None:
    channel = channel_scores("er")

    assert draw_calibration(channel) == draw_calibration(channel)


def test_without_numbers_there_are_no_curves() -> None:
    channel = channel_scores("er")
    channel["calibration"]["bins"] = []

    assert draw_calibration(channel) is None
    assert draw_training([], CHANNELS) is None


def picture(**options: Any) -> bytes:
    """The standard picture of a small result."""
    random = np.random.default_rng(1)
    mean = random.gamma(2.0, 50.0, (2, 48, 64)).astype(np.float32)
    values = {"std": 0.1 * mean, "truth": mean, **options}
    std = values.pop("std")
    return draw_result(mean.mean(axis=0), mean, std, CHANNELS, **values)


def test_the_standard_picture_is_a_png_of_all_panels(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    path.write_bytes(picture(pixel_size=(0.1, 0.1), calibrated=True))

    image = imread(path)

    assert image.shape[1] == pytest.approx(5 * 2.6 * 150, abs=2)
    assert image.std() > 0.1


@pytest.mark.parametrize("options", [{"std": None}, {"truth": None}, {"crop": None}])
def test_the_standard_picture_leaves_out_what_is_not_known(options: dict[str, Any]) -> None:
    assert picture(**options).startswith(b"\x89PNG")


def test_the_picture_of_a_run_is_replaced_whole_and_named_on_its_page(run: Path) -> None:
    keep(run, scores())
    random = np.random.default_rng(1)
    mean = random.gamma(2.0, 50.0, (2, 48, 64)).astype(np.float32)
    example = Example("H12.tif", CHANNELS, mean.mean(axis=0), mean, None, False, mean + 1.0)
    paths = [write_result(run, example), write_result(run, example._replace(std=0.1 * mean))]

    assert paths == [run / "logs" / "result.png"] * 2
    assert sorted(p.name for p in (run / "logs").iterdir()) == ["evaluation.json", "result.png"]
    assert imread(paths[0]).shape[1] == pytest.approx(5 * 2.6 * 150, abs=2)
    assert "H12.tif, its most structured part" in page_of(run)
    without_scale = paths[0].read_bytes()
    write_result(run, example._replace(std=0.1 * mean, pixel_size=(0.1, 0.1)))
    assert (imread(paths[0]) != imread(io.BytesIO(without_scale))).any(axis=-1).sum() > 20


def test_the_shown_part_is_the_most_structured_one() -> None:
    image = np.zeros((100, 120))
    image[60:90, 80:110] = np.random.default_rng(1).normal(size=(30, 30))

    rows, columns = most_structured(image, 40)

    assert image[rows, columns].std() >= 0.9 * image[60:90, 80:110].std() * 0.75
    assert (rows.stop - rows.start, columns.stop - columns.start) == (40, 40)


def test_a_finished_run_names_its_noise_models_and_estimators(
    run: Path, small: TrainedModel
) -> None:
    save_model(run / "model", small)

    page = page_of(run)

    assert "Noise models" in page
    assert "Not calibrated yet" in page


@pytest.fixture
def small(run: Path, make_statistics: Callable[..., Statistics]) -> TrainedModel:
    """An untrained network of 8 filters."""
    config = create_advanced_denoisplit_config(
        "first try",
        CHANNELS,
        patch_size=32,
        model_params={"filters": 8, "latent_channels": (4, 4), "stem_stride": 1},
    )
    save_configuration(config, run / "config.yaml")
    statistics = make_statistics(1.0, 1.0)
    models = tuple(
        GaussianMixtureNoiseModel(
            torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 0.0]]),
            0.0,
            300.0,
            1.0,
            NoiseModelInfo(channel=name, verdict="warn"),
        )
        for name in CHANNELS
    )
    network = LadderVAE(**config.algorithm_config.model.model_dump()).eval()
    return TrainedModel(network, config, statistics, models)
