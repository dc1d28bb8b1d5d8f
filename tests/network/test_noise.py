"""Posterior noise from a counter: normal, reproducible, the same in every tile."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from careamics_denoisplit.network import CounterNoise, GivenNoise, Noise, PosteriorMean, TorchNoise
from careamics_denoisplit.network.noise import counter_normal, mix, scalar_hash


def draw(
    seed: int = 1, pair: int = 0, level: int = 0, origin: tuple[int, int] = (0, 0), z: int = 8
) -> torch.Tensor:
    return counter_normal(torch.zeros(z, 64, 64), seed, pair, level, origin)


def test_counter_noise_is_standard_normal() -> None:
    values = counter_normal(torch.zeros(16, 128, 128), 5, 0, 0, (0, 0)).flatten()

    assert abs(values.mean().item()) < 4 / math.sqrt(values.numel())
    assert abs(values.var().item() - 1) < 4 * math.sqrt(2 / values.numel())
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("dimension", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 4])
def test_counter_noise_is_not_correlated_with_its_neighbours(dimension: int, lag: int) -> None:
    values = counter_normal(torch.zeros(16, 128, 128), 5, 0, 0, (0, 0))
    length = values.shape[dimension] - lag
    product = values.narrow(dimension, 0, length) * values.narrow(dimension, lag, length)

    assert abs(product.mean().item()) < 4 / math.sqrt(product.numel())


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"seed": -1}, {"seed": 2**40 + 1}, {"pair": 1}, {"level": 1}],
    ids=str,
)
def test_another_seed_pair_or_level_draws_other_noise(other: dict[str, int]) -> None:
    first, second = draw(), draw(**other)

    correlation = (first * second).mean().item()
    assert abs(correlation) < 4 / math.sqrt(first.numel())


def test_sine_and_cosine_halves_are_not_correlated_in_square() -> None:
    first, second = draw(z=16).chunk(2)

    correlation = torch.corrcoef(torch.stack((first.flatten() ** 2, second.flatten() ** 2)))[0, 1]
    assert abs(correlation.item()) < 4 / math.sqrt(first.numel())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(y=st.integers(0, 40), x=st.integers(0, 40), channels=st.integers(1, 5), seed=st.integers(0))
def test_tiles_draw_the_same_noise_where_they_overlap(
    y: int, x: int, channels: int, seed: int
) -> None:
    whole = counter_normal(torch.zeros(channels, 64, 64), seed, 3, 1, (100, 200))
    tile = counter_normal(torch.zeros(channels, 24, 24), seed, 3, 1, (100 + y, 200 + x))

    assert torch.equal(tile, whole[:, y : y + 24, x : x + 24])


def test_samples_of_a_pair_are_antithetic() -> None:
    noise = CounterNoise(0, (6, 7, 8), ((0, 0),) * 3, size_multiple=8, levels=3)

    drawn = noise(1, torch.zeros(3, 4, 16, 16))

    assert torch.equal(drawn[0], -drawn[1])
    assert not torch.equal(drawn[0].abs(), drawn[2].abs())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(order=st.permutations(range(4)))
def test_counter_noise_does_not_depend_on_the_order_of_the_batch(order: list[int]) -> None:
    origins = ((0, 0), (0, 16), (32, 0), (16, 16))
    latent = torch.zeros(4, 3, 8, 8)
    straight = CounterNoise(9, range(4), origins, size_multiple=16, levels=3)(0, latent)
    shuffled = CounterNoise(9, order, [origins[i] for i in order], size_multiple=16, levels=3)

    assert torch.equal(shuffled(0, latent), straight[list(order)])


def test_origins_off_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16 pixels, got \[\(8, 0\)\]"):
        CounterNoise(0, (0,), ((8, 0),), size_multiple=16, levels=4)


def test_samples_and_origins_must_agree() -> None:
    with pytest.raises(ValueError, match="2 sample numbers for 1 origins"):
        CounterNoise(0, (0, 1), ((0, 0),), size_multiple=16, levels=4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=st.integers(0, 2**62 - 1))
def test_the_hash_is_exact_integer_arithmetic(value: int) -> None:
    reduced = (value + 15485863) % 2147483579

    assert mix(torch.tensor(value)).item() == pow(reduced, 3, 2147483579)


def test_the_scalar_hash_tells_signs_and_large_seeds_apart() -> None:
    seeds = (0, 1, -1, 2**31, 2**32, 2147483579)

    assert len({scalar_hash(seed, 0, 0) for seed in seeds}) == len(seeds)


def test_tracing_follows_the_size_of_the_latent() -> None:
    traced = torch.jit.trace(
        lambda like: counter_normal(like, 4, 1, 2, (0, 0)), torch.zeros(5, 8, 8)
    )
    like = torch.randn(5, 24, 40)

    assert torch.equal(traced(like), counter_normal(like, 4, 1, 2, (0, 0)))
    assert "aten::arange" not in str(traced.graph)


@pytest.mark.parametrize("kind", [TorchNoise(), PosteriorMean(), GivenNoise([])], ids=type)
def test_every_kind_is_a_noise(kind: Noise) -> None:
    assert isinstance(kind, Noise)


def test_given_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"level 0 has shape \(1, 2, 4, 4\), the latent"):
        GivenNoise([torch.zeros(1, 2, 4, 4)])(0, torch.zeros(1, 2, 8, 8))
