"""What we rely on inside careamics; a failure here means that careamics has changed."""

import inspect

import pytest
from careamics import CAREamist
from careamics.config import configuration as careamics_configuration
from careamics.config.configuration import Configuration
from careamics.config.data import DataConfig
from careamics.config.lightning.training_configuration import TrainingConfig
from pydantic import BaseModel

from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    DenoiSplitDataConfig,
    create_denoisplit_config,
)


def model_validators(model: type[BaseModel]) -> set[str]:
    return set(model.__pydantic_decorators__.model_validators)


def field_validators(model: type[BaseModel]) -> set[str]:
    return set(model.__pydantic_decorators__.field_validators)


@pytest.mark.parametrize(
    "name",
    [
        "validate_patch_against_model",
        "validate_channels_against_inputs",
        "validate_norm_against_channels",
        "warn_batch_norm",
    ],
)
def test_checks_of_the_configuration_are_overridden_by_name(name: str) -> None:
    assert name in model_validators(Configuration)
    assert getattr(DenoiSplitConfiguration, name) is not getattr(Configuration, name)


def test_careamics_has_no_further_check_of_the_configuration() -> None:
    assert model_validators(Configuration) == {
        "validate_3D",
        "validate_patch_against_model",
        "validate_channels_against_inputs",
        "validate_norm_against_channels",
        "warn_batch_norm",
    }


@pytest.mark.parametrize(
    "name",
    [
        "validate_target_axes_compatible",
        "validate_dimensions",
        "propagate_seed_to_patching",
        "set_default_workers_in_dataloaders",
    ],
)
def test_checks_of_the_data_are_overridden_by_name(name: str) -> None:
    assert name in model_validators(DataConfig)
    assert getattr(DenoiSplitDataConfig, name) is not getattr(DataConfig, name)


@pytest.mark.parametrize(
    "name", ["validate_axes", "shuffle_train_dataloader", "set_default_pin_memory"]
)
def test_conversions_of_the_data_are_overridden_by_name(name: str) -> None:
    assert name in field_validators(DataConfig)
    assert getattr(DenoiSplitDataConfig, name) is not getattr(DataConfig, name)


def test_fields_of_careamics_are_those_we_know() -> None:
    assert set(Configuration.model_fields) == {
        "version",
        "experiment_name",
        "algorithm_config",
        "data_config",
        "training_config",
    }
    assert set(DataConfig.model_fields) <= set(DenoiSplitDataConfig.model_fields)
    assert set(DenoiSplitDataConfig.model_fields) - set(DataConfig.model_fields) == {
        "patches_per_epoch",
        "validation_split",
        "validation_fraction",
    }
    assert set(TrainingConfig.model_fields) == {
        "trainer_params",
        "logger",
        "checkpoint_params",
        "early_stopping_params",
    }


def test_the_configuration_is_one_of_careamics() -> None:
    config = create_denoisplit_config("my experiment", ("er", "actin"))

    assert isinstance(config, Configuration)
    assert config.get_safe_experiment_name() == "my_experiment"
    assert config.get_algorithm_friendly_name() == "denoiSplit"
    assert "er, actin" in config.get_algorithm_description()
    assert config.get_algorithm_citations()[0].url is not None
    assert "arxiv" in config.get_algorithm_references()
    assert "splitting" in config.get_algorithm_keywords()
    assert config.is_supervised()
    assert not config.data_config.is_3D()


def test_careamics_may_write_into_its_own_parts() -> None:
    config = create_denoisplit_config("x", ("er", "actin"))
    config.training_config.trainer_params["enable_progress_bar"] = False
    config.data_config.normalization.set_input_stats([1.0], [2.0])
    config.data_config.axes = "SYX"

    assert config.to_plain()["data_config"]["normalization"]["input_stds"] == [2.0]


def test_careamist_reads_from_a_configuration_what_ours_has() -> None:
    source = inspect.getsource(CAREamist.__init__) + inspect.getsource(careamics_configuration)

    assert 'config.training_config.trainer_params["enable_progress_bar"]' in source
    assert "self.config.get_safe_experiment_name()" in source
