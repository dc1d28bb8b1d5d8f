"""The real engines of Fiji and QuPath, and the real bioimageio.core of ilastik and the zoo.

`make consumers` builds them.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from careamics_denoisplit.tile_plans import plan_tiles
from careamics_denoisplit_export.consumers import CONSUMERS, Consumer
from careamics_denoisplit_export.consumers.checking import check_consumers
from careamics_denoisplit_export.consumers.java import JavaConsumer
from careamics_denoisplit_export.consumers.processes import Run
from careamics_denoisplit_export.consumers.python import Options
from careamics_denoisplit_export.rules.subject import open_subject

ENGINES = [consumer for consumer in CONSUMERS if isinstance(consumer, JavaConsumer)]


def require_built(consumer: Consumer) -> None:
    """Skip a test whose consumer is not built, or fail where consumers are required."""
    if consumer.is_built():
        return
    reason = f"{consumer.name} is not built: run `make consumers`"
    if "consumers" in os.environ.get("DENOISPLIT_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


class Places(nn.Module):
    """Twice the image, and the row and the column in the tile of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        ones = x * 0 + 1
        return torch.cat((x * 2, ones.cumsum(2), ones.cumsum(3)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_an_engine_cuts_runs_and_joins_every_pixel_as_planned(
    engine: JavaConsumer, tmp_path: Path
) -> None:
    """The runner writes the tools' tiles down in Java, the plans in Python."""
    require_built(engine)
    weights = tmp_path / "weights.pt"
    network = torch.jit.trace(Places(), torch.rand(1, 1, 512, 512))
    network.save(str(weights))
    random = np.random.default_rng(5)
    (tool,) = engine.tools
    images = {shape: random.random(shape, np.float32) for shape in ((700, 1000), (200, 449))}
    tiles, halo = {"qupath": ("qupath", 0), "qupath-script": ("qupath", 48)}.get(tool, (tool, 48))
    runs = [Run(str(shape), image, tiles, 512, halo) for shape, image in images.items()]

    answer = engine.run(tmp_path / "unread.zip", weights, runs, Options())

    assert answer.versions["libtorch"] == engine.libtorch
    assert answer.versions["djl"] == engine.djl
    for shape, image in images.items():
        plan = plan_tiles(tool, shape, 48)
        expected = plan.stitch(placed(tile) for tile in plan.cut(image))
        np.testing.assert_array_equal(answer.outputs[str(shape)], expected)
        assert answer.tiles[str(shape)] == plan.count


def placed(tile: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[1:513, 1:513].astype(np.float32)
    return np.stack([2 * tile, y, x])


@pytest.mark.slow
@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.name)
def test_a_package_gives_the_same_numbers_in_every_consumer(
    consumer: Consumer, package: Any
) -> None:
    require_built(consumer)
    subject = open_subject(package.path)
    image = np.pad(subject.array(subject.input)[0, 0], ((0, 88), (0, 0)), "symmetric")

    (record,) = check_consumers(subject, consumers=[consumer], image=image)

    assert record["status"] == "passed", record["message"]
    assert record["versions"]
    if consumer.tools:
        assert record["max_abs_difference"] < 0.5
