"""The status page, its JSON, and DICOMweb: what the store knows and holds, for people and programs."""

from ichd.web.application import Entry, Site, create_app

__all__ = ["Entry", "Site", "create_app"]
