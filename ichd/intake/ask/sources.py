"""Archives that may be asked, as values; the settings' [[source]] become these."""

from dataclasses import dataclass, field
from typing import Literal

from ichd.tls import ClientTls


@dataclass(frozen=True, kw_only=True)
class DimseSource:
    """An archive with Query/Retrieve (PS3.4 annex C)."""

    name: str
    host: str
    port: int
    ae_title: str
    #: Ours, as who asks and, with C-MOVE, as where images go.
    calling_ae_title: str = "ICHD"
    retrieve: Literal["get", "move"] = "get"
    tls: ClientTls | None = None
    #: Longest wait for any answer.
    timeout_s: float = 30.0

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title}@{self.host}:{self.port})"


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """An archive with QIDO-RS and WADO-RS (PS3.18 chapter 10)."""

    name: str
    #: Root of its DICOMweb service.
    url: str
    token: str | None = field(default=None, repr=False)
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ClientTls | None = None
    #: Longest wait for any answer, and for more of one.
    timeout_s: float = 30.0

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


Source = DimseSource | WebSource
