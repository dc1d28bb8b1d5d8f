"""Programs of others that run packages, each in its own environment and process.

`checking` runs a package in them; it is imported by itself, because it needs far more.
"""

from careamics_denoisplit_export.consumers.catalogue import CONSUMERS, Consumer, build_consumers
from careamics_denoisplit_export.consumers.folders import FOLDER_VARIABLE, consumers_folder

__all__ = ["CONSUMERS", "FOLDER_VARIABLE", "Consumer", "build_consumers", "consumers_folder"]
