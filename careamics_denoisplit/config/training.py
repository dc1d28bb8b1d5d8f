"""Settings of the length of training, its callbacks and its logger."""

from typing import Any

from careamics.config.lightning.training_configuration import TrainingConfig
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from pydantic import BaseModel, ConfigDict, Field, field_validator

from careamics_denoisplit.config.fields import NonNegative, Text
from careamics_denoisplit.config.parameters import check_parameters

_COUNTS = (
    "max_epochs",
    "limit_train_batches",
    "accumulate_grad_batches",
    "check_val_every_n_epoch",
)


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


class Origin(BaseModel):
    """Model whose weights a training started from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Text
    """Name of its run or file, without folders."""
    experiment_name: Text
    """What its configuration calls it."""
    weights_sha256: Text
    """Hash of the names and numbers of its tensors."""


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
    origin: Origin | None = None
    """Model whose weights training starts from, written by `train --from`; None starts from random
    weights."""

    @field_validator("trainer_params")
    @classmethod
    def check_trainer_numbers(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse counts that are no positive numbers, before Lightning reads them."""
        endless = parameters.get("max_epochs") == -1 and "max_epochs" in parameters
        check_parameters(
            Trainer,
            parameters,
            positive=[key for key in _COUNTS if key != "max_epochs" or not endless],
            numbers=("gradient_clip_val",),
        )
        return parameters

    @field_validator("checkpoint_params")
    @classmethod
    def check_checkpoint_numbers(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse what is no number where Lightning's checkpoint callback needs one."""
        check_parameters(ModelCheckpoint, parameters)
        return parameters

    @field_validator("early_stopping_params")
    @classmethod
    def check_stopping_numbers(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        """Refuse what is no number where Lightning's early stopping needs one."""
        check_parameters(EarlyStopping, parameters or {})
        return parameters
