"""Where the metrics of each epoch go: a table in the run folder, TensorBoard, W&B."""

import csv
import io
import secrets
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import write_whole
from careamics_denoisplit.lightning_module import Row

_FIRST_COLUMNS = ("epoch", "step", "seconds", "train_loss", "val_loss")


class AppendingCSVLogger(Logger):
    """A table with one row for each epoch that a resumed run continues.

    The file is replaced as a whole for every row, so that a kill cannot cut it. (Lightning's
    logger deletes the table of the run that it continues.)

    Parameters
    ----------
    path : pathlib.Path
        File of the table.
    epochs : int
        Epochs to keep of a table that is already there; rows of later ones come again.
    """

    def __init__(self, path: Path, epochs: int = 0) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows = [row for row in read_metrics(self.path) if int(row["epoch"]) < epochs]
        self._extra: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one version: the run folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the table."""
        return str(self.path.parent)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Keep what other callbacks log; it goes into the row of its epoch."""
        self._extra.update(metrics)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the configuration is stored in the run folder."""

    def add_row(self, row: Row) -> None:
        """Write the row of an epoch.

        Parameters
        ----------
        row : dict of str to number
            Values by column; `epoch` is one of them.

        Raises
        ------
        StorageError
            If the table cannot be written; the former one is then unchanged.
        """
        values = {name: str(value) for name, value in (self._extra | dict(row)).items()}
        self._extra = {}
        self.rows = [*self.rows, values]
        write_whole(self.path, format_metrics(self.rows).encode())


def format_metrics(rows: list[dict[str, str]]) -> str:
    """Return rows as text of a CSV file; columns that a row lacks stay empty."""
    names = {name: None for row in rows for name in row}
    first = [name for name in _FIRST_COLUMNS if name in names]
    columns = first + sorted(set(names) - set(first))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read the table of metrics; an absent one has no rows.

    Parameters
    ----------
    path : pathlib.Path
        File that `AppendingCSVLogger` wrote.

    Returns
    -------
    list of dict
        One dict of text by column for each epoch.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]


def create_loggers(
    config: DenoiSplitConfiguration, folder: Path, *, epochs: int, step: int
) -> list[Logger]:
    """Create the loggers that the configuration names; the table is always one of them.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Its `training_config.logger` is "tensorboard", "wandb" or None.
    folder : pathlib.Path
        Folder of the logs.
    epochs, step : int
        Complete epochs and optimiser steps of the run that is continued; 0 for a new one.

    Raises
    ------
    ConfigurationError
        If the program of the logger is not installed.
    """
    table: list[Logger] = [AppendingCSVLogger(folder / "metrics.csv", epochs)]
    wanted = config.training_config.logger
    if wanted is None:
        return table
    try:
        if wanted == "tensorboard":
            return [_tensorboard(folder, step), *table]
        return [_wandb(config, folder), *table]
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The logger {wanted!r} is not installed. Install it with "
            f"`pip install 'careamics-denoisplit[{wanted}]'`, or set `logger` to null."
        ) from error


def finish_loggers(loggers: Iterable[Logger]) -> None:
    """Close the run of W&B, so that the next training of this process does not continue it."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


def _tensorboard(folder: Path, step: int) -> Logger:
    # Points after the checkpoint come again and replace the former ones.
    return TensorBoardLogger(
        save_dir=folder, name="tensorboard", version="", purge_step=step + 1 if step else None
    )


def _wandb(config: DenoiSplitConfiguration, folder: Path) -> Logger:
    identity = folder / "wandb_run.txt"
    if not identity.is_file():
        write_whole(identity, secrets.token_hex(4).encode())
    folder.joinpath("wandb").mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=config.experiment_name,
        save_dir=folder,
        version=identity.read_text(encoding="utf-8"),
        resume="allow",
        config=config.to_plain(),
    )
