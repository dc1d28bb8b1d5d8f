"""The module that packages hold: gray values in, channels, their uncertainty and warnings out.

It can be traced: no random operator, no constant that carries a device, no size that is fixed.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from careamics_denoisplit.network.ladder_vae import Features, LadderVAE
from careamics_denoisplit.network.noise import CounterNoise
from careamics_denoisplit.network.spread_head import head_for
from careamics_denoisplit.prediction.warning_channels import Consistency, InputRange
from careamics_denoisplit_export.calibration_layers import JointStd, ScalarStd, per_channel


class ExportGraph(nn.Module):
    """Predict mean and standard deviation of posterior samples, in gray values.

    Either over counter-based samples, or by one pass and a spread head that was fitted to samples.
    The same function as prediction of one tile that starts at the image's origin. Statistics and
    calibration are buffers, so they travel with the weights.

    Parameters
    ----------
    network : LadderVAE
        The network; its dropout layers are replaced, because they would be traced.
    n_samples : int
        Number of posterior samples, at least 2; 0 with a spread head.
    seed : int
        Seed of the samples.
    hidden_units : int
        Width of the joint calibration's hidden layer; 0 is the scalar calibration.
    noise_gaussians, noise_coefficients : sequence of int
        Size of the noise model of each channel; empty leaves out the channel `consistency`.
    input_range_steps : int
        Brightnesses at which the channel `input_range` knows its ranges; 0 leaves it out.
    spread_width : int
        Width of the spread head; 0 takes samples.
    """

    input_gain: Tensor
    input_offset: Tensor
    input_mean: Tensor
    input_std: Tensor
    target_means: Tensor
    target_stds: Tensor

    def __init__(
        self,
        network: LadderVAE,
        n_samples: int,
        seed: int,
        hidden_units: int = 0,
        noise_gaussians: Sequence[int] = (),
        noise_coefficients: Sequence[int] = (),
        input_range_steps: int = 0,
        spread_width: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_samples = n_samples
        self.seed = seed
        channels = network.output_channels
        remove_dropout(network)
        self.spread_head = head_for(network, spread_width) if spread_width else None
        self.calibration = JointStd(channels, hidden_units) if hidden_units else ScalarStd(channels)
        mixtures = tuple(zip(noise_gaussians, noise_coefficients, strict=True))
        self.consistency = Consistency(mixtures) if mixtures else None
        self.input_range = InputRange(input_range_steps) if input_range_steps else None
        self.register_buffer("input_gain", torch.ones(1))
        self.register_buffer("input_offset", torch.zeros(1))
        self.register_buffer("input_mean", torch.zeros(1))
        self.register_buffer("input_std", torch.ones(1))
        self.register_buffer("target_means", torch.zeros(channels))
        self.register_buffer("target_stds", torch.ones(channels))

    def forward(self, raw: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 n y x"]:
        """Split and denoise one image.

        Parameters
        ----------
        raw : torch.Tensor of shape (1, 1, Y, X)
            Gray values of the mixture.

        Returns
        -------
        torch.Tensor of shape (1, N, Y, X)
            Mean of each channel, then calibrated standard deviation of each channel, both in
            the channel's gray values; then the warning channels, without unit.
        """
        height, width = raw.shape[-2:]
        mixture = raw * self.input_gain + self.input_offset
        normalised = (mixture - self.input_mean) / self.input_std
        mean, spread = self.moments(mirror(normalised, self.network.size_multiple))
        crop = (..., slice(None, height), slice(None, width))
        means = mean[crop] * per_channel(self.target_stds) + per_channel(self.target_means)
        spreads = spread[crop] * per_channel(self.target_stds)
        outputs = [means, self.calibration(means, spreads)]
        if self.consistency is not None:
            outputs.append(self.consistency(mixture, means))
        if self.input_range is not None:
            outputs.append(self.input_range(mixture))
        return torch.cat(outputs, dim=1)

    def moments(
        self, x: Float[Tensor, "1 1 y x"]
    ) -> tuple[Float[Tensor, "1 c y x"], Float[Tensor, "1 c y x"]]:
        """Mean and standard deviation of the posterior samples, normalised.

        Parameters
        ----------
        x : torch.Tensor of shape (1, 1, Y, X)
            Normalised image whose sides are multiples of the network's.
        """
        features = self.network.encode(x)
        if self.spread_head is None:
            return self.sampled(features)
        mean_pass = self.network.decode_mean(features)
        spread = self.spread_head(mean_pass.features, features.size)
        return mean_pass.prediction + spread.mean_correction, spread.log_std.exp()

    def sampled(
        self, features: Features
    ) -> tuple[Float[Tensor, "1 c y x"], Float[Tensor, "1 c y x"]]:
        """Mean and unbiased standard deviation over the samples (Welford), normalised.

        Parameters
        ----------
        features : Features
            The encoder's features, computed once.
        """
        mean = self.sample(features, 0)
        squares = mean * 0
        for number in range(1, self.n_samples):
            sample = self.sample(features, number)
            deviation = sample - mean
            mean = mean + deviation / (number + 1)
            squares = squares + deviation * (sample - mean)
        return mean, (squares / (self.n_samples - 1)).sqrt()

    def sample(self, features: Features, number: int) -> Float[Tensor, "1 c y x"]:
        """Decode one posterior sample, normalised.

        Parameters
        ----------
        features : Features
            The encoder's features, computed once.
        number : int
            Number of the sample; 2k and 2k + 1 are antithetic.
        """
        noise = CounterNoise(
            self.seed,
            samples=(number,),
            origins=((0, 0),),
            size_multiple=self.network.size_multiple,
            levels=self.network.levels_count,
        )
        return self.network.decode(features, noise, compute_kl=False).prediction


def build_graph(
    output_channels: int,
    latent_channels: Sequence[int],
    filters: int,
    blocks_per_level: int,
    stem_stride: Literal[1, 2],
    exponential: Literal["stable", "plain"],
    gaussian_head: bool,
    n_samples: int = 0,
    seed: int = 0,
    prior_size: Sequence[int] = (),
    hidden_units: int = 0,
    noise_gaussians: Sequence[int] = (),
    noise_coefficients: Sequence[int] = (),
    input_range_steps: int = 0,
    spread_width: int = 0,
) -> ExportGraph:
    """Build the graph with fresh weights, in evaluation mode, for a state dict to be loaded.

    Parameters
    ----------
    output_channels, latent_channels, filters, blocks_per_level, stem_stride, exponential, \
