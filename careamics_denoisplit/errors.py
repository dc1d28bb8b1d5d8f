"""Named errors of denoiSplit and the exit code that the command line gives each."""


class DenoiSplitError(Exception):
    """Base of every error that denoiSplit raises on purpose."""

    exit_code = 3
    """Exit code of the command line: 2 for wrong input, 3 for a fault in mid-work."""


class InputError(DenoiSplitError, ValueError):
    """Wrong input: found before long work starts, nothing was written."""

    exit_code = 2


class DataError(InputError):
    """An image, array or folder cannot be used as it is."""


class AxesError(DataError):
    """Nothing says what the axes of an image are, or what says it contradicts the image."""


class ConfigurationError(InputError):
    """A setting is unknown, of the wrong type, or contradicts another one."""


class NoiseModelError(InputError):
    """A noise model is missing, unreadable, unfit, or belongs to another channel."""


class CheckpointError(InputError):
    """A run folder, checkpoint or weight file does not fit."""


class PackageError(InputError):
    """A bioimage.io package is malformed or unsafe."""


class OutputExistsError(InputError):
    """The output is already there and `overwrite` was not asked for."""


class LockedError(InputError):
    """Another process is working on the same folder."""


class FaultError(DenoiSplitError, RuntimeError):
    """Something failed in mid-work; what was finished before is kept."""

    exit_code = 3


class NonFiniteError(FaultError):
    """A number is NaN or infinite; the message names the term and the step."""


class StorageError(FaultError):
    """A file could not be written: disk full, no permission, or an I/O error."""


class ChangedError(FaultError):
    """Another process changed what this one worked on; nothing was overwritten."""


class CheckFailedError(DenoiSplitError):
    """A check or an evaluation ran to its end and failed."""

    exit_code = 1


class StoppedError(DenoiSplitError):
    """The user or the scheduler asked to stop; finished work was kept."""

    exit_code = 130
