"""Training in a run folder that can be killed and continued at any moment."""

from careamics_denoisplit.training.checkpoint_io import WholeFileCheckpointIO, read_checkpoint
from careamics_denoisplit.training.checkpointing import RunCheckpoint
from careamics_denoisplit.training.loggers import AppendingCSVLogger, create_loggers, read_metrics
from careamics_denoisplit.training.progress import in_words
from careamics_denoisplit.training.resume import describe_progress
from careamics_denoisplit.training.run import train
from careamics_denoisplit.training.signals import StopSignals
from careamics_denoisplit.training.start import Start

__all__ = [
    "AppendingCSVLogger",
    "RunCheckpoint",
    "Start",
    "StopSignals",
    "WholeFileCheckpointIO",
    "create_loggers",
    "describe_progress",
    "in_words",
    "read_checkpoint",
    "read_metrics",
    "train",
]
