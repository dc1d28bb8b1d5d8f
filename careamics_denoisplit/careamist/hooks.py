"""What careamics' front end does behind its verbs, done for a run folder of denoiSplit.

These are the only places that know `CAREamist` from the inside; each has a test that fails when
careamics changes it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from careamics import CAREamist
from careamics.lightning.callbacks import ConfigSaverCallback, ProgressBarCallback
from careamics.lightning.utils.csv_logger import Series, TrainingReport
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from careamics_denoisplit.careamist.former_model import (
    has_weights_of,
    read_former_model,
    warn_of_dropped,
    with_fits_of,
)
from careamics_denoisplit.careamist.progress import pass_progress
from careamics_denoisplit.careamist.starting import settings_for_new_data
from careamics_denoisplit.checkpoint import (
    MANIFEST,
    MODEL,
    TrainedModel,
    load_model,
    save_model,
)
from careamics_denoisplit.config import DenoiSplitConfiguration, load_configuration
from careamics_denoisplit.data import DenoiSplitDataModule
from careamics_denoisplit.errors import ChangedError, CheckpointError, ConfigurationError
from careamics_denoisplit.files import lock_run
from careamics_denoisplit.lightning_module import DenoiSplitModule
from careamics_denoisplit.packages import load_package
from careamics_denoisplit.prediction import Progress
from careamics_denoisplit.training import read_metrics

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
OWN_COLUMNS = frozenset({"epoch", "step", "seconds", "train_loss", "val_loss", "learning_rate"})


class RunFolderCAREamist(CAREamist):
    """`CAREamist` whose files all lie in one run folder; the verbs are added by its subclass."""

    config: DenoiSplitConfiguration
    model: DenoiSplitModule | None  # type: ignore[assignment]  # there is no network without statistics
    trainer: Trainer | None  # type: ignore[assignment]  # made when training starts
    train_datamodule: DenoiSplitDataModule | None  # type: ignore[assignment]  # built on careamics' readers, not on its class

    def __init__(
        self,
        config: Any = None,
        *,
        checkpoint_path: Path | str | None = None,
        bmz_path: Path | str | None = None,
        work_dir: Path | str | None = None,
        callbacks: list[Callback] | None = None,
        enable_progress_bar: bool = True,
    ) -> None:
        # careamics' constructor is not called: it makes a trainer, whose settings may not suit
        # this machine, and loggers that a continued run would lose its curves to.
        if work_dir is None and checkpoint_path is not None:
            work_dir = _run_of(Path(checkpoint_path))
        self.checkpoint_path = checkpoint_path
        self.bmz_path = bmz_path
        self.work_dir = self._resolve_work_dir(work_dir)
        self.trained: TrainedModel | None = None
        self._packaged: TrainedModel | None = None
        self.noise_models: tuple[Any, ...] = ()
        self._manifest = self._stored_manifest()
        self._follows_run = self._opens_run()
        self.config, self.model = self._load_model(config, checkpoint_path, bmz_path)
        self.run_version = 0
        self.enable_progress_bar = enable_progress_bar
        self.callbacks = self._define_callbacks(callbacks, self.config, self._get_checkpoint_root())
        self.trainer = None
        self.train_datamodule = None

    def stop_training(self) -> None:
        """End the training after the current step; it can be continued."""
        if self.trainer is not None:
            super().stop_training()

    def get_checkpoints(self) -> list[Path]:
        """Return the checkpoints of the run that exist: the best, then the last."""
        root = self._get_checkpoint_root()
        return [root / name for name in (BEST, LAST) if (root / name).is_file()]

    def get_losses(self) -> TrainingReport:
        """Return the training curves.

        Returns
        -------
        TrainingReport
            Losses, learning rate and all other columns of `logs/metrics.csv`, by epoch.

        Raises
        ------
        CheckpointError
            If the run has not finished an epoch.
        """
        rows = read_metrics(self.work_dir / "logs" / "metrics.csv")
        if not rows:
            raise CheckpointError(
                f"{self.work_dir} has no training curves yet. They appear after the first epoch."
            )

        def series(column: str) -> Series:
            known = [row for row in rows if row.get(column)]
            return Series(
                [int(row["epoch"]) for row in known], [float(row[column]) for row in known]
            )

        others = [name for name in rows[0] if name not in OWN_COLUMNS]
        return TrainingReport(
            series("train_loss"),
            series("val_loss"),
            series("learning_rate"),
            {name: series(name) for name in others},
        )

    def _load_model(  # type: ignore[override]  # our configuration and module
        self,
        config: Any,
        checkpoint_path: Path | str | None,
        bmz_path: Path | str | None,
    ) -> tuple[DenoiSplitConfiguration, DenoiSplitModule | None]:
        count = sum(each is not None for each in (config, checkpoint_path, bmz_path))
        if count != 1:
            raise ConfigurationError(
                "Exactly one of `config`, `checkpoint_path`, or `bmz_path` must be provided, got "
                f"{count}."
            )
        if config is not None:
            return self._from_config(config)
        if bmz_path is not None:
            package = load_package(bmz_path)
            self.trained, self._packaged = package.trained, package.as_trained
            return settings_for_new_data(self.trained.config), _module_of(self.trained)
        if checkpoint_path is None:  # excluded above, which a type checker cannot see
            raise ConfigurationError("`checkpoint_path` must be provided.")
        if _has_only_begun(Path(checkpoint_path)):
            return self._from_config(Path(checkpoint_path) / "config.yaml")
        self.trained = load_model(checkpoint_path)
        return self.trained.config, _module_of(self.trained)

    @staticmethod
    def _from_config(  # type: ignore[override]  # our configuration; no network before its data
        config: Any,
    ) -> tuple[DenoiSplitConfiguration, None]:
        if isinstance(config, str | Path):
            return load_configuration(config), None
        if not isinstance(config, DenoiSplitConfiguration):
            raise ConfigurationError(
                f"`config` must be a DenoiSplitConfiguration or a file, got "
                f"{type(config).__name__}. Make one with `create_denoisplit_config`."
            )
        return config, None

    @staticmethod
    def _from_checkpoint(  # type: ignore[override]  # our configuration and module
        checkpoint_path: Path | str,
    ) -> tuple[DenoiSplitConfiguration, DenoiSplitModule]:
        trained = load_model(checkpoint_path)
        return trained.config, _module_of(trained)

    @staticmethod
    def _from_bmz(  # type: ignore[override]  # our configuration and module
        bmz_path: Path | str,
    ) -> tuple[DenoiSplitConfiguration, DenoiSplitModule]:
        trained = load_package(bmz_path).trained
        return trained.config, _module_of(trained)

    @staticmethod
    def _define_callbacks(  # type: ignore[override]  # our configuration
        callbacks: list[Callback] | None, config: DenoiSplitConfiguration, ckpt_root: Path
    ) -> list[Callback]:
        own = (ModelCheckpoint, EarlyStopping, ConfigSaverCallback, ProgressBarCallback)
        for callback in callbacks or []:
            if isinstance(callback, own):
                raise ConfigurationError(
                    f"The callback {type(callback).__name__} is set up by the training itself. "
                    "Change it through `training_config` (`checkpoint_params`, "
                    "`early_stopping_params`) or `enable_progress_bar`."
                )
        return list(callbacks or [])

    @staticmethod
    def _create_loggers(*args: Any, **kwargs: Any) -> list[Any]:
        # The training makes them, in the run folder, so that a continued run keeps its curves.
        return []

    def _get_checkpoint_root(self) -> Path:
        return self.work_dir / CHECKPOINTS

    def _get_default_ckpt(self, checkpoint: str | Path | None) -> Path:
        if checkpoint is None:
            return self.work_dir / MODEL
        known = {
            "best": self.work_dir / CHECKPOINTS / BEST,
            "last": self.work_dir / CHECKPOINTS / LAST,
        }
        return known.get(str(checkpoint), Path(checkpoint))

    def _build_predict_datamodule(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "denoiSplit predicts without a data module: it reads plane by plane. Use `predict`."
        )

    def _trained_model(self, checkpoint: str | Path | TrainedModel | None) -> TrainedModel:
        """Return the model to work with: a checkpoint, that in memory, or that of the run."""
        if isinstance(checkpoint, TrainedModel):
            return checkpoint
        if checkpoint is not None:
            return load_model(self._get_default_ckpt(checkpoint))
        stored = self._stored_manifest()
        if self.trained is None:
            if not (self.work_dir / MODEL).is_dir():
                raise CheckpointError(
                    f"There is no trained model in {self.work_dir}. Call `train` first, or open a "
                    "run with `checkpoint_path=`."
                )
            self.trained, self._follows_run = load_model(self.work_dir), True
            self._manifest = stored
        elif self._follows_run and stored not in (None, self._manifest):
            # Another process went on with the run, such as `denoisplit distil RUN`.
            self.trained = load_model(self.work_dir / MODEL)
            self._manifest = stored
            if self.model is not None:  # else the configuration is one to train with
                self.config, self.model = self.trained.config, _module_of(self.trained)
        return self.trained

    def _keep(self, trained: TrainedModel) -> None:
        """Write the model into the run folder and go on with it.

        Raises
        ------
        ChangedError
            If another process has changed the folder since the work began.
        LockedError
            If another process works on the run.
        """
        with lock_run(self.work_dir):
            if self._stored_manifest() != self._manifest:
                raise ChangedError(
                    f"Another process changed {self.work_dir / MODEL} in the meantime, so this "
                    "result was not written and nothing was overwritten. Run the command again "
                    "(in Python open the run again first): it starts from what is there now."
                )
            self._write(trained)

    def _keep_training(self, module: DenoiSplitModule) -> None:
        """Write what was trained into the run, which training has locked and may replace."""
        self._replace(TrainedModel.of(module))

    def _keep_stopped_training(self) -> None:
        """Bring the model of a run that went on up to its best weights; it has to be quick."""
        if not (self.work_dir / MODEL).is_dir():
            return  # without it the checkpoint itself is the model of the run
        try:
            with lock_run(self.work_dir):
                for checkpoint in self.get_checkpoints()[:1]:
                    self._replace(load_model(checkpoint), only_changed=True)
        except Exception as error:  # noqa: BLE001 - the user must see that training was stopped
            logger.warning(
                "%s still holds the weights of before, those of checkpoints/%s could not be "
                "taken: %s",
                self.work_dir / MODEL,
                BEST,
                error,
            )

    def _replace(self, trained: TrainedModel, *, only_changed: bool = False) -> None:
        """Replace the model of the run; what was fitted to the same weights is carried over."""
        former = read_former_model(self.work_dir / MODEL)
        if former is None:
            self._write(trained)
        elif not has_weights_of(trained, former):
            self._write(trained)
            warn_of_dropped(former)
        elif not only_changed:
            self._write(with_fits_of(trained, former))

    def _write(self, trained: TrainedModel) -> None:
        folder = save_model(self.work_dir / MODEL, trained)
        self.trained, self._follows_run = replace(trained, source=folder), True
        self._manifest = self._stored_manifest()

    def _stored_manifest(self) -> bytes | None:
        """Read the hashes of the run's model, by which a change is noticed; None without model."""
        try:
            return (self.work_dir / MODEL / MANIFEST).read_bytes()
        except OSError:
            return None

    def _resumes(self) -> bool:
        """Say whether the opened path is a run that training continues."""
        if self.checkpoint_path is None:
            return False
        path = Path(self.checkpoint_path).absolute()
        if self._opens_run() or path == self._get_checkpoint_root() / LAST:
            return True
        raise ConfigurationError(
            f"Training continues a run from its last checkpoint, in its own folder; got "
            f"{path} with the run folder {self.work_dir}. Open the run folder itself."
        )

    def _opens_run(self) -> bool:
        """Say whether the run was opened, not a checkpoint or package of its own."""
        if self.checkpoint_path is None:
            return False
        path = Path(self.checkpoint_path).absolute()
        return path in (self.work_dir, self.work_dir / MODEL)

    def _remember(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @contextmanager
    def _progress(self, what: str) -> Iterator[Progress | None]:
        """Show progress with the time left, unless it was switched off."""
        if not self.enable_progress_bar:
            yield None
            return
        with pass_progress(what) as advance:
            yield advance


def _run_of(path: Path) -> Path:
    """Return the run folder that a checkpoint or a model folder belongs to."""
    path = path.absolute()
    if path.suffix == ".ckpt":
        return path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    return path.parent if path.name == MODEL else path


def _has_only_begun(path: Path) -> bool:
    """Say whether a run was stopped before its first checkpoint."""
    begun = (path / "config.yaml").is_file() and not (path / "manifest.json").is_file()
    return begun and not (path / MODEL).exists() and not (path / CHECKPOINTS).exists()


def _module_of(trained: TrainedModel) -> DenoiSplitModule:
    """Put a trained network into a Lightning module, without copying it."""
    module = DenoiSplitModule(trained.config, trained.statistics, trained.noise_models)
    module.network = trained.network
    return module.eval()
