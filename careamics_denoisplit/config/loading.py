"""Reading, writing and comparing configurations; every key is known, or refused by name."""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from lightning.pytorch import Trainer
from pydantic import BaseModel, ValidationError

from careamics_denoisplit import files
from careamics_denoisplit.config.configuration import FORMAT_VERSION, DenoiSplitConfiguration
from careamics_denoisplit.errors import ConfigurationError

_MAX_BYTES = 1_000_000

RESUMABLE_KEYS = (
    "training_config.max_hours",
    "training_config.logger",
    "training_config.trainer_params.max_epochs",
    "training_config.trainer_params.max_time",
    "training_config.trainer_params.logger",
    "training_config.trainer_params.log_every_n_steps",
    "training_config.trainer_params.enable_progress_bar",
    "training_config.trainer_params.enable_model_summary",
    "training_config.trainer_params.accelerator",
    "training_config.trainer_params.devices",
    "data_config.num_workers",
    "data_config.in_memory",
    "data_config.train_dataloader_params",
    "data_config.val_dataloader_params",
    "data_config.pred_dataloader_params",
    "distillation_config",
)
"""Settings that may differ between a run and its continuation: none alters the weights."""

_INFERRED_KEYS = (
    "data_config.axes",
    "data_config.target_axes",
    "data_config.data_type",
    "data_config.normalization.",
)


def configuration_from_dict(values: object) -> DenoiSplitConfiguration:
    """Check plain values strictly and build the configuration.

    Parameters
    ----------
    values : mapping
        Plain JSON types, as `DenoiSplitConfiguration.to_plain` returns them.

    Returns
    -------
    DenoiSplitConfiguration
        The configuration.

    Raises
    ------
    ConfigurationError
        If a key is unknown at any level (the nearest known key is named), if a value has the
        wrong type (``true`` is no number) or is not finite, if settings contradict each other,
        or if the format is of another version.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"A configuration is a mapping of settings, got {type(values).__name__}."
        )
    plain = _migrate(dict(values))
    _refuse_unknown(plain, DenoiSplitConfiguration, "")
    _refuse_unknown_of_trainer(plain)
    _refuse_non_finite(plain, "")
    try:
        text = json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The configuration contains a value that is no text, number, list or mapping: {error}."
        ) from None
    try:
        return DenoiSplitConfiguration.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise explain(error) from None


def load_configuration(path: str | Path) -> DenoiSplitConfiguration:
    """Read a configuration from a YAML or JSON file.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    DenoiSplitConfiguration
        The configuration.

    Raises
    ------
    ConfigurationError
        If the file is absent, no YAML, larger than 1 MB, or not a valid configuration.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(
            f"There is no configuration file {file}. Write one with `denoisplit config`."
        )
    try:
        return configuration_from_dict(files.load_yaml(file, max_bytes=_MAX_BYTES))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def save_configuration(config: DenoiSplitConfiguration, path: str | Path) -> Path:
    """Write a configuration as YAML, whole or not at all.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Configuration to write.
    path : str or Path
        File to write; an existing file is replaced.

    Returns
    -------
    Path
        The absolute path of the file.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    file = Path(path).absolute()
    text = yaml.safe_dump(config.to_plain(), sort_keys=False, allow_unicode=True)
    files.write_whole(file, text.encode("utf-8"))
    return file


def changed_keys(old: DenoiSplitConfiguration, new: DenoiSplitConfiguration) -> tuple[str, ...]:
    """List the settings whose change would alter the weights of a continued training.

    Parameters
    ----------
    old, new : DenoiSplitConfiguration
        Configuration of the run, and the one it shall be continued with.

    Returns
    -------
    tuple of str
        ``key: old -> new`` for each setting that differs and is not one of `RESUMABLE_KEYS`. What
        the new configuration leaves to be inferred from the data counts as equal.
    """
    before, after = dict(_leaves(old.to_plain())), dict(_leaves(new.to_plain()))
    return tuple(
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
        and not any(key == free or key.startswith(f"{free}.") for free in RESUMABLE_KEYS)
        and not (key.startswith(_INFERRED_KEYS) and after.get(key) in ("auto", None))
    )


def explain(error: ValidationError) -> ConfigurationError:
    """Turn pydantic's report into one line: key, what is wrong, what came.

    Parameters
    ----------
    error : pydantic.ValidationError
        Report of pydantic.

    Returns
    -------
    ConfigurationError
        The same in words.
    """
    parts = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "value_error":
            parts.append(f"{key}: {message}" if key else message)
        else:
            came = problem.get("input")
            parts.append(f"{key}: {message}, got {came!r} ({type(came).__name__})")
    return ConfigurationError("; ".join(parts))


_ABSENT = object()


def _migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring the settings of an older format up to date."""
    version = values.get("format_version", FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigurationError(
            f"format_version: must be a whole number of at least 1, got {version!r}."
        )
    if version > FORMAT_VERSION:
        raise ConfigurationError(
            f"The configuration has format version {version}, this release reads up to "
            f"{FORMAT_VERSION}. Update careamics-denoisplit."
        )
    expected = DenoiSplitConfiguration.model_fields["version"].default
    careamics_version = values.get("version", expected)
    if careamics_version != expected:
        raise ConfigurationError(
            f"The configuration is of careamics' format {careamics_version!r}, this release "
            f"reads {expected!r}. Create it anew with `denoisplit config`."
        )
    return values


def _refuse_unknown(values: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    """Refuse keys that the model or any model inside it does not have."""
    fields = {name: field for name, field in model.model_fields.items() if not field.exclude}
    for key, value in values.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in fields:
            raise ConfigurationError(_unknown_key(path, str(key), fields))
        if isinstance(value, Mapping):
            inner = _model_for(fields[key].annotation, value)
            if inner is not None:
                _refuse_unknown(value, inner, path)


def _refuse_unknown_of_trainer(plain: Mapping[str, Any]) -> None:
    """Refuse settings that Lightning's trainer does not have; no model lists them."""
    training = plain.get("training_config")
    given = training.get("trainer_params") if isinstance(training, Mapping) else None
    if not isinstance(given, Mapping):
        return
    known = signature(Trainer).parameters
    for key in given:
        if key not in known:
            path = f"training_config.trainer_params.{key}"
            raise ConfigurationError(_unknown_key(path, str(key), known))


def _unknown_key(path: str, key: str, known: Mapping[str, Any]) -> str:
    """Say which key is unknown and which one was probably meant."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(known)}."
    return f"Unknown key `{path}`. {hint}"


def _model_for(annotation: Any, values: Mapping[str, Any]) -> type[BaseModel] | None:
    """Find the model that a mapping will become; in a union, the one of that `name`."""
    candidates = list(_models_in(annotation))
    for candidate in candidates:
        name = candidate.model_fields.get("name")
        if name is not None and values.get("name", name.default) in get_args(name.annotation):
            return candidate
    return candidates[0] if candidates else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """List the models of an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for inner in get_args(annotation):
            yield from _models_in(inner)


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """List every setting with its path."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{where}.{key}" if where else str(key))
    else:
        yield where, value


def _refuse_non_finite(value: Any, where: str) -> None:
    """Refuse infinite and undefined numbers anywhere."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{where}: must be a finite number, got {value}.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_non_finite(inner, f"{where}[{index}]")
