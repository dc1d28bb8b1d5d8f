"""A tile of an image, encoded once and decoded as often as needed."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.network import (
    CounterNoise,
    Features,
    GivenNoise,
    LadderVAE,
    Noise,
    SpreadHead,
)
from careamics_denoisplit.prediction.precision import computing_in, summable
from careamics_denoisplit.prediction.tiling import Tile


@runtime_checkable
class Scale(Protocol):
    """Statistics of the training data in gray values, as `careamics_denoisplit.data` has them."""

    @property
    def input_mean(self) -> float:
        """Mean of the mixture."""

    @property
    def input_std(self) -> float:
        """Standard deviation that the mixture is divided by."""

    @property
    def target_means(self) -> tuple[float, ...]:
        """Mean of each channel."""

    @property
    def target_stds(self) -> tuple[float, ...]:
        """Standard deviation of each channel."""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each channel."""


@runtime_checkable
class Splitter(Protocol):
    """What prediction needs of a trained model: a network and the statistics of its data."""

    @property
    def network(self) -> LadderVAE:
        """The trained network."""

    @property
    def statistics(self) -> Scale:
        """Means and standard deviations of the training data."""


class OnePass(NamedTuple):
    """Mean and standard deviation of many samples as one pass says them, each (1, C, Y, X)."""

    mean: Float[Tensor, "1 c y x"]
    std: Float[Tensor, "1 c y x"]


def spread_head_of(trained: Splitter) -> SpreadHead:
    """Return the fitted head of the one-pass spread.

    Parameters
    ----------
    trained : Splitter
        Model whose attribute `spread_head` holds it, where it was fitted.

    Raises
    ------
    ConfigurationError
        If the model has none.
    """
    head = getattr(trained, "spread_head", None)
    if not isinstance(head, SpreadHead):
        raise ConfigurationError(
            "The spread 'distilled' was asked for, but this model has no fitted one-pass spread. "
            "Run `denoisplit distil RUN` first, or take the spread 'samples'."
        )
    return head


class TilePass:
    """A tile of an image, encoded once and decoded as often as needed.

    Parameters
    ----------
    network : LadderVAE
        The network, in evaluation mode.
    features : Features
        What its encoder made of the tile, a batch of one.
    tile : Tile
        Where the tile lies in the image.
    scale : Scale
        Statistics of the training data.
    advance : callable
        Called after every decoder pass.
    reduced : torch.dtype or None
        Type that the decoder computes in; None is that of its weights.
    """

    def __init__(
        self,
        network: LadderVAE,
        features: Features,
        tile: Tile,
        scale: Scale,
        advance: Callable[[], None],
        reduced: torch.dtype | None = None,
    ) -> None:
        self.network = network
        self.features = features
        self.tile = tile
        self.advance = advance
        self.reduced = reduced
        like = features.levels[0]
        self.device, dtype = like.device, summable(like.dtype)
        self.means = torch.tensor(scale.target_means, dtype=dtype, device=self.device)
        self.stds = torch.tensor(scale.target_stds, dtype=dtype, device=self.device)

    def decode(self, noise: Noise) -> Float[Tensor, "1 c y x"]:
        """Run the decoder once; the prediction is normalised."""
        with computing_in(self.reduced, self.device):
            prediction = self.network.decode(self.features, noise, compute_kl=False).prediction
        self.advance()
        return prediction.to(summable(prediction.dtype))

    def decode_once(self, head: SpreadHead) -> OnePass:
        """Run the decoder with posterior means and let the head say what samples would give."""
        with computing_in(self.reduced, self.device):
            once = self.network.decode_mean(self.features)
            said = head(once.features, self.features.size)
        self.advance()
        wide = summable(once.prediction.dtype)
        mean = once.prediction.to(wide) + said.mean_correction.to(wide)
        return OnePass(mean, said.log_std.to(wide).exp())

    def raw(self, mean: Float[Tensor, "1 c y x"]) -> Float[Tensor, "1 c y x"]:
        """Map normalised channels to gray values, each by the statistics of its own target."""
        return mean * self.stds[:, None, None] + self.means[:, None, None]

    def raw_spread(self, std: Float[Tensor, "1 c y x"]) -> Float[Tensor, "1 c y x"]:
        """Map a normalised standard deviation to gray values."""
        return std * self.stds[:, None, None]

    def samples(self, seed: int, count: int) -> Iterator[Float[Tensor, "1 c y x"]]:
        """Yield posterior samples one by one.

        Samples 2k and 2k + 1 take noise of opposite sign, so every second draw is not computed
        anew.
        """
        for number in range(0, count, 2):
            noise = _Remembered(self._noise(seed, number))
            yield self.decode(noise)
            if number + 1 < count:
                yield self.decode(noise.mirrored())

    def _noise(self, seed: int, number: int) -> CounterNoise:
        return CounterNoise(
            seed,
            [number],
            [(self.tile.y, self.tile.x)],
            size_multiple=self.network.size_multiple,
            levels=self.network.levels_count,
        )


class _Remembered:
    """Noise that keeps what it returned, to return it once more with the other sign."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self.levels: dict[int, Tensor] = {}

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Draw and remember."""
        self.levels[level] = self.noise(level, mean)
        return self.levels[level]

    def mirrored(self) -> GivenNoise:
        """Return the same noise with the other sign; what was remembered is given up."""
        return GivenNoise([self.levels.pop(level).neg_() for level in sorted(self.levels)])
