"""`/system` and `/api/system`: how the daemon does, now and over time."""

from ichd.web.system.rooms import system_room

__all__ = ["system_room"]
