"""The fit of the one-pass spread: single samples teach it mean and spread of many."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.data import Field, ImageView, Plane, planes_of
from careamics_denoisplit.distillation import (
    Crops,
    FittedHead,
    Mixture,
    fit_spread_head,
    middles,
    mixtures_of,
    set_aside,
    spread_loss,
    weights_digest,
)
from careamics_denoisplit.distillation.fit import _Distiller, draw_samples
from careamics_denoisplit.errors import ConfigurationError, DataError, NonFiniteError
from careamics_denoisplit.images import read_images
from careamics_denoisplit.network import PosteriorMean, SpreadOutput
from careamics_denoisplit.prediction import predict_image


@pytest.fixture(scope="module")
def fitted(trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig) -> FittedHead:
    return fit_spread_head(trained.network, mixtures[:3], mixtures[3:], settings, seed=3)


def test_the_fitted_spread_is_that_of_many_samples(
    trained: Any, mixtures: tuple[Mixture, ...], fitted: FittedHead
) -> None:
    image = mixtures[3].crop(0, 0, 64, 64)
    many = predict_image(trained, image, n_samples=100)
    once = predict_image(replace(trained, spread_head=fitted.head), image, spread="distilled")

    assert many.spread is not None
    assert once.spread is not None
    ratio = np.mean(once.spread**2, axis=(1, 2)) / np.mean(many.spread**2, axis=(1, 2))
    assert np.all((ratio > 0.8) & (ratio < 1.25)), ratio
    constant = np.log(many.spread).std()
    error = np.sqrt(np.mean((np.log(once.spread) - np.log(many.spread)) ** 2))
    assert error < constant


def test_the_same_seed_gives_the_same_head_and_another_one_another(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    short = settings.model_copy(update={"steps": 4, "steps_per_validation": 2})

    def head(seed: int) -> torch.Tensor:
        found = fit_spread_head(trained.network, mixtures[:3], mixtures[3:], short, seed=seed)
        return torch.cat([tensor.flatten() for tensor in found.head.state_dict().values()])

    torch.manual_seed(1)
    first = head(7)
    torch.manual_seed(2)

    assert torch.equal(head(7), first)
    assert not torch.equal(head(8), first)


def test_the_network_is_left_as_it_was(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    before = weights_digest(trained.network)
    short = settings.model_copy(update={"steps": 2})

    found = fit_spread_head(trained.network, mixtures[:3], mixtures[3:], short)

    assert weights_digest(trained.network) == before
    assert not trained.network.training
    assert not any(parameter.requires_grad for parameter in found.head.parameters())


def test_steps_are_told_one_by_one(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    told: list[tuple[int, int]] = []
    short = settings.model_copy(update={"steps": 3})

    fit_spread_head(
        trained.network,
        mixtures[:3],
        mixtures[3:],
        short,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupt_ends_the_fit_as_an_interrupt(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_spread_head(trained.network, mixtures[:3], mixtures[3:], settings, progress=interrupt)
    assert not trained.network.training


def test_the_fit_stops_when_validation_does_not_improve(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    told: list[int] = []
    hasty = settings.model_copy(
        update={"learning_rate": 3.0, "steps_per_validation": 2, "patience": 1}
    )

    found = fit_spread_head(
        trained.network,
        mixtures[:3],
        mixtures[3:],
        hasty,
        progress=lambda done, total: told.append(done),
    )

    assert max(told) < hasty.steps
    assert found.steps <= max(told)


def test_the_gradient_is_limited(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    def moved(limit: float) -> float:
        limited = settings.model_copy(update={"steps": 4, "gradient_clip_val": limit})
        head = fit_spread_head(trained.network, mixtures[:3], mixtures[3:], limited).head
        return float(head.get_parameter("out.weight").abs().max())

    # Adam divides by the gradient's own size, but for 1e-8 that it adds.
    assert moved(1e-12) < 1e-3 < moved(1.0)


def test_the_head_that_is_judged_and_kept_is_an_average_over_the_last_steps(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    module = _Distiller(trained.network, settings, seed=0)
    for value in (0.0, 1.0, 2.0):
        torch.nn.init.constant_(module.head.out.bias, value)
        module.on_train_batch_end()

    expected = 0.9 + (2 - 0.9) * 9 / 11
    averaged = module.average.module.get_parameter("out.bias")
    assert torch.allclose(averaged, torch.tensor(expected))

    batch = torch.zeros(1, 1, 16, 16)
    with torch.no_grad():
        module.validation_step(batch, 0)
        module.head.out.bias += 50
        module.validation_step(batch, 0)
    assert module._losses[0] == module._losses[1]


def test_a_loss_that_is_no_number_is_named(
    trained: Any, mixtures: tuple[Mixture, ...], settings: DistillationConfig
) -> None:
    broken = trained.network.__class__(latent_channels=(4, 4), filters=8, stem_stride=2)
    torch.nn.init.constant_(broken.head.bias, float("nan"))

    with pytest.raises(NonFiniteError, match="one-pass spread became nan at step 0"):
        fit_spread_head(broken, mixtures[:3], mixtures[3:], settings)


def test_the_loss_is_smallest_at_mean_and_standard_deviation_of_the_samples() -> None:
    random = torch.Generator().manual_seed(0)
    samples = 3.0 + 0.5 * torch.randn(4000, 1, 1, 2, 2, generator=random)
    correction = torch.zeros(1, 1, 2, 2, requires_grad=True)
    log_std = torch.zeros(1, 1, 2, 2, requires_grad=True)
    optimizer = torch.optim.Adam([correction, log_std], lr=0.05)
    prediction = torch.full((1, 1, 2, 2), 2.0)
    for _ in range(400):
        optimizer.zero_grad()
        spread_loss(prediction, SpreadOutput(correction, log_std), samples).total.backward()
        optimizer.step()

    assert torch.allclose(prediction + correction, samples.mean(0), atol=0.01)
    assert torch.allclose(log_std.exp(), samples.std(0), rtol=0.02)


def test_two_samples_of_a_step_take_noise_of_opposite_sign(trained: Any) -> None:
    x = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = trained.network.encode(x)
        mean = trained.network.decode(features, PosteriorMean(), compute_kl=False).prediction
        both = draw_samples(trained.network, features, 2, torch.Generator().manual_seed(1))
        one = draw_samples(trained.network, features, 1, torch.Generator().manual_seed(1))

    assert both.shape == (2, 3, 2, 16, 16)
    assert torch.allclose(both[0], one[0], atol=1e-5)
    # The decoder is not linear, so the two do not cancel, but nearly.
    assert (both.mean(0) - mean).abs().mean() < 0.2 * (both[0] - mean).abs().mean()


def test_crops_follow_from_seed_and_number_and_have_one_size(
    mixtures: tuple[Mixture, ...],
) -> None:
    small = Mixture(
        Field((), mixtures[0].field.mixture._replace(rows=(0, 20))), mixtures[0].statistics
    )
    crops = Crops([*mixtures, small], 32, 40, multiple=8, seed=5)

    assert crops.side == 16
    assert {tuple(crops[n].shape) for n in range(40)} == {(1, 16, 16)}
    assert torch.equal(crops[3], Crops([*mixtures, small], 32, 9, multiple=8, seed=5)[3])
    assert not torch.equal(crops[3], crops[4])


def test_channels_of_a_share_of_the_crops_come_from_different_places(trained: Any) -> None:
    texture = np.random.default_rng(0).uniform(50, 150, (48, 48)).astype(np.float32)
    opened = read_images(np.stack((texture, 200 - texture)), axes="SYX", name="x", channels=1)
    channels = tuple(
        plane for each in opened for plane in planes_of(ImageView(each, in_memory=True), 0)
    )
    mixture = Mixture(Field(channels), trained.statistics)

    def varying(share: float) -> int:
        crops = Crops([mixture], 16, 40, multiple=8, seed=2, pairing=share)
        return sum(float(crops[number].std()) > 0.1 for number in range(40))

    # In place the two add up to the same everywhere.
    assert varying(0.0) == 0
    assert 10 <= varying(0.5) <= 30
    assert varying(1.0) == 40


def test_measured_mixtures_are_never_taken_apart(mixtures: tuple[Mixture, ...]) -> None:
    apart = Crops(mixtures, 16, 8, multiple=8, seed=2, pairing=1.0)
    whole = Crops(mixtures, 16, 8, multiple=8, seed=2)

    assert all(torch.equal(apart[number], whole[number]) for number in range(8))


def test_no_image_is_refused() -> None:
    with pytest.raises(DataError, match="no image to fit the one-pass spread on"):
        Crops([], 32, 4, multiple=8, seed=0)


def test_rows_set_aside_are_not_fitted_on(mixtures: tuple[Mixture, ...]) -> None:
    fitted, held = set_aside(mixtures, 0.2, 16)

    assert len(fitted) == len(held) == len(mixtures)
    for part, other, whole in zip(fitted, held, mixtures, strict=True):
        assert part.shape[0] + other.shape[0] + 16 == whole.shape[0]
        expected = whole.crop(whole.shape[0] - other.shape[0], 0, *other.shape)
        assert np.array_equal(other.crop(0, 0, *other.shape), expected)


def test_the_middle_of_a_few_images_is_compared(mixtures: tuple[Mixture, ...]) -> None:
    regions = middles(mixtures, 2 * 32 * 32, 8, largest=2)

    assert [region.shape for _, region in regions] == [(32, 32), (32, 32)]
    assert np.array_equal(regions[0][1], mixtures[0].crop(16, 16, 32, 32))
    assert np.array_equal(regions[1][1], mixtures[3].crop(16, 16, 32, 32))


def test_channels_are_mixed_by_the_rule_of_the_training(mixtures: tuple[Mixture, ...]) -> None:
    planes: list[Plane] = [each.field.mixture for each in mixtures[:2]]
    statistics = mixtures[0].statistics.model_copy(
        update={"mixing": "sum", "camera_offsets": (10.0, 20.0)}
    )
    (mixed,) = mixtures_of([Field(tuple(planes))], statistics)

    expected = planes[0].crop(4, 4, 8, 8) + planes[1].crop(4, 4, 8, 8) - 30 + 15
    assert np.allclose(mixed.crop(4, 4, 8, 8), expected, atol=1e-4)


def test_channels_cannot_stand_for_measured_mixtures(mixtures: tuple[Mixture, ...]) -> None:
    measured = mixtures[0].statistics.model_copy(update={"mixing": "measured"})

    with pytest.raises(DataError, match=r"trained on measured mixtures.*--mixture"):
        mixtures_of([Field((mixtures[0].field.mixture,) * 2)], measured)


def test_a_model_without_a_head_is_told_how_to_get_one(trained: Any) -> None:
    with pytest.raises(ConfigurationError, match="no fitted one-pass spread"):
        predict_image(trained, np.zeros((16, 16), np.float32), spread="distilled")