gaussian_head, prior_size
        Settings of `LadderVAE`; an empty `prior_size` is a prior that is constant in space.
    n_samples, seed, hidden_units, noise_gaussians, noise_coefficients, input_range_steps, \
spread_width
        Settings of `ExportGraph`.
    """
    network = LadderVAE(
        output_channels=output_channels,
        latent_channels=tuple(latent_channels),
        filters=filters,
        blocks_per_level=blocks_per_level,
        gaussian_head=gaussian_head,
        prior_size=(prior_size[0], prior_size[1]) if prior_size else None,
        stem_stride=stem_stride,
        exponential=exponential,
    )
    return ExportGraph(
        network,
        n_samples,
        seed,
        hidden_units,
        noise_gaussians,
        noise_coefficients,
        input_range_steps,
        spread_width,
    ).eval()


def remove_dropout(module: nn.Module) -> None:
    """Replace dropout layers by identities: traced, they would be random operators."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout | nn.Dropout2d):
            setattr(module, name, nn.Identity())
        else:
            remove_dropout(child)


def mirror(x: Float[Tensor, "1 1 y x"], multiple: int) -> Float[Tensor, "1 1 _ _"]:
    """Mirror an image at its bottom and right edge up to whole multiples, as prediction does.

    Parameters
    ----------
    x : torch.Tensor of shape (1, 1, Y, X)
        Image of any size.
    multiple : int
        Stride of the network in pixels.
    """
    height, width = x.shape[-2:]
    rows = mirrored(x[0, 0, :, 0], -height % multiple)
    columns = mirrored(x[0, 0, 0, :], -width % multiple)
    return x.index_select(2, rows).index_select(3, columns)


def mirrored(line: Float[Tensor, " n"], extra: int) -> Int64[Tensor, " _"]:
    """Return the indices that continue a line by `extra` pixels through repeated reflection.

    Computed from the line itself, since a traced `arange` carries a device.
    """
    ones = line.to(torch.int64) * 0 + 1
    period = (2 * (ones.sum() - 1)).clamp(min=1)
    position = ((nn.functional.pad(ones, (0, extra)) * 0 + 1).cumsum(0) - 1) % period
    return torch.minimum(position, period - position)
