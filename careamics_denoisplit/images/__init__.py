"""Images in and out: readers that check what they read, and OME writers."""

from careamics_denoisplit.images.checks import (
    ChannelReport,
    PixelReport,
    SaturationWarning,
    as_float32,
    check_channel_names,
    check_pixels,
)
from careamics_denoisplit.images.folders import Folder, list_folder
from careamics_denoisplit.images.image import Image, labelled
from careamics_denoisplit.images.readers import read_images

__all__ = [
    "ChannelReport",
    "Folder",
    "Image",
    "PixelReport",
    "SaturationWarning",
    "as_float32",
    "check_channel_names",
    "check_pixels",
    "labelled",
    "list_folder",
    "read_images",
]
