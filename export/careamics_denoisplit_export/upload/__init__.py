"""Upload of a package into the BioImage Model Zoo: always a draft, which reviewers publish."""

from careamics_denoisplit_export.upload.address import DEFAULT_SERVER, server_address
from careamics_denoisplit_export.upload.contents import Contents, open_contents
from careamics_denoisplit_export.upload.drafting import Draft, make_draft
from careamics_denoisplit_export.upload.readiness import obstacles_to_review
from careamics_denoisplit_export.upload.secrecy import TOKEN_VARIABLE, Token
from careamics_denoisplit_export.upload.transport import Patience
from careamics_denoisplit_export.upload.uploading import upload_package

__all__ = [
    "DEFAULT_SERVER",
    "TOKEN_VARIABLE",
    "Contents",
    "Draft",
    "Patience",
    "Token",
    "make_draft",
    "obstacles_to_review",
    "open_contents",
    "server_address",
    "upload_package",
]
