"""Fit a spread head to single posterior samples of a network that stays as it is."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.distillation.crops import Crops, Mixture
from careamics_denoisplit.distillation.loss import SpreadTerms, spread_loss
from careamics_denoisplit.errors import NonFiniteError
from careamics_denoisplit.network import Features, LadderVAE, SpreadHead, TorchNoise, head_for
from careamics_denoisplit.prediction import Progress
from careamics_denoisplit.quiet_lightning import quiet_lightning

VALIDATION_CROPS = 16
"""Crops on which the fit is stopped."""

_TRAINING, _VALIDATION = range(2)

_WARM_UP = 50
"""Steps, or a tenth of them all, over which the learning rate rises."""

_AVERAGED = 9
"""The head is the mean of those of about the last 1/9 of the steps (polynomial decay averaging)."""

_CONTEXT_PACE = 1 / 6
"""Share of the learning rate for the look at the surroundings; with all of it fits diverged."""


class FittedHead(NamedTuple):
    """A head, and how it was found."""

    head: SpreadHead
    """The head of the best validation, on the processor."""
    steps: int
    """Steps until then."""
    seconds: float
    """Duration of the whole fit."""
    validation_loss: float
    """Loss of the best validation, nats per pixel."""


def fit_spread_head(
    network: LadderVAE,
    training: Sequence[Mixture],
    validation: Sequence[Mixture],
    settings: DistillationConfig,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FittedHead:
    """Fit a head until the validation loss stops falling, and keep the best one.

    Heads are averaged along the way: single samples make each step noisy, and the best of a few
    noisy heads on a few validation crops is a matter of luck.
    Every draw follows from the seed and the number of its step: crops, and the noise of one or
    two posterior samples of each. No truth is needed.

    Parameters
    ----------
    network : LadderVAE
        The trained network; it is not changed.
    training, validation : sequence of Mixture
        Images to fit on, and to stop on.
    settings : DistillationConfig
        Sizes and durations.
    seed : int
        Seed of everything that is drawn.
    device : torch.device or str
        Where to compute.
    progress : callable, optional
        Called with (finished, all) steps.

    Returns
    -------
    FittedHead
        The head, in evaluation mode.

    Raises
    ------
    DataError
        If there is no image.
    NonFiniteError
        If the loss is not finite.
    """
    began = time.monotonic()
    place = torch.device(device)
    multiple = network.size_multiple
    with _held(network, place):
        fixed = Crops(
            validation, settings.patch_size, VALIDATION_CROPS, multiple=multiple, seed=seed + 1
        )
        count = settings.steps * settings.batch_size
        crops = Crops(
            training,
            settings.patch_size,
            count,
            multiple=multiple,
            seed=seed,
            pairing=settings.pairing,
        )
        module = _Distiller(network, settings, seed)
        module.to(place)
        module.start(DataLoader(fixed, settings.batch_size))
        interval = min(settings.steps_per_validation, settings.steps)
        with quiet_lightning(), _interruptible():
            trainer = lightning.Trainer(
                accelerator="cpu" if place.type == "cpu" else "auto",
                devices=[place.index or 0] if place.type == "cuda" else 1,
                max_epochs=1,
                gradient_clip_val=settings.gradient_clip_val,
                val_check_interval=interval,
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[
                    EarlyStopping("val_loss", patience=settings.patience, mode="min"),
                    _Steps(progress, settings.steps),
                ],
            )
            trainer.fit(
                module,
                DataLoader(crops, settings.batch_size),
                DataLoader(fixed, settings.batch_size),
            )
    head = module.best_head()
    return FittedHead(head, module.best_step, time.monotonic() - began, module.best_loss)


def draw_samples(
    network: LadderVAE, features: Features, count: int, generator: torch.Generator
) -> Float[Tensor, "s b c y x"]:
    """Draw one posterior sample of each image of a batch, or two with noise of opposite sign.

    Parameters
    ----------
    network : LadderVAE
        The network.
    features : Features
        What its encoder made of the batch.
    count : {1, 2}
        Samples of each image.
    generator : torch.Generator
        Source of the noise.
    """
    noise = TorchNoise(generator)
    if count == 1:
        return network.decode(features, noise, compute_kl=False).prediction[None]

    def paired(level: int, mean: Tensor) -> Tensor:
        drawn = noise(level, mean[: len(mean) // 2])
        return torch.cat((drawn, -drawn))

    twice = Features(tuple(torch.cat((each, each)) for each in features.levels), features.size)
    return torch.stack(network.decode(twice, paired, compute_kl=False).prediction.chunk(2))


class _Distiller(lightning.LightningModule):
    """The head in training; the network stands beside it, where no trainer changes its mode."""

    def __init__(self, network: LadderVAE, settings: DistillationConfig, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = head_for(network, settings.width)
        # Shamir and Zhang (2013): later steps weigh more, whatever their number.
        self.average = AveragedModel(
            self.head, avg_fn=lambda mean, new, n: mean + (new - mean) * _AVERAGED / (n + _AVERAGED)
        )
        self.settings = settings
        self.seed = seed
        self.best_step, self.best_loss = 0, math.inf
        self._best: dict[str, Tensor] = {}
        self._beside = (network,)
        self._losses: list[float] = []

    @torch.no_grad()
    def start(self, loader: DataLoader[Tensor]) -> None:
        """Begin with the overall spread of each channel."""
        squares = []
        for number, batch in enumerate(loader):
            prediction, _, samples = self._passes(batch.to(self.device), _VALIDATION, number)
            squares.append((samples - prediction).square().mean(dim=(0, 1, 3, 4)))
        smallest = torch.finfo(torch.float32).tiny
        self.head.start_from(0.5 * torch.stack(squares).mean(dim=0).clamp(min=smallest).log())

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one batch of crops."""
        return self._loss(self.head, batch, _TRAINING, batch_idx).total

    def on_train_batch_end(self, *args: Any) -> None:
        """Take the step into the average."""
        self.average.update_parameters(self.head)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Score the crops that every validation takes, with the same noise."""
        terms = self._loss(self.average.module, batch, _VALIDATION, batch_idx)
        self._losses.append(float(terms.spread))

    def on_validation_epoch_end(self) -> None:
        """Keep the averaged head if it is the best so far."""
        loss = float(np.mean(self._losses))
        self._losses.clear()
        self.log("val_loss", loss)
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.global_step
            self._best = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.average.module.state_dict().items()
            }

    def configure_optimizers(self) -> Any:
        """Adam, its step rising for a while, then falling along half a cosine."""
        rate, steps = self.settings.learning_rate, self.settings.steps
        optimizer = torch.optim.Adam(
            {
                "params": part.parameters(),
                "lr": rate * (_CONTEXT_PACE if part is self.head.context else 1),
            }
            for part in self.head.children()
        )
        warm_up = min(_WARM_UP, steps // 10 + 1)

        def pace(step: int) -> float:
            return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, pace)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def best_head(self) -> SpreadHead:
        """Return the head of the best validation, on the processor."""
        head = self.head.cpu().eval()
        head.load_state_dict(self._best)
        return head.requires_grad_(requires_grad=False)

    def _loss(self, head: nn.Module, batch: Tensor, stream: int, number: int) -> SpreadTerms:
        prediction, features, samples = self._passes(batch, stream, number)
        said = head(features, (batch.shape[-2], batch.shape[-1]))
        terms = spread_loss(prediction, said, samples)
        if not torch.isfinite(terms.total):
            raise NonFiniteError(
                f"The fit of the one-pass spread became {terms.total.item()} at step "
                f"{self.global_step}. Lower `learning_rate` in `distillation_config`."
            )
        return terms

    @torch.no_grad()
    def _passes(self, batch: Tensor, stream: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network: prediction and features of the mean pass, and samples."""
        (network,) = self._beside
        generator = torch.Generator(batch.device)
        entropy = np.random.SeedSequence((self.seed, stream, number))
        generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        encoded = network.encode(batch)
        once = network.decode_mean(encoded)
        samples = draw_samples(network, encoded, self.settings.samples_per_step, generator)
        return once.prediction, once.features, samples


class _Steps(Callback):
    """Tell how many steps are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        """Count a step."""
        if self._progress is not None:
            self._progress(trainer.global_step, self._total)


@contextmanager
def _held(network: LadderVAE, device: torch.device) -> Iterator[None]:
    """Put the network where it computes, as it predicts; afterwards back as it was."""
    training, place = network.training, next(network.parameters()).device
    network.eval().to(device)
    try:
        yield
    finally:
        network.to(place).train(training)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be an interrupt: Lightning makes exit status 1 of it and ignores the next one."""
    main = threading.current_thread() is threading.main_thread()
    former = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if error.code == 1:
            raise KeyboardInterrupt from error
        raise
    finally:
        if main and former is not None:
            signal.signal(signal.SIGINT, former)
