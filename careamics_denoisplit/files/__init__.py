"""Everything about files: written whole, locked, hashed, safely named, read with care."""

from careamics_denoisplit.files.guarded_json import read_json, write_json
from careamics_denoisplit.files.guarded_npz import load_npz, read_npy_header
from careamics_denoisplit.files.guarded_yaml import load_yaml
from careamics_denoisplit.files.lock import lock_run
from careamics_denoisplit.files.manifest import sha256_of, verify_manifest, write_manifest
from careamics_denoisplit.files.names import safe_name, safe_names, safe_stem
from careamics_denoisplit.files.near import did_you_mean, nearest_path
from careamics_denoisplit.files.outputs import require_absent, require_writable
from careamics_denoisplit.files.whole import (
    remove_litter,
    restore_folder,
    whole_file,
    whole_folder,
    write_whole,
)

__all__ = [
    "did_you_mean",
    "load_npz",
    "load_yaml",
    "lock_run",
    "nearest_path",
    "read_json",
    "read_npy_header",
    "remove_litter",
    "require_absent",
    "require_writable",
    "restore_folder",
    "safe_name",
    "safe_names",
    "safe_stem",
    "sha256_of",
    "verify_manifest",
    "whole_file",
    "whole_folder",
    "write_json",
    "write_manifest",
    "write_whole",
]
