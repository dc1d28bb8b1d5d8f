"""Whole image or tiles: by the memory that is free, and only real lack of it counts as such."""

import logging
from pathlib import Path

import psutil
import pytest
import torch

from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.prediction import Tiling, choose_tiling, memory, tiles_of
from careamics_denoisplit.prediction.memory import (
    bytes_per_pixel,
    free_bytes,
    halved,
    is_out_of_memory,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> LadderVAE:
    """A network of 8 filters and two levels."""
    return LadderVAE(latent_channels=(6, 4), filters=8)


def with_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Pretend that this much memory is free, in bytes."""
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(free))


def test_an_image_that_fits_is_predicted_whole(
    network: LadderVAE, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_free(monkeypatch, 2.1 * 1000 * 1000 * bytes_per_pixel(network))

    with caplog.at_level(logging.INFO):
        tiling = choose_tiling((1000, 1000), network, CPU)

    assert len(tiling.plan((1000, 1000))) == 1
    assert "whole image at once: 1000 x 1000 px need about" in caplog.text


def test_an_image_that_does_not_fit_is_predicted_in_the_largest_tiles_that_do(
    network: LadderVAE, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_free(monkeypatch, 2.1 * 1024 * 1024 * bytes_per_pixel(network))

    with caplog.at_level(logging.INFO):
        tiling = choose_tiling((3000, 3000), network, CPU)

    assert tiling.tile == (1024, 1024)
    assert tiling.overlap == (96, 96)
    assert tiling.multiple == network.size_multiple
    assert "tiles of 1024 x 1024 px with an overlap of 96 px" in caplog.text


def test_the_smallest_tiles_are_tried_where_hardly_anything_is_free(
    network: LadderVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 1.0)

    assert choose_tiling((3000, 3000), network, CPU).tile == (256, 256)


def test_a_larger_network_needs_more_memory() -> None:
    small = LadderVAE(latent_channels=(8, 8), filters=8)
    strided = LadderVAE(latent_channels=(8, 8), filters=8, stem_stride=2)
    large = LadderVAE(latent_channels=(32, 8), filters=16)

    needs = [bytes_per_pixel(each) for each in (strided, small, large)]
    assert needs == sorted(needs)
    assert needs[0] < needs[1] < needs[2]


def test_tiles_are_halved_down_to_the_smallest_and_no_further() -> None:
    tiling: Tiling | None = tiles_of(300, 16)
    sizes = []
    while tiling is not None:
        sizes.append(tiling.tile)
        tiling = halved(tiling, (1000, 1000))

    assert sizes == [(304, 304), (144, 144), (64, 64)]


def test_a_small_image_is_not_cut_into_smaller_tiles_than_the_smallest() -> None:
    assert halved(tiles_of(512, 16), (40, 40)) is None


def test_free_memory_is_positive_and_at_most_what_the_machine_has() -> None:
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000", encoding="ascii")
    (tmp_path / "memory.current").write_text("2000", encoding="ascii")
    monkeypatch.setattr(memory, "_control_group", lambda: tmp_path)

    assert free_bytes(CPU) == 3000
    (tmp_path / "memory.max").write_text("max", encoding="ascii")
    assert free_bytes(CPU) > 3000


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    ],
)
def test_i3_allocators_are_understood(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("this text merely speaks of memory"),
        ValueError("MPS backend out of memory"),
        KeyError("memory"),
    ],
)
def test_i3_other_errors_are_not_called_a_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
