"""Lightning without the advice that does not apply here."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

_NEEDLESS_WARNINGS = (
    # The order of patches is continued by the data module itself.
    ".*resuming from a checkpoint that ended before the epoch ended.*",
    ".*does not have many workers.*",
    # Lightning touches an old name in torch.
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*GPU available but not used.*",
    ".*The number of training batches.*is smaller than the logging interval.*",
)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence advice of Lightning that does not apply, and its notes on hardware."""
    notes = logging.getLogger("lightning.pytorch")
    level = notes.level
    notes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _NEEDLESS_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        notes.setLevel(level)
