"""One training step and one validation step; every number comes from the other modules."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning
import torch
from careamics.metrics import SampleSIPSNR
from torch import Tensor, nn

from careamics_denoisplit.config import DenoiSplitConfiguration, configuration_from_dict
from careamics_denoisplit.data import Batch, Statistics
from careamics_denoisplit.errors import ConfigurationError, NonFiniteError
from careamics_denoisplit.lightning_module.monitoring import EpochMeans, Row, named_terms
from careamics_denoisplit.lightning_module.seeds import (
    TRAINING,
    VALIDATION,
    WEIGHTS,
    derive_seed,
)
from careamics_denoisplit.likelihood import (
    GaussianLikelihood,
    NoiseModelLikelihood,
)
from careamics_denoisplit.losses import LossTerms, loss_for, require_finite
from careamics_denoisplit.network import LadderOutput, LadderVAE, TorchNoise
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel

GRADIENT_NORM = 0.5
"""Largest norm of all gradients together, where the trainer is given no other."""


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
        self.val_psnr = nn.ModuleList(
            SampleSIPSNR(len(self.channel_names), output_channel=index)
            for index in range(len(self.channel_names))
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
            dict(zip(("val_loss", "val_kl"), values, strict=True)), weight=float(len(batch.target))
        )
        for metric in self._metrics():
            metric.update(output.prediction, batch.target)

    def on_train_epoch_start(self) -> None:
        """Forget the means of the epoch before; not called when an epoch is continued."""
        self.train_means = EpochMeans()

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self.val_means = EpochMeans()
        for metric in self._metrics():
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
        psnr = {
            f"val_psnr_{name}": float(metric.compute())
            for name, metric in zip(self.channel_names, self._metrics(), strict=True)
        }
        return self.val_means.means() | psnr

    def epoch_row(self) -> Row:
        """Return one row of the metrics: all terms of the epoch, averaged over its steps."""
        row: Row = dict(self.train_means.means())
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
            # A run that is prolonged has another period than the one that was stored.
            period = {k: v for k, v in schedule.parameters.items() if k == "T_max"}
            self._schedule.load_state_dict(self._schedule_state | period)
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
        parameters = list(self.network.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        size = float(norm)
        if math.isfinite(size):
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            self.train_means.add({"gradient_norm": size})
        elif getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.skipped_steps += 1
        else:
            raise NonFiniteError(self._describe_gradient(size))

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

    def _metrics(self) -> tuple[SampleSIPSNR, ...]:
        return tuple(self.val_psnr)  # type: ignore[arg-type]  # ModuleList forgets the type of its members

    def _seed(self, stream: int, batch_idx: int) -> None:
        position = (self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(derive_seed(self.algorithm.seed, stream, *position))

    def _seeded_network(self) -> LadderVAE:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.algorithm.seed, WEIGHTS))
            network = LadderVAE(**self.algorithm.model.model_dump())
        # The layout in memory that CPUs and GPUs compute half precision fastest in.
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # missing in torch's stubs

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


def in_float32(output: LadderOutput) -> LadderOutput:
    """Return the output of a network that ran in half precision in float32."""
    return LadderOutput(
        output.prediction.float(),
        tuple(kl_map.float() for kl_map in output.kl_maps),
        None if output.log_variance is None else output.log_variance.float(),
        output.largest_log_variances,
    )
