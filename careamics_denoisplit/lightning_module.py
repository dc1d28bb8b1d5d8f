"""One training step and one validation step; every number comes from the other modules."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
import torch
from careamics.metrics import SampleSIPSNR
from torch import Tensor, nn

from careamics_denoisplit.config import DenoiSplitConfiguration, configuration_from_dict
from careamics_denoisplit.data import Batch, Statistics
from careamics_denoisplit.errors import CheckpointError, ConfigurationError, NonFiniteError
from careamics_denoisplit.likelihood import (
    GaussianLikelihood,
    NoiseModelLikelihood,
)
from careamics_denoisplit.losses import LossTerms, loss_for, require_finite
from careamics_denoisplit.network import LadderOutput, LadderVAE, TorchNoise
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel, NoiseModelInfo

GRADIENT_NORM = 0.5
"""Largest norm of all gradients together, where the trainer is given no other."""

WEIGHTS, TRAINING, VALIDATION = range(3)


class DenoiSplitModule(lightning.LightningModule):
    """Train one network with its likelihood, and log every term of the objective.

    Random numbers are derived, never stored: before each step torch is seeded from the seed of
    the configuration and the position of the step. A run that is continued from a checkpoint
    therefore draws what the unbroken run draws.

    Parameters
    ----------
    config : DenoiSplitConfiguration or dict
        The whole configuration, or its JSON form.
    statistics : Statistics or dict
        Means and standard deviations that the data are normalised with.
    noise_models : sequence of C GaussianMixtureNoiseModel
        One for each channel, in the order of the channels; none for a Gaussian likelihood.

    Raises
    ------
    ConfigurationError
        If the number of noise models is not the one that the algorithm needs.
    """

    def __init__(
        self,
        config: DenoiSplitConfiguration | dict[str, Any],
        statistics: Statistics | dict[str, Any],
        noise_models: Sequence[GaussianMixtureNoiseModel] = (),
    ) -> None:
        super().__init__()
        self.config = configuration_from_dict(config) if isinstance(config, dict) else config
        self.statistics = (
            Statistics.model_validate(statistics) if isinstance(statistics, dict) else statistics
        )
        self.algorithm = self.config.algorithm_config
        self.channel_names = tuple(self.algorithm.channel_names)
        # Plain JSON types only: anything else would need pickle to be read again.
        self.save_hyperparameters(
            {
                "config": self.config.to_plain(),
                "statistics": self.statistics.model_dump(mode="json"),
            }
        )
        self.network = self._seeded_network()
        self.likelihood = self._likelihood(noise_models)
        self.loss = loss_for(self.algorithm.algorithm)
        self.noise = TorchNoise()
        self.train_means = EpochMeans()
        self.val_means = EpochMeans()
        self.val_psnr = nn.ModuleDict(
            {
                f"val_psnr_{name}": SampleSIPSNR(len(self.channel_names), output_channel=index)
                for index, name in enumerate(self.channel_names)
            }
        )
        self.skipped_steps = 0
        self.learning_rate = math.nan
        self._schedule: torch.optim.lr_scheduler.LRScheduler | None = None
        self._schedule_state: dict[str, Any] | None = None

    @property
    def noise_models(self) -> tuple[GaussianMixtureNoiseModel, ...]:
        """Noise models in the order of the channels; empty for a Gaussian likelihood."""
        if isinstance(self.likelihood, GaussianLikelihood):
            return ()
        return tuple(self.likelihood.noise_models)  # type: ignore[arg-type]  # ModuleList forgets the type of its members

    def forward(self, x: Tensor) -> Tensor:
        """Predict the channels with one posterior sample.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, Y, X)
            Normalised mixture.

        Returns
        -------
        torch.Tensor of shape (B, C, Y, X)
            Normalised channels.
        """
        prediction: Tensor = self.network(x, self.noise, compute_kl=False).prediction
        return prediction

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, after checking that every term of it is finite.

        Parameters
        ----------
        batch : Batch
            Input (B, 1, Y, X) and target (B, C, Y, X), normalised.
        batch_idx : int
            Position in the epoch.

        Raises
        ------
        NonFiniteError
            Naming the term, its channel or level, and the step.
        """
        self._seed(TRAINING, batch_idx)
        output, terms = self._evaluate(batch)
        require_finite(terms, self.global_step, self.channel_names)
        self.train_means.add(named_terms(terms, output, self.channel_names))
        return terms.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accumulate likelihood, divergence and PSNR of one validation batch."""
        self._seed(VALIDATION, batch_idx)
        output, terms = self._evaluate(batch)
        require_finite(terms, self.global_step, self.channel_names)
        values = torch.stack([terms.reconstruction, terms.divergence]).tolist()
        self.val_means.add(
            dict(zip(("val_loss", "val_kl"), values, strict=True)), weight=len(batch.target)
        )
        for metric in self.val_psnr.values():
            metric.update(output.prediction, batch.target)

    def on_train_epoch_start(self) -> None:
        """Forget the means of the epoch before; not called when an epoch is continued."""
        self.train_means = EpochMeans()

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self.val_means = EpochMeans()
        for metric in self.val_psnr.values():
            metric.reset()

    def on_validation_epoch_end(self) -> None:
        """Publish the validation scores, for early stopping, checkpoints and progress."""
        scores = self.validation_scores()
        self.log("val_loss", scores.pop("val_loss"), prog_bar=True, logger=False)
        self.log_dict(scores, logger=False)

    def on_train_epoch_end(self) -> None:
        """Step the schedule of the learning rate, after validation."""
        self.log_dict(self.train_means.means(), logger=False)
        self.learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self._is_whole_epoch():
            self._step_schedule()

    def validation_scores(self) -> dict[str, float]:
        """Return NLL, divergence and PSNR of the last validation.

        Returns
        -------
        dict of str to float
            `val_loss` is the negative log-likelihood alone, in nats per pixel; `val_kl` the
            scaled divergence; `val_psnr_<channel>` in dB, range-invariant, against the noisy
            channel.
        """
        psnr = {name: float(metric.compute()) for name, metric in self.val_psnr.items()}
        return self.val_means.means() | psnr

    def epoch_row(self) -> dict[str, float]:
        """Return one row of the metrics: all terms of the epoch, averaged over its steps."""
        row = self.train_means.means()
        levels = [value for name, value in row.items() if name.startswith("kl_level_")]
        threshold = max(self.algorithm.free_bits, 1.0)
        row["collapsed_levels"] = sum(nats < threshold for nats in levels)
        row["skipped_steps"] = self.skipped_steps
        return row | self.validation_scores()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build optimiser and schedule; the schedule is stepped and stored by this module."""
        settings = self.algorithm.optimizer
        optimizer: torch.optim.Optimizer = getattr(torch.optim, settings.name)(
            self.network.parameters(), **settings.parameters
        )
        schedule = self.algorithm.lr_scheduler
        self._schedule = getattr(torch.optim.lr_scheduler, schedule.name)(
            optimizer, **schedule.parameters
        )
        if self._schedule is not None and self._schedule_state is not None:
            self._schedule.load_state_dict(self._schedule_state)
        return optimizer

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip all gradients together by their norm, and stop where it is not finite.

        Raises
        ------
        NonFiniteError
            Naming the parameter and the step. Steps that fp16 scaling skips are counted.
        """
        limit = GRADIENT_NORM if gradient_clip_val is None else float(gradient_clip_val)
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        if math.isfinite(norm):
            self.train_means.add({"gradient_norm": norm})
        elif getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.skipped_steps += 1
        else:
            raise NonFiniteError(self._describe_gradient(norm))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then check that all weights and running statistics are still finite.

        Raises
        ------
        NonFiniteError
            Naming the weight and the step.
        """
        super().optimizer_step(*args, **kwargs)
        tensors = {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if tensor.is_floating_point()
        }
        if bool(torch.isfinite(nn.utils.get_total_norm(tensors.values(), torch.inf))):
            return
        wrong = next(name for name, tensor in tensors.items() if not tensor.isfinite().all())
        raise NonFiniteError(
            f"Training stopped at step {self.global_step}: the weight {wrong} is not finite any "
            "more. Weights saved before this step are still finite. Lower the learning rate."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs beside weights and optimiser."""
        checkpoint["denoisplit"] = {
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "train_means": self.train_means.state(),
            "skipped_steps": self.skipped_steps,
            "noise_models": [asdict(model.info) for model in self.noise_models],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` stored."""
        state = checkpoint["denoisplit"]
        self._schedule_state = state["schedule"]
        self.train_means = EpochMeans.from_state(state["train_means"])
        self.skipped_steps = state["skipped_steps"]

    def _evaluate(self, batch: Batch) -> tuple[LadderOutput, LossTerms]:
        output = in_float32(self.network(batch.input, self.noise))
        target = batch.target.float()
        empty = (
            self.likelihood.empty_samples(target)
            if isinstance(self.likelihood, NoiseModelLikelihood)
            else None
        )
        # Intensities and sums of thousands of terms need more digits than half precision has.
        with torch.autocast(self.device.type, enabled=False):
            terms = self.loss(
                output,
                target,
                self.likelihood,
                kl_weight=self.algorithm.kl_weight,
                free_bits=self.algorithm.free_bits,
                empty=empty,
            )
        return output, terms

    def _seed(self, stream: int, batch_idx: int) -> None:
        position = (self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(derive_seed(self.algorithm.seed, stream, *position))

    def _seeded_network(self) -> LadderVAE:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.algorithm.seed, WEIGHTS))
            return LadderVAE(**self.algorithm.model.model_dump())

    def _likelihood(
        self, noise_models: Sequence[GaussianMixtureNoiseModel]
    ) -> NoiseModelLikelihood | GaussianLikelihood:
        name = self.algorithm.algorithm
        expected = len(self.channel_names) if self.algorithm.needs_noise_models else 0
        if len(noise_models) != expected:
            raise ConfigurationError(
                f"The algorithm {name!r} with channels {', '.join(self.channel_names)} needs "
                f"{expected} noise models, got {len(noise_models)}. Fit one for each channel "
                "with `denoisplit noise-model fit`, or choose another algorithm."
            )
        if expected == 0:
            return GaussianLikelihood()
        return NoiseModelLikelihood(
            noise_models, self.statistics.target_means, self.statistics.target_stds
        )

    def _is_whole_epoch(self) -> bool:
        done: int = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return done >= self.trainer.num_training_batches

    def _step_schedule(self) -> None:
        if isinstance(self._schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self._schedule.step(self.val_means.means()["val_loss"])
        elif self._schedule is not None:
            self._schedule.step()

    def _describe_gradient(self, norm: float) -> str:
        wrong = [
            name
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None and not parameter.grad.isfinite().all()
        ]
        where = f" in {len(wrong)} parameters, the first is {wrong[0]}" if wrong else ""
        return (
            f"Training stopped at step {self.global_step}: the gradient norm is {norm}{where}. "
            "Weights saved before this step are still finite. Lower the learning rate, or check "
            "the images for extreme values."
        )


class EpochMeans:
    """Means of named numbers over the steps of an epoch, which can be stored in between."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, float], weight: float = 1.0) -> None:
        """Count each value with a weight.

        Parameters
        ----------
        values : mapping of str to float
            Numbers of one step.
        weight : float
            For example the number of samples behind them.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> dict[str, float]:
        """Return the weighted mean of each name."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, dict[str, float]]:
        """Return plain numbers to store."""
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    @classmethod
    def from_state(cls, state: Mapping[str, Mapping[str, float]]) -> "EpochMeans":
        """Continue from stored numbers."""
        means = cls()
        means._sums = dict(state["sums"])
        means._weights = dict(state["weights"])
        return means


def derive_seed(seed: int, *position: int) -> int:
    """Hash a seed and the position of a step to one 64-bit number.

    Parameters
    ----------
    seed : int
        Seed of the run.
    *position : int
        Stream, epoch, batch, rank: every position gets a stream of its own.
    """
    sequence = np.random.SeedSequence((abs(seed), int(seed < 0), *position))
    return int(sequence.generate_state(1, np.uint64)[0])


def named_terms(
    terms: LossTerms, output: LadderOutput, channel_names: Sequence[str]
) -> dict[str, float]:
    """Name each term of a step as the metrics do.

    Parameters
    ----------
    terms : LossTerms
        Terms of one step.
    output : LadderOutput
        Gives the largest posterior log variance of each level.
    channel_names : sequence of C str
        Names of the channels.

    Returns
    -------
    dict of str to float
        `train_loss`, `reconstruction`, `divergence`, `reconstruction_<channel>` in nats per
        pixel, `kl_level_<i>` in nats per image, `kl_scaled_level_<i>`,
        `largest_log_variance_level_<i>`; level 0 is the finest.
    """
    levels = range(len(terms.kl_per_level))
    names = [
        "train_loss",
        "reconstruction",
        "divergence",
        *(f"reconstruction_{name}" for name in channel_names),
        *(f"kl_level_{level}" for level in levels),
        *(f"kl_scaled_level_{level}" for level in levels),
        *(f"largest_log_variance_level_{level}" for level in levels),
    ]
    scalars = torch.stack([terms.total, terms.reconstruction, terms.divergence])
    values = torch.cat(
        [
            scalars,
            terms.reconstruction_per_channel,
            terms.kl_per_level,
            terms.kl_scaled_per_level,
            torch.stack(output.largest_log_variances).float(),
        ]
    )
    # One transfer from the device instead of one for each number.
    return dict(zip(names, values.detach().tolist(), strict=True))


def in_float32(output: LadderOutput) -> LadderOutput:
    """Return the output of a network that ran in half precision in float32."""
    return LadderOutput(
        output.prediction.float(),
        tuple(kl_map.float() for kl_map in output.kl_maps),
        None if output.log_variance is None else output.log_variance.float(),
        output.largest_log_variances,
    )


def module_from_checkpoint(checkpoint: Mapping[str, Any]) -> DenoiSplitModule:
    """Rebuild the trained module from the content of a checkpoint file.

    Parameters
    ----------
    checkpoint : mapping
        What `torch.load(path, weights_only=True)` returned.

    Raises
    ------
    CheckpointError
        If it is no checkpoint of this package, or its weights do not fit; the message names
        the first tensor that does not.
    """
    try:
        hyper_parameters = checkpoint["hyper_parameters"]
        weights: Mapping[str, Tensor] = checkpoint["state_dict"]
        infos = checkpoint["denoisplit"]["noise_models"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"This is no checkpoint of denoiSplit: it has no entry {error}. Give a run folder, "
            "or import checkpoints of other programs with `denoisplit import`."
        ) from error
    noise_models = [
        _stored_noise_model(weights, index, NoiseModelInfo(**info))
        for index, info in enumerate(infos)
    ]
    module = DenoiSplitModule(
        hyper_parameters["config"], hyper_parameters["statistics"], noise_models
    )
    load_weights(module, weights)
    return module


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights, or name the tensor that does not fit.

    Parameters
    ----------
    module : torch.nn.Module
        Receives the weights.
    weights : mapping of str to torch.Tensor
        Its state dict.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unknown or of another shape.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise CheckpointError(
                f"The checkpoint has no tensor {name} of shape {tuple(tensor.shape)}. It was "
                "written for another architecture: use the configuration it was trained with."
            )
        if weights[name].shape != tensor.shape:
            raise CheckpointError(
                f"The tensor {name} has shape {tuple(weights[name].shape)} in the checkpoint, "
                f"but {tuple(tensor.shape)} in this network. Use the configuration it was "
                "trained with."
            )
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise CheckpointError(
            f"The checkpoint holds a tensor {unknown[0]} that this network does not have. Use "
            "the configuration it was trained with."
        )
    module.load_state_dict(dict(weights))


def _stored_noise_model(
    weights: Mapping[str, Tensor], index: int, info: NoiseModelInfo
) -> GaussianMixtureNoiseModel:
    prefix = f"likelihood.noise_models.{index}."
    return GaussianMixtureNoiseModel(
        weights[f"{prefix}weight"],
        *(float(weights[prefix + name]) for name in ("min_signal", "max_signal", "min_sigma")),
        info=info,
    )
