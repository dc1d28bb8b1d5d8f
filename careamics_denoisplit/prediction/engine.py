"""Run an image through the network tile by tile, within the memory there is."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError, DataError, FaultError, NonFiniteError
from careamics_denoisplit.images import as_float32
from careamics_denoisplit.network import LadderVAE, SpreadHead
from careamics_denoisplit.prediction.decoding import Splitter, TilePass
from careamics_denoisplit.prediction.memory import choose_tiling, halved, is_out_of_memory
from careamics_denoisplit.prediction.precision import Precision, computing_in, reduced_type
from careamics_denoisplit.prediction.tiling import Tile, Tiling

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of finished and of all steps, mostly passes of the decoder."""

Reduce = Callable[[TilePass], Tensor]
"""Makes planes (1, F, y, x) of a tile."""


@dataclass(frozen=True)
class Workload:
    """How much is computed at once, where, and who is told.

    Attributes
    ----------
    tiling : Tiling or None
        Tiles; None chooses them by the free memory.
    batch : int
        Tiles that are handed to the device together. They go through the network one by one all
        the same: convolution libraries choose their algorithm by the batch, and then the last
        bits differ.
    device : torch.device or str or None
        Where to compute; None leaves the network where it is.
    progress : callable or None
        Called with (finished, total) passes of the decoder, over all tiles of the image.
    precision : {"auto", "32", "bf16", "16"}
        Digits of the network's arithmetic; "auto" is float32.
    """

    tiling: Tiling | None = None
    batch: int = 1
    device: torch.device | str | None = None
    progress: Progress | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if self.batch < 1:
            raise ConfigurationError(f"The batch must be 1 tile or more, got {self.batch}.")


def predict_planes(
    trained: Splitter,
    image: Shaped[np.ndarray, "..."],
    reduce: Reduce,
    passes: int,
    workload: Workload,
) -> tuple[Float[Tensor, "f y x"], Tiling]:
    """Reduce every tile of an image to planes and stitch them.

    Where memory runs out the tile is halved and the image is begun anew: its result is that of
    one tiling, whatever went before.

    Parameters
    ----------
    trained : Splitter
        Network and statistics.
    image : numpy.ndarray of shape (Y, X)
        Mixture in raw gray values.
    reduce : callable
        Makes planes (1, F, y, x) of a tile.
    passes : int
        Passes of the decoder that `reduce` makes, for the progress.
    workload : Workload
        How much at once, and where.

    Returns
    -------
    tuple of torch.Tensor of shape (F, Y, X) and Tiling
        Stitched planes, and the tiles that were used.

    Raises
    ------
    DataError, ConfigurationError, NonFiniteError, FaultError
        As listed in `predict_image`.
    """
    raw = _checked(image)
    network = trained.network
    device = _move(network, workload.device)
    head = getattr(trained, "spread_head", None)
    if isinstance(head, SpreadHead):
        head.to(device)
    reduced = reduced_type(workload.precision, device)
    chosen = workload.tiling or choose_tiling(raw.shape, network, device)
    tiling = chosen.aligned(network.size_multiple)
    while True:
        try:
            walk = _Walk(
                trained, tiling, workload.batch, device, reduced, passes, workload.progress
            )
            return walk.planes(raw, reduce), tiling
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = halved(tiling, raw.shape)
            if smaller is None:
                raise FaultError(_out_of_memory_text(raw, tiling, device)) from error
        # Freed only here: while the error is handled, its traceback holds the tensors.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        tiling = smaller
        logger.warning("Out of memory: going on with tiles of %d x %d px.", *tiling.tile)


@dataclass(frozen=True)
class _Walk:
    """One attempt to run all tiles of an image through the network."""

    trained: Splitter
    tiling: Tiling
    batch: int
    device: torch.device
    reduced: torch.dtype | None
    passes: int
    progress: Progress | None

    def planes(self, raw: Float[Tensor, "y x"], reduce: Reduce) -> Float[Tensor, "f y x"]:
        """Stitch what `reduce` makes of each tile."""
        network = self.trained.network
        training = network.training
        network.eval()
        try:
            with torch.inference_mode():
                return self.tiling.stitch(self._reduced(raw, reduce), raw.shape)
        finally:
            network.train(training)

    def _reduced(self, raw: Float[Tensor, "y x"], reduce: Reduce) -> Iterator[Tensor]:
        network, scale = self.trained.network, self.trained.statistics
        plan = self.tiling.plan(raw.shape)
        cuts = self.tiling.cut(raw)
        advance = self._counter(len(plan) * self.passes)
        for first in range(0, len(plan), self.batch):
            pixels = torch.stack(list(islice(cuts, self.batch))).to(self.device)
            normalised = (pixels - scale.input_mean) / scale.input_std
            for tile, item in zip(plan[first : first + self.batch], normalised, strict=True):
                with computing_in(self.reduced, self.device):
                    features = network.encode(item[None, None])
                pass_ = TilePass(network, features, tile, scale, advance, self.reduced)
                planes = reduce(pass_)[0].cpu()
                _require_finite(planes, tile, scale.channel_names)
                yield planes

    def _counter(self, total: int) -> Callable[[], None]:
        """Return what to call after each pass over a tile."""
        finished = 0

        def advance() -> None:
            nonlocal finished
            finished += 1
            if self.progress is not None:
                self.progress(finished, total)

        return advance


def _checked(image: Shaped[np.ndarray, "..."]) -> Float[Tensor, "y x"]:
    """Return the image as float32, or say what is wrong with it."""
    if image.ndim != 2 or image.size == 0:
        raise DataError(
            f"An image to predict needs a height and a width of 1 px or more, got shape "
            f"{image.shape}. Predict stacks plane by plane."
        )
    raw = as_float32(image, "The image to predict")
    bad = ~np.isfinite(raw)
    if bad.any():
        y, x = (int(place[0]) for place in np.nonzero(bad))
        raise DataError(
            f"The image holds {int(bad.sum())} pixels that are NaN or infinite, the first at "
            f"(y={y}, x={x}). Replace them before predicting."
        )
    return torch.from_numpy(raw)


def _move(network: LadderVAE, device: torch.device | str | None) -> torch.device:
    """Move the network where it is asked for, and say where it is."""
    if device is not None:
        try:
            network.to(device)
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            raise ConfigurationError(
                f"The device {str(device)!r} cannot be used: {error}. Use 'cpu' or a device that "
                "this machine has."
            ) from error
    return next(network.parameters()).device


def _require_finite(
    planes: Float[Tensor, "f y x"],
    tile: Tile,
    names: Sequence[str],
) -> None:
    """Stop where the network returned something that is no number."""
    bad = ~torch.isfinite(planes)
    if not bad.any():
        return
    plane = int(bad.flatten(1).any(1).nonzero()[0])
    raise NonFiniteError(
        f"The prediction of tile ({tile}) holds {int(bad[plane].sum())} values that "
        f"are NaN or infinite in channel {names[plane % len(names)]!r}. Check the image there; if "
        "it is in the range of the training data, the weights are damaged."
    )


def _out_of_memory_text(raw: Tensor, tiling: Tiling, device: torch.device) -> str:
    tile = tiling.plan(raw.shape)[0]
    return (
        f"Out of memory on {device} while predicting an image of {raw.shape[0]} x {raw.shape[1]} "
        f"px, even in tiles of {tile.height} x {tile.width} px. Free some memory, or "
        "predict on another device."
    )
