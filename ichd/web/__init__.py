"""The status page and its JSON: what the store knows, for people and programs; read-only, on loopback."""

from ichd.web.application import Site, create_app

__all__ = ["Site", "create_app"]
