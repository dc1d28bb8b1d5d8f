"""Settings of network and method."""

import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from careamics_denoisplit.config import (
    PRESETS,
    DenoiSplitAlgorithm,
    NetworkConfig,
    create_advanced_denoisplit_config,
    create_denoisplit_config,
)
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.network import LadderVAE

SPLITTING = ("denoisplit", "altered_musplit", "musplit", "hdn_musplit")


def test_the_settings_of_the_network_are_its_keyword_arguments() -> None:
    arguments = inspect.signature(LadderVAE).parameters
    defaults = {name: argument.default for name, argument in arguments.items()}

    assert NetworkConfig().model_dump() == defaults


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("algorithm", SPLITTING)
def test_every_preset_configures_every_splitting_system(preset: Any, algorithm: Any) -> None:
    config = create_denoisplit_config("x", ("er", "actin"), preset, algorithm=algorithm)

    assert config.algorithm_config.algorithm == algorithm
    assert config.channel_names == ("er", "actin")


def test_the_paper_preset_is_the_published_setting() -> None:
    config = create_denoisplit_config("x", ("er", "actin"), "paper")
    algorithm, training = config.algorithm_config, config.training_config

    assert algorithm.model == NetworkConfig(prior_size=(128, 128))
    assert algorithm.optimizer.name == "Adamax"
    assert algorithm.optimizer.parameters == {"lr": 1e-3, "weight_decay": 0.0}
    assert algorithm.lr_scheduler.name == "ReduceLROnPlateau"
    assert algorithm.lr_scheduler.parameters == {"factor": 0.5, "patience": 30, "min_lr": 1e-12}
    assert (algorithm.kl_weight, algorithm.free_bits) == (1.0, 1.0)
    assert (algorithm.mixing, algorithm.augment, algorithm.pairing) == ("mean", False, "aligned")
    assert (config.data_config.batch_size, config.data_config.patch_size) == (32, 128)
    assert training.trainer_params["max_epochs"] == 400
    assert training.trainer_params["precision"] == "16-mixed"
    assert training.trainer_params["gradient_clip_val"] == 0.5
    assert training.early_stopping_params is not None
    assert training.early_stopping_params["patience"] == 200
    assert training.early_stopping_params["min_delta"] == 1e-6
    assert training.early_stopping_params["monitor"] == "val_loss"


@pytest.mark.parametrize(
    ("names", "algorithm", "weight"),
    [
        (("er", "actin"), "denoisplit", 1 / 2),
        (("er", "actin", "nuclei", "golgi"), "denoisplit", 1 / 4),
        (("er",), "hdn", 1.0),
        (("er", "actin"), "altered_musplit", 1.0),
    ],
)
def test_the_laptop_preset_weighs_the_divergence_as_the_lower_bound_does(
    names: tuple[str, ...], algorithm: Any, weight: float
) -> None:
    config = create_denoisplit_config("x", names, "laptop", algorithm=algorithm)

    assert config.algorithm_config.kl_weight == weight


def test_musplit_has_a_gaussian_head_no_free_bits_and_small_patches() -> None:
    config = create_denoisplit_config("x", ("er", "actin"), "paper", algorithm="musplit")

    assert config.algorithm_config.model.gaussian_head
    assert config.algorithm_config.free_bits == 0.0
    assert config.data_config.patch_size == 64
    assert not config.algorithm_config.needs_noise_models


def test_altered_musplit_differs_from_denoisplit_in_its_head_only() -> None:
    altered = create_denoisplit_config("x", ("a", "b"), "paper", algorithm="altered_musplit")
    published = create_denoisplit_config("x", ("a", "b"), "paper")

    network = altered.algorithm_config.model.model_dump() | {"gaussian_head": False}
    assert network == published.algorithm_config.model.model_dump()
    assert altered.algorithm_config.free_bits == 1.0


def test_hdn_has_the_published_deep_narrow_network() -> None:
    config = create_denoisplit_config("x", ("er",), "paper", algorithm="hdn")
    network = config.algorithm_config.model

    assert network.latent_channels == (32,) * 6
    assert (network.filters, network.blocks_per_level, network.dropout) == (32, 5, 0.2)
    assert (network.exponential, network.analytic_kl) == ("plain", True)
    assert config.training_config.trainer_params["max_epochs"] == 200
    assert config.algorithm_config.needs_noise_models


