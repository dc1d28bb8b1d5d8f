"""The step of training: its terms, its names, its seeds, and its way into a checkpoint."""

import math
from types import ModuleType

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.data import Batch
from careamics_denoisplit.errors import CheckpointError, ConfigurationError, NonFiniteError
from careamics_denoisplit.lightning_module import (
    DenoiSplitModule,
    EpochMeans,
    derive_seed,
    load_weights,
    module_from_checkpoint,
)
from careamics_denoisplit.metrics import psnr_range_invariant

LOGGED = {
    "train_loss",
    "reconstruction",
    "divergence",
    "reconstruction_er",
    "reconstruction_actin",
    "kl_level_0",
    "kl_level_1",
    "kl_scaled_level_0",
    "kl_scaled_level_1",
    "largest_log_variance_level_0",
    "largest_log_variance_level_1",
    "gradient_norm",
    "collapsed_levels",
    "skipped_steps",
    "val_loss",
    "val_kl",
    "val_psnr_er",
    "val_psnr_actin",
}


def fit(
    tiny: ModuleType, module: DenoiSplitModule, *callbacks: lightning.Callback, epochs: int = 1
) -> lightning.Trainer:
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=tiny.make_data(module.config))
    return trainer


def batch_of(module: DenoiSplitModule, tiny: ModuleType) -> Batch:
    return next(iter(tiny.make_data(module.config).train_dataloader()))


def test_every_term_is_in_the_row_of_an_epoch_under_its_name(
    tiny: ModuleType, module: DenoiSplitModule
) -> None:
    fit(tiny, module)

    row = module.epoch_row()

    assert set(row) == LOGGED
    assert all(math.isfinite(value) for value in row.values())
    weighted = module.algorithm.kl_weight * row["divergence"]
    assert row["train_loss"] == pytest.approx(row["reconstruction"] + weighted, rel=1e-6)
    channels = row["reconstruction_er"] + row["reconstruction_actin"]
    assert row["reconstruction"] == pytest.approx(channels / 2, rel=1e-6)
    levels = row["kl_scaled_level_0"] + row["kl_scaled_level_1"]
    assert row["divergence"] == pytest.approx(levels, rel=1e-6)


def test_the_validation_loss_is_the_likelihood_without_the_divergence(
    tiny: ModuleType, module: DenoiSplitModule
) -> None:
    module.eval()
    module.on_validation_epoch_start()
    batch = batch_of(module, tiny)
    with torch.no_grad():
        torch.manual_seed(0)
        module.trainer = lightning.Trainer(accelerator="cpu", logger=False)
        module.validation_step(batch, 0)
        torch.manual_seed(derive_seed(3, 2, 0, 0, 0))
        output = module.network(batch.input, module.noise)
    expected = -module.likelihood.log_prob(batch.target, output).mean()

    scores = module.validation_scores()

    assert scores["val_loss"] == pytest.approx(float(expected), rel=1e-5)
    for index, name in enumerate(("er", "actin")):
        psnr = [
            psnr_range_invariant(truth.numpy(), estimate.numpy())
            for truth, estimate in zip(
                batch.target[:, index], output.prediction[:, index], strict=True
            )
        ]
        assert scores[f"val_psnr_{name}"] == pytest.approx(sum(psnr) / len(psnr), abs=1e-3)


def test_the_row_counts_levels_below_one_nat(module: DenoiSplitModule) -> None:
    module.train_means.add({"kl_level_0": 0.5, "kl_level_1": 7.0})
    module.val_means.add({"val_loss": 1.0, "val_kl": 1.0})
    for metric in module.val_psnr:
        metric.update(torch.rand(1, 2, 8, 8), torch.rand(1, 2, 8, 8))

    assert module.epoch_row()["collapsed_levels"] == 1


