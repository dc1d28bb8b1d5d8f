"""Images in and out: readers that check what they read, and OME writers.

A file that was cut is always noticed. A changed byte is noticed where the format has a checksum
(zlib in TIFF, crc32c in Zarr as written here) or says a thing twice; changed pixels of other TIFF,
NPY, MRC and CZI files and of Zarr chunks without a checksum cannot be told from measured ones.
"""

from careamics_denoisplit.images.checks import (
    ChannelReport,
    PixelReport,
    SaturationWarning,
    as_float32,
    check_channel_names,
    check_pixels,
)
from careamics_denoisplit.images.folders import Folder, list_folder
from careamics_denoisplit.images.image import Image
from careamics_denoisplit.images.labels import channel_names_of, labelled, pixel_size_of
from careamics_denoisplit.images.output_names import output_stems, strip_suffix
from careamics_denoisplit.images.partners import Misplaced, find_misplaced
from careamics_denoisplit.images.readers import read_images
from careamics_denoisplit.images.writers import write_prediction_tiff, write_prediction_zarr

__all__ = [
    "ChannelReport",
    "Folder",
    "Image",
    "Misplaced",
    "PixelReport",
    "SaturationWarning",
    "as_float32",
    "channel_names_of",
    "check_channel_names",
    "check_pixels",
    "find_misplaced",
    "labelled",
    "list_folder",
    "output_stems",
    "pixel_size_of",
    "read_images",
    "strip_suffix",
    "write_prediction_tiff",
    "write_prediction_zarr",
]
