"""DICOMweb out (PS3.18): what the spool holds, searched by QIDO-RS and retrieved by WADO-RS."""

from ichd.web.dicomweb.routes import dicomweb_router

__all__ = ["dicomweb_router"]