class GradientNorms(lightning.Callback):
    """Record the norm of the gradients that the optimiser is given."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:  # type: ignore[no-untyped-def]  # arguments are Lightning's
        gradients = [p.grad for p in pl_module.network.parameters() if p.grad is not None]
        if gradients:
            self.norms.append(float(torch.nn.utils.get_total_norm(gradients)))


def test_gradients_are_clipped_together_to_the_norm_of_one_half(
    tiny: ModuleType, module: DenoiSplitModule
) -> None:
    record = GradientNorms()

    fit(tiny, module, record, epochs=2)

    assert module.epoch_row()["gradient_norm"] > 0.5
    assert record.norms
    assert max(record.norms) == pytest.approx(0.5, rel=1e-4)


def test_the_plateau_is_stepped_after_validation_and_lowers_the_rate(
    tiny: ModuleType, module: DenoiSplitModule
) -> None:
    trainer = fit(tiny, module, epochs=2)

    # The threshold of the test's settings makes every epoch a failure, and two are too many.
    first = module.algorithm.optimizer.parameters["lr"]
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(first / 2)
    assert module.learning_rate == pytest.approx(first)


def test_only_the_network_is_trained(tiny: ModuleType, module: DenoiSplitModule) -> None:
    before = [buffer.clone() for model in module.noise_models for buffer in model.buffers()]

    fit(tiny, module)

    after = [buffer for model in module.noise_models for buffer in model.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_gaussian_system_trains_without_noise_models(tiny: ModuleType) -> None:
    config = tiny.make_config(algorithm="altered_musplit")
    module = DenoiSplitModule(config, tiny.make_data(config).statistics)

    fit(tiny, module)

    assert module.noise_models == ()
    assert math.isfinite(module.epoch_row()["val_loss"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_noise_models_is_refused(tiny: ModuleType, count: int) -> None:
    config = tiny.make_config()
    models = (tiny.make_noise_models() * 2)[:count]

    with pytest.raises(ConfigurationError, match=rf"needs 2 noise models, got {count}"):
        DenoiSplitModule(config, tiny.make_data(config).statistics, models)


def test_e1_a_non_finite_gradient_names_the_parameter(
    tiny: ModuleType, module: DenoiSplitModule
) -> None:
    module.network.head.weight.register_hook(lambda gradient: gradient * float("nan"))

    with pytest.raises(NonFiniteError, match=r"step 0: the gradient norm is nan.*head\.weight"):
        fit(tiny, module)


def test_e1_a_non_finite_weight_names_itself(tiny: ModuleType) -> None:
    config = tiny.make_config(optimizer="SGD", optimizer_params={"lr": 1e38})
    module = DenoiSplitModule(config, tiny.make_data(config).statistics, tiny.make_noise_models())
    module.configure_gradient_clipping = lambda *args, **kwargs: [  # type: ignore[method-assign]  # large finite gradients
        parameter.grad.fill_(1e10)
        for parameter in module.network.parameters()
        if parameter.grad is not None
    ]

    with pytest.raises(NonFiniteError, match=r"the weight stem\.weight is not finite any more"):
        fit(tiny, module)


def test_e8_initial_weights_follow_from_the_seed_alone(tiny: ModuleType) -> None:
    def weights(seed: int) -> torch.Tensor:
        config = tiny.make_config(seed=seed)
        torch.rand(seed + 1)
        module = DenoiSplitModule(
            config, tiny.make_data(config).statistics, tiny.make_noise_models()
        )
        return module.network.head.weight.detach()

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_building_a_module_leaves_the_global_random_state_alone(tiny: ModuleType) -> None:
    config = tiny.make_config()
    statistics = tiny.make_data(config).statistics
    state = torch.get_rng_state()

    DenoiSplitModule(config, statistics, tiny.make_noise_models())

    assert torch.equal(torch.get_rng_state(), state)


positions = st.tuples(*[st.integers(0, 2**40)] * 4)


@settings(deadline=None, derandomize=True)
@given(one=positions, other=positions, seed=st.integers(-(2**63), 2**63))
def test_e8_each_position_has_a_stream_of_its_own(
    one: tuple[int, ...], other: tuple[int, ...], seed: int
) -> None:
    number = derive_seed(seed, *one)

    torch.Generator().manual_seed(number)
    assert 0 <= number < 2**64
    assert derive_seed(seed, *one) == number
    assert (derive_seed(seed, *other) == number) == (one == other)
    assert derive_seed(seed + 1, *one) != number


numbers = st.floats(-1e6, 1e6)


@settings(deadline=None, derandomize=True)
@given(values=st.lists(numbers, min_size=2, max_size=9), cut=st.integers(1, 8), weight=st.just(2.5))
def test_means_that_were_stored_in_between_are_the_same(
    values: list[float], cut: int, weight: float
) -> None:
    whole, first = EpochMeans(), EpochMeans()
    for value in values:
        whole.add({"x": value}, weight)
    for value in values[:cut]:
        first.add({"x": value}, weight)
    second = EpochMeans.from_state(first.state())
    for value in values[cut:]:
        second.add({"x": value}, weight)

    assert second.means() == whole.means()
    assert whole.means()["x"] == pytest.approx(sum(values) / len(values), abs=1e-6)


def checkpoint_of(module: DenoiSplitModule) -> dict[str, object]:
    checkpoint: dict[str, object] = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
    }
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_module_comes_back_from_its_checkpoint(module: DenoiSplitModule) -> None:
    again = module_from_checkpoint(checkpoint_of(module))

    assert again.config == module.config
    assert again.statistics == module.statistics
    assert [model.info for model in again.noise_models] == [
        model.info for model in module.noise_models
    ]
    expected = module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())


def test_a_module_predicts_one_sample_of_each_channel(module: DenoiSplitModule) -> None:
    assert module.eval()(torch.zeros(3, 1, 40, 48)).shape == (3, 2, 40, 48)


def test_the_tensor_that_does_not_fit_is_named(module: DenoiSplitModule) -> None:
    weights = module.state_dict()
    name = "network.head.bias"
    missing = {key: value for key, value in weights.items() if key != name}

    with pytest.raises(CheckpointError, match=r"no tensor network\.head\.bias of shape \(2,\)"):
        load_weights(module, missing)
    with pytest.raises(CheckpointError, match=r"head\.bias has shape \(5,\).*but \(2,\)"):
        load_weights(module, {**weights, name: torch.zeros(5)})
    with pytest.raises(CheckpointError, match=r"holds a tensor network\.other"):
        load_weights(module, {**weights, "network.other": torch.zeros(5)})


@pytest.mark.parametrize("content", [{}, {"hyper_parameters": {}}, {"state_dict": {}}])
def test_a_checkpoint_of_another_program_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint of denoiSplit"):
        module_from_checkpoint(content)
