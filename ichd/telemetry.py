"""Logs: one formatter for our records and for those of the libraries, and no patient in any of them.

Our own code never passes an identifying value to a logger. Libraries are another matter: pydicom's warnings quote the
value that they complain about, and an exception's message may hold a piece of a data set. So messages of the libraries
that read data sets are withheld (what is left names the place), and a traceback shows the messages of our own errors
only.
"""

import logging
import logging.config
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import structlog
from structlog.typing import EventDict, Processor

from ichd.domain.errors import IchdError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

#: Loggers whose messages may quote a data set.
_QUOTING = ("py.warnings", "pydicom", "highdicom", "pynetdicom", "python_gdcm", "openjpeg", "PIL", "urllib3")
#: pynetdicom's loggers that speak of the association only (who, why rejected), never of a data set.
_ASSOCIATION = ("pynetdicom.acse", "pynetdicom.assoc", "pynetdicom.transport", "pynetdicom.ae")


def configure_logging(
    level: Literal["debug", "info", "warning", "error", "critical"] = "info",
    style: Literal["auto", "console", "json"] = "auto",
    *,
    process: str | None = None,
) -> None:
    """Send every record of this process to standard error through one formatter, under its name where it has one.

    "critical" is for commands that say by themselves what went wrong.
    """
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_signed(process)] if process else []),
        _withhold_quotes,
        _withhold_exception_messages,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=()), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # Below warning these speak of every PDU, job run and migration step, and of URLs and headers: queries and tokens.
    for noisy in ("pynetdicom", "pydicom", "alembic", "uvicorn", "highdicom", "httpx", "httpcore", "urllib3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda uncaught: _log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)
    # What failed is said by the job, with its reason; they would log a traceback an attempt, and the server's words.
    for wordy in ("dicomweb_client", "retrying"):
        logging.getLogger(wordy).setLevel(logging.CRITICAL)
    # A tick that is skipped because the one before still runs is no news; one that fails is an error.
    logging.getLogger("apscheduler").setLevel(max(logging.ERROR, root.level))


class Survived:
    """Lets a thread that serves many outlive a defect met with one of them: `with Survived("event") as step: ...`.

    The defect is logged as `event`, by kind and place and, as everywhere, without the words of a foreign exception.
    What can be foreseen is the caller's to catch: inside, or outside where `but_for` names it.
    """

    def __init__(self, event: str, *, but_for: tuple[type[Exception], ...] = (), **facts: object) -> None:
        self._event = event
        self._but_for = but_for
        self._facts = facts
        #: Kind of the exception that ended the step; None where it went well.
        self.defect: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None or not isinstance(error, Exception) or isinstance(error, self._but_for):
            return False
        self.defect = kind.__name__
        last = traceback.extract_tb(trace)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        logger = structlog.get_logger(__name__)
        logger.error(self._event, error=self.defect, at=place, exc_info=True, **self._facts)
        return True


def _log_uncaught(_kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    """Python would print the message of an exception that nobody caught past the formatter."""
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        structlog.get_logger(__name__).critical("uncaught_exception", exc_info=error)


def _signed(process: str) -> Processor:
    """Several processes of one role write to one place."""

    def sign(logger: object, name: str, event: EventDict) -> EventDict:  # noqa: ARG001
        event["process"] = process
        return event

    return sign


def _withhold_quotes(logger: object, name: str, event: EventDict) -> EventDict:  # noqa: ARG001
    source = str(event.get("logger", ""))
    if source.startswith(_QUOTING) and not source.startswith(_ASSOCIATION):
        record = event.get("_record")
        place = f"{record.module}:{record.lineno}" if isinstance(record, logging.LogRecord) else "unknown place"
        event["event"] = f"message withheld, it may quote a data set ({place})"
    return event


def _withhold_exception_messages(logger: object, name: str, event: EventDict) -> EventDict:  # noqa: ARG001
    error = _exc_info(event.pop("exc_info", None))
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        error = error or _exc_info(record.exc_info)
        # The formatter would append the plain traceback to whatever we return.
        record.exc_info = None
        record.exc_text = None
    if error is not None:
        event["exception"] = describe_exception(error)
    return event


def _exc_info(value: object) -> BaseException | None:
    if isinstance(value, BaseException):
        return value
    if isinstance(value, tuple):
        return value[1] if isinstance(value[1], BaseException) else None
    return sys.exc_info()[1] if value else None


def describe_exception(error: BaseException) -> str:
    """The traceback with the source lines of every frame, and messages of our own errors only."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        message = str(current) if isinstance(current, IchdError) else "message withheld"
        frames = "".join(traceback.format_tb(current.__traceback__))
        lines.append(f"{frames}{type(current).__qualname__}: {message}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n-- caused by --\n".join(lines)
