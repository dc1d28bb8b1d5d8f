"""How much memory a prediction needs, how much is free, and what counts as running out of it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.prediction.tiling import Tiling, whole_image

logger = logging.getLogger(__name__)

OVERLAP = 96
"""Pixels that neighbouring tiles share by default.

A trained network (64 filters, stride 2, tiles of 192 px) differed from the whole image, in units of
the spread of 4 samples, by 0.0035 in the median and 2.8 in the 99.9th percentile with 64 px, by
0.003 and 1.0 with 96 px. The receptive field is far larger.
"""

BLEND = 16
"""Width in pixels of the band over which neighbouring tiles are mixed by default."""

TILE_SIZES = (4096, 2048, 1024, 512, 256)
"""Tiles to choose from; few, so that a little more free memory does not change the result."""

SMALLEST_TILE = 64
"""Tiles are not halved below this height and width in pixels."""

SHARE_OF_FREE_MEMORY = 0.5
"""Share of the free memory that a prediction plans with: other programs need some as well."""

FEATURE_MAPS_HELD = 14
"""Feature maps at the resolution of the stem that one decoder pass holds at its peak.

With `NOISE_BYTES` it gives 560 to 5376 bytes per pixel; measured on the processor were 478 to 518
(32 filters, 32 latents, stride 2), 554 to 675 (64 latents), 1927 (stride 1), 4053 to 4921 (64
filters, 128 latents, stride 1).
"""

ALLOCATOR_TEXTS = (
    "DefaultCPUAllocator: can't allocate",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "could not create a memory object",
)
"""With these torch's allocators of the processor and of Apple GPUs say that memory ran out."""

NOISE_BYTES = 56
"""Bytes per latent number of the finest level while its noise is hashed."""


def bytes_per_pixel(network: LadderVAE) -> float:
    """Estimate the memory that one pixel of a tile needs while it is predicted, in bytes.

    Parameters
    ----------
    network : LadderVAE
        The network that predicts.

    Returns
    -------
    float
        Activations and noise at the peak of one decoder pass.
    """
    features = network.stem.out_channels / network.stem_stride**2
    finest = network.get_parameter("levels.0.from_z.weight").shape[1]
    latents = finest / (2 * network.stem_stride) ** 2
    return 4.0 * features * FEATURE_MAPS_HELD + latents * NOISE_BYTES


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device, in bytes.

    On the processor this is what the system calls available, or what is left of the limit that a
    container or a batch system has set, whichever is less.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + reusable)
    available = int(psutil.virtual_memory().available)
    limit = _control_group_rest()
    return available if limit is None else min(available, limit)


def choose_tiling(shape: Sequence[int], network: LadderVAE, device: torch.device) -> Tiling:
    """Choose between the whole image and tiles, by the memory that is free.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image; the last two entries are its height and width in pixels.
    network : LadderVAE
        The network that predicts.
    device : torch.device
        Where it predicts.

    Returns
    -------
    Tiling
        A single tile where the whole image fits, else the largest tiles that do. The choice and
        its reason are logged.
    """
    height, width = shape[-2], shape[-1]
    free = free_bytes(device)
    budget = free * SHARE_OF_FREE_MEMORY
    need = bytes_per_pixel(network)
    sizes = f"{height} x {width} px need about {_readable(height * width * need)}"
    if height * width * need <= budget:
        logger.info("Predicting the whole image at once: %s, %s are free.", sizes, _readable(free))
        return whole_image(shape, network.size_multiple)
    tile = next((size for size in TILE_SIZES if size * size * need <= budget), TILE_SIZES[-1])
    logger.info(
        "Predicting in tiles of %d x %d px with an overlap of %d px: %s, %s are free.",
        *(tile, tile, OVERLAP, sizes, _readable(free)),
    )
    return tiles_of(tile, network.size_multiple)


def tiles_of(size: int, multiple: int) -> Tiling:
    """Return square tiles of about `size` pixels with the default overlap, or half a tile's."""
    overlap = min(OVERLAP, size // 2)
    tiling = Tiling((size, size), (overlap, overlap), blend=min(BLEND, overlap))
    return tiling.aligned(multiple)


def halved(tiling: Tiling, shape: Sequence[int]) -> Tiling | None:
    """Return tiles of half the height and width, or None where they would be too small.

    Parameters
    ----------
    tiling : Tiling
        Tiles that did not fit into memory.
    shape : sequence of int
        Shape of the image; the last two entries are its height and width in pixels.

    Returns
    -------
    Tiling or None
        None below `SMALLEST_TILE` pixels.
    """
    first = tiling.plan(shape)[0]
    now = max(first.height, first.width)
    smallest = max(SMALLEST_TILE, 2 * tiling.multiple)
    if now <= smallest:
        return None
    half = now // 2 // tiling.multiple * tiling.multiple
    return tiles_of(max(half, smallest), tiling.multiple)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a real lack of memory from every other error.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    bool
        True for Python's and CUDA's own errors, and for the texts with which torch's allocators
        of the processor and of Apple GPUs say so.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ALLOCATOR_TEXTS)


def _control_group_rest() -> int | None:
    """Bytes left of the memory limit of this process's Linux control group, if it has one."""
    try:
        group = _control_group()
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def _control_group() -> Path:
    own = Path("/proc/self/cgroup").read_text(encoding="ascii").strip().rpartition("::")[2]
    return Path("/sys/fs/cgroup") / own.lstrip("/")


def _readable(size: int | float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
