"""What sections of ichd.toml are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: PS3.5 6.2: 1 to 16 characters of the default repertoire, no backslash, not only spaces.
AETitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[ -\[\]-~]{1,16}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
#: Where somebody else listens, and the name under which a list shows it.
Address = Annotated[str, StringConstraints(pattern=r"^.+:\d{1,5}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]

#: Where nobody but this machine's users knocks.
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Section(BaseModel):
    """A table of ichd.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def existing_port(address: str) -> str:
    """`address`, if its port can exist.

    Raises:
        ValueError: it can't.
    """
    if not 0 < int(address.rpartition(":")[2]) < 1 << 16:
        raise ValueError("has a port that doesn't exist; ports go from 1 to 65535")
    return address


def host_of(address: str) -> str:
    """The part of HOST:PORT before its last colon."""
    return address.rpartition(":")[0].strip("[]")


def port_of(address: str) -> int:
    """The part of HOST:PORT after its last colon."""
    return int(address.rpartition(":")[2])
