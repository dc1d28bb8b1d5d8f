"""Ctrl-C and SIGTERM: finish the step, store it, then stop."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from careamics_denoisplit.errors import StoppedError

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopSignals(Callback):
    """Turn the first signal into a request and the second Ctrl-C into an interrupt.

    A context manager that puts the former handlers back. Signals can be handled in the main
    thread only; elsewhere it does nothing.

    Parameters
    ----------
    say : callable
        Receives one line for the user.

    Attributes
    ----------
    received : signal.Signals or None
        The first signal that arrived.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.received: signal.Signals | None = None
        self._say = say
        self._owner = os.getpid()
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.getsignal(number) for number in _EXIT_CODES}
            self._install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the former handlers back."""
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Install the handlers again: Lightning has put its own before them."""
        if self._former:
            self._install()

    def error(self) -> StoppedError:
        """Return the error that ends the process with the exit code of the signal."""
        number = self.received or signal.SIGINT
        error = StoppedError(
            f"Stopped by {number.name}. Finished steps are stored; continue with `--resume` (in "
            "Python `resume=True`)."
        )
        error.exit_code = _EXIT_CODES[number]
        return error

    def _install(self) -> None:
        for number in _EXIT_CODES:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a loader's worker: it ends when the main process does
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None:
            self.received = signal.Signals(number)
            self._say("Stopping after this step. Press Ctrl-C again to stop at once.")