def test_labels_are_kept_beside_identifiers() -> None:
    config = create_denoisplit_config("x", ("F-actin", "ER"))

    assert config.algorithm_config.channel_names == ("F_actin", "ER")
    assert config.algorithm_config.channel_labels == ("F-actin", "ER")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "hdn"}, "HDN denoises one channel, got 2"),
        ({"channel_names": ("er",)}, "1 channel names .* but `model.output_channels` is 2"),
        ({"channel_labels": ("one",)}, "2 channel names .* but 1 labels"),
        ({"model": {"gaussian_head": True}}, "needs `model.gaussian_head: false`"),
        ({"algorithm": "musplit"}, "needs `model.gaussian_head: true`"),
        ({"mixing": "measured", "mixing_jitter": 0.2}, "cannot be mixed anew"),
        ({"mixing": "measured", "pairing": "independent"}, "cannot be mixed anew"),
        ({"mixing": "measured", "dimming": 0.2}, "cannot be mixed anew"),
        (
            {"algorithm": "musplit", "dimming": 0.2, "model": {"gaussian_head": True}},
            "`dimming` is 0.2, but .* has no noise models",
        ),
        ({"dimming": 1.0}, "less than 1"),
        ({"mixing_jitter": 1.0}, "less than 1"),
        ({"pairing": 1.5}, "less than or equal to 1"),
        ({"pairing": True}, "pairing"),
        ({"kl_weight": float("inf")}, "finite number"),
        ({"kl_weight": float("nan")}, "finite number"),
        ({"kl_weight": -1.0}, "greater than or equal to 0"),
        ({"kl_weight": "1"}, "valid number"),
        ({"seed": True}, "valid integer"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"augment": 1}, "valid boolean"),
        ({"channel_names": "er"}, "must be a list of names"),
        ({"channel_names": ("er", False)}, "must be text, got False"),
        ({"channel_names": ("er", 1000.0)}, "must be text, got 1000.0"),
        ({"optimizer": {"name": "Adamax", "parameters": {"lr": 0}}}, "above 0, got 0"),
        (
            {"optimizer": {"name": "Adamax", "parameters": {"lr": True}}},
            "must be a number, got True",
        ),
        ({"optimizer": {"name": "Adamax", "parameters": {"lr": None}}}, "a number, got None"),
        ({"optimizer": {"name": "Adamax", "parameters": {"lr": float("inf")}}}, "finite"),
        ({"lr_scheduler": {"parameters": {"patience": -3}}}, "must not be negative, got -3"),
        ({"optimizer": {"naem": "Adamax"}}, "Extra inputs are not permitted"),
        ({"model": {"filters": True}}, "valid integer"),
        ({"model": {"latent_channels": ()}}, "at least 1 item"),
        ({"model": {"latent_channels": (8,) * 13}}, "13 levels"),
        ({"model": {"stem_stride": 3}}, "1 or 2"),
        ({"klweight": 1.0}, "Extra inputs are not permitted"),
    ],
)
def test_c1_c3_wrong_settings_of_the_method_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        DenoiSplitAlgorithm(**({"channel_names": ("er", "actin")} | changes))


@pytest.mark.parametrize(
    ("pairing", "probability"), [("aligned", 0.0), ("independent", 1.0), (0.25, 0.25)]
)
def test_pairing_is_a_word_or_a_probability(pairing: Any, probability: float) -> None:
    algorithm = DenoiSplitAlgorithm(channel_names=("er", "actin"), pairing=pairing)

    assert algorithm.independent_probability == probability


def test_c3_a_preset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no preset 'papr'\. Choose one of paper, fast"):
        create_denoisplit_config("x", ("er", "actin"), "papr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": (128, 64)}, "squared"),
        ({"patch_size": 8}, "at least 16 pixels"),
        ({"patch_size": True}, "at least 16 pixels"),
        ({"patch_size": 16}, "halve the image to nothing below 32"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"num_epochs": 0}, "above 0, got 0"),
        ({"max_hours": -1.0}, "greater than or equal to 0"),
        ({"axes": "QYX"}, "QYX"),
        ({"model_params": {"prior_size": (64, 64)}}, "prior_size"),
        ({"model_params": {"filterz": 3}}, "filterz"),
        ({"data_params": {"channels": [0, 1, 2]}}, "selects 3 channels"),
        ({"data_params": {"seed": 3, "typo": 1}}, "typo"),
        ({"data_params": {"train_dataloader_params": {"shuffle": False}}}, "cannot be set"),
        (
            {
                "data_params": {
                    "normalization": {"input_means": [1.0, 2.0], "input_stds": [1.0, 2.0]}
                }
            },
            "input_means length 2",
        ),
        ({"trainer_params": {"max_epoch": 3}}, "max_epoch"),
        ({"bogus": 1}, "Unknown options \\['bogus'\\]"),
    ],
)
def test_c1_c3_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_advanced_denoisplit_config("x", ("er", "actin"), **options)


def test_one_text_instead_of_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a list of names, got the text 'er'"):
        create_denoisplit_config("x", "er")


def test_options_reach_their_part() -> None:
    config = create_advanced_denoisplit_config(
        "x",
        ("er", "actin"),
        model_params={"filters": 8},
        algorithm_params={"kl_weight": 0.5},
        data_params={"validation_split": "rows"},
        trainer_params={"limit_val_batches": 2},
        optimizer="Adam",
        optimizer_params={"lr": 0.01},
        lr_scheduler="StepLR",
        lr_scheduler_params={"step_size": 3},
        logger="tensorboard",
        checkpoint_params={"save_last": True},
        early_stopping_params=None,
        num_workers=2,
        num_steps=10,
        batch_size=4,
    )

    assert config.algorithm_config.model.filters == 8
    assert config.algorithm_config.kl_weight == 0.5
    assert config.algorithm_config.optimizer.parameters == {"lr": 0.01}
    assert config.algorithm_config.lr_scheduler.name == "StepLR"
    assert config.data_config.validation_split == "rows"
    assert config.data_config.patches_per_epoch == 40
    assert config.data_config.num_workers == 2
    assert config.training_config.trainer_params["limit_val_batches"] == 2
    assert config.training_config.logger == "tensorboard"
    assert config.training_config.checkpoint_params == {"save_last": True}
    assert config.training_config.early_stopping_params is None
