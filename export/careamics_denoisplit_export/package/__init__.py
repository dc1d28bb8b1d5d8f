"""Packages as files: the zip, its test image and cover, and the writing of all parts."""

from careamics_denoisplit.files.guarded_zip import read_zip
from careamics_denoisplit_export.package.writing import Exported, export_package
from careamics_denoisplit_export.package.zipped import copy_members, zip_bytes

__all__ = ["Exported", "copy_members", "export_package", "read_zip", "zip_bytes"]
