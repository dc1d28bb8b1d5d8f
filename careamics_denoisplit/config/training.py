"""Settings of the length of training, its callbacks and its logger."""

from typing import Any

from careamics.config.lightning.training_configuration import TrainingConfig
from pydantic import ConfigDict, Field, field_validator

from careamics_denoisplit.config.fields import NonNegative

_COUNTS = ("max_epochs", "limit_train_batches", "accumulate_grad_batches", "check_val_every_n_epoch")


def best_and_last_checkpoints() -> dict[str, Any]:
    """Keep the checkpoint of lowest validation loss and the last one."""
    return {
        "monitor": "val_loss",
        "mode": "min",
        "save_top_k": 1,
        "save_last": True,
        "auto_insert_metric_name": False,
    }


def early_stopping(patience: int) -> dict[str, Any]:
    """Stop when the validation loss has not improved for `patience` epochs."""
    return {
        "monitor": "val_loss",
        "mode": "min",
        "patience": patience,
        "min_delta": 1e-6,
    }


class DenoiSplitTrainingConfig(TrainingConfig):
    """Training configuration of careamics; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, use_attribute_docstrings=True
    )

    checkpoint_params: dict[str, Any] = Field(default_factory=best_and_last_checkpoints)
    """Parameters of Lightning's checkpoint callback."""
    early_stopping_params: dict[str, Any] | None = Field(
        default_factory=lambda: early_stopping(200)
    )
    """Parameters of Lightning's early-stopping callback; None never stops early."""
    max_hours: NonNegative | None = None
    """Hours after which training stops at the end of a step; None sets no limit."""

    @field_validator("trainer_params")
    @classmethod
    def check_trainer_numbers(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse counts that are no positive numbers, before Lightning reads them."""
        for key in _COUNTS:
            value = parameters.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                if key == "max_epochs" and value == -1 and not isinstance(value, bool):
                    continue
                raise ValueError(
                    f"`trainer_params.{key}` must be a number above 0, got {value!r}."
                )
        return parameters
