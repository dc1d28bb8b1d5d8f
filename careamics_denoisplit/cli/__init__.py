"""Command line `denoisplit`: one file per group of commands, nothing heavy imported at the top."""

from careamics_denoisplit.cli.app import app, main

__all__ = ["app", "main"]
