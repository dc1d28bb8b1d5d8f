"""Files of configurations."""

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.config import (
    changed_keys,
    configuration_from_dict,
    create_denoisplit_config,
    load_configuration,
    save_configuration,
)
from careamics_denoisplit.errors import ConfigurationError

CONFIG = create_denoisplit_config("er actin", ("F-actin", "er"), seed=3)
PLAIN = CONFIG.to_plain()


def mappings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every mapping inside a configuration."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from mappings(inner, (*path, key))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every setting."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The plain configuration with one setting replaced."""
    plain = copy.deepcopy(PLAIN)
    inner = plain
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return plain


MODELS = [path for path in mappings(PLAIN) if path[-1:] and "params" not in path[-1]]


def value_at(path: tuple[str, ...]) -> Any:
    """The setting at a path."""
    return functools.reduce(lambda inner, key: inner[key], path, PLAIN)


NUMBERS = [path for path in leaves(PLAIN) if type(value_at(path)) in (int, float)]


def test_a_configuration_comes_back_equal_from_its_file(tmp_path: Path) -> None:
    path = save_configuration(CONFIG, tmp_path / "config.yaml")

    assert path.is_absolute()
    assert load_configuration(path) == CONFIG


def test_a_configuration_is_plain_json() -> None:
    assert configuration_from_dict(json.loads(json.dumps(PLAIN, allow_nan=False))) == CONFIG


@pytest.mark.parametrize("path", [(), *MODELS], ids=lambda path: ".".join(path) or "top")
def test_c1_an_unknown_key_is_refused_at_every_level(path: tuple[str, ...]) -> None:
    key = ".".join((*path, "surely_unknown"))
    with pytest.raises(ConfigurationError, match="surely_unknown") as caught:
        configuration_from_dict(changed((*path, "surely_unknown"), 1))
    assert key in str(caught.value) or "parameters" in key


@pytest.mark.parametrize(
    ("path", "typo", "nearest"),
    [
        (("algorithm_config", "model"), "filterz", "filters"),
        (("algorithm_config",), "kl_wieght", "kl_weight"),
        (("data_config",), "batchsize", "batch_size"),
        (("data_config", "normalization"), "input_mean", "input_means"),
        (("data_config", "patching"), "patchsize", "patch_size"),
        (("training_config",), "trainer_parms", "trainer_params"),
        (("training_config", "trainer_params"), "max_epoch", "max_epochs"),
        ((), "algoritm_config", "algorithm_config"),
    ],
)
def test_c1_the_nearest_key_is_named(path: tuple[str, ...], typo: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Did you mean `{nearest}`"):
        configuration_from_dict(changed((*path, typo), 1))


@pytest.mark.parametrize("path", NUMBERS, ids=".".join)
@pytest.mark.parametrize("value", [True, float("inf"), float("nan"), "many"])
def test_c1_no_number_takes_truth_infinity_or_text(path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration_from_dict(changed(path, value))
    assert next(key for key in reversed(path) if not key.isdigit()) in str(caught.value)


@pytest.mark.parametrize(
    "key", ["seed", "n_val_patches", "augmentations", "patch_filter", "mask_filter"]
)
def test_c1_settings_of_careamics_without_effect_are_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Unknown key `data_config.{key}`"):
        configuration_from_dict(changed(("data_config", key), None))


def test_c1_settings_of_careamics_without_effect_are_refused_in_python_too() -> None:
    with pytest.raises(ConfigurationError, match="train_dataloader_params"):
        configuration_from_dict(
            changed(("data_config", "train_dataloader_params"), {"shuffle": False})
        )


YAML = "experiment_name: x\nalgorithm_config:\n  channel_names: [{names}]\n"


@pytest.mark.parametrize("names", ["no, on", "'1e3', yes", "off, y"])
def test_c2_names_stay_text(tmp_path: Path, names: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(YAML.format(names=names), encoding="utf-8")

    labels = load_configuration(file).algorithm_config.channel_labels
    assert labels == tuple(name.strip(" '") for name in names.split(","))


@pytest.mark.parametrize("names", ["1e3, er", "true, er", "er, 7", "er, null", "[er], actin"])
def test_c2_names_that_are_no_text_are_refused(tmp_path: Path, names: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(YAML.format(names=names), encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"config.yaml: .*must be text"):
        load_configuration(file)


def test_c2_a_number_in_powers_of_ten_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(YAML.format(names="er, actin") + "  kl_weight: 1e-3\n", encoding="utf-8")

    assert load_configuration(file).algorithm_config.kl_weight == 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "twice"),
        ("a: !!python/object/apply:os.system [ls]\n", "tag"),
        ("a: &x [1]\nb: *x\n", "anchor"),
        ("- 1\n- 2\n", "key: value"),
        ("a:\n\t- 1\n", "YAML"),
        ("[" * 3000, "nesting|YAML"),
        ("", "key: value"),
    ],
)
def test_c2_yaml_traps_are_errors(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=message):
        load_configuration(file)


def test_c2_a_byte_order_mark_is_harmless(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(YAML.format(names="er, actin"), encoding="utf-8-sig")

    assert load_configuration(file).channel_names == ("er", "actin")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no configuration file .*gone\.yaml"):
        load_configuration(tmp_path / "gone.yaml")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="mapping of settings"):
        configuration_from_dict(value)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(names=st.integers(1, 5), outputs=st.integers(1, 5), labels=st.integers(1, 5))
def test_c3_counts_that_disagree_are_refused(names: int, outputs: int, labels: int) -> None:
    plain = copy.deepcopy(PLAIN)
    plain["algorithm_config"]["channel_names"] = [f"c{i}" for i in range(names)]
    plain["algorithm_config"]["channel_labels"] = [f"c{i}" for i in range(labels)]
    plain["algorithm_config"]["model"]["output_channels"] = outputs
    if names == outputs == labels and names > 1:
        assert configuration_from_dict(plain).channel_names == tuple(f"c{i}" for i in range(names))
    else:
        with pytest.raises(ConfigurationError, match=r"channel names|at least 2 channels"):
            configuration_from_dict(plain)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 2, "format version 2, this release reads up to 1"),
        ("format_version", 0, "at least 1, got 0"),
        ("format_version", True, "at least 1, got True"),
        ("format_version", "1", "at least 1, got '1'"),
        ("version", "0.2.0", "careamics' format '0.2.0'"),
    ],
)
def test_c4_another_version_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configuration_from_dict(changed((key,), value))


def test_c4_the_file_of_the_first_release_is_still_read() -> None:
    golden = Path(__file__).parent / "config_format_1.yaml"

    assert load_configuration(golden).channel_names == ("F_actin", "er")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("training_config", "trainer_params", "max_epochs"), 7),
        (("training_config", "max_hours"), 3.0),
        (("training_config", "logger"), "tensorboard"),
        (("training_config", "trainer_params", "accelerator"), "cpu"),
        (("data_config", "num_workers"), 3),
        (("data_config", "train_dataloader_params", "multiprocessing_context"), "spawn"),
    ],
)
def test_c4_what_does_not_alter_weights_may_change(path: tuple[str, ...], value: Any) -> None:
    assert changed_keys(CONFIG, configuration_from_dict(changed(path, value))) == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("algorithm_config", "seed"), 4),
        (("algorithm_config", "kl_weight"), 0.25),
        (("algorithm_config", "optimizer", "parameters", "lr"), 0.5),
        (("algorithm_config", "model", "dropout"), 0.3),
        (("data_config", "batch_size"), 2),
        (("data_config", "patching", "patch_size"), [64, 64]),
        (("training_config", "trainer_params", "gradient_clip_val"), 0.1),
    ],
)
def test_c4_what_alters_weights_is_listed(path: tuple[str, ...], value: Any) -> None:
    (line,) = changed_keys(CONFIG, configuration_from_dict(changed(path, value)))

    assert line.startswith(".".join(path))
    assert line.endswith(f"-> {value}")


def test_c4_what_was_inferred_may_stay_open() -> None:
    resolved = configuration_from_dict(changed(("data_config", "axes"), "SCYX"))

    assert changed_keys(resolved, CONFIG) == ()
    assert changed_keys(CONFIG, resolved) == ("data_config.axes: auto -> SCYX",)
