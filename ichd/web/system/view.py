"""Plain values for `templates/system.html`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ichd.domain.delivery import Proof
from ichd.domain.drift import DriftLevel
from ichd.domain.job import JobKind, JobState
from ichd.domain.note import Remark
from ichd.store.outlets import AT_MOST, Outlet
from ichd.store.ticks import TickState
from ichd.store.trends import ModelAtWork
from ichd.web.health import Verdict
from ichd.web.plot import Drawn, Plot, drawn
from ichd.web.system import says
from ichd.web.system.constancy import Agreement, Quantity, Share
from ichd.web.system.figures import Figures
from ichd.web.system.plots import constancy_plots, traffic_plots
from ichd.web.system.span import Span

#: Of each property of the input; the API has all.
_MOST_SHARES = 8
_PROOFS = {Proof.SENT: "acknowledged", Proof.READ_BACK: "read back", Proof.COMMITTED: "committed"}
_LEVELS = {
    None: ("waiting", "…", "too few scans"),
    DriftLevel.STEADY: ("routine", "✓", "steady"),
    DriftLevel.WATCH: ("indeterminate", "?", "look at it"),
    DriftLevel.ALERT: ("urgent", "!", "drifted"),
}
_CHECKS = {
    "database": ("The database answers.", "The database does not answer as it should."),
    "model": ("There is a model to read with.", "No model can be used: nothing is read."),
    "disk": ("There is room for images.", "The disk is nearly full: images are refused."),
    "self_test": ("The self-test was asked.", "The self-test can't be asked."),
}


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A state in a word, a symbol and a tone; fits the macro `badge`."""

    tone: str
    symbol: str
    word: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure of now."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckLine:
    """One line of health."""

    sign: Sign
    sentence: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class OutletLine:
    """One destination."""

    outlet: Outlet
    sign: Sign
    last: str
    proofs: str
    owed: str
    dead: str
    why: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class QuantityLine:
    """One property of the input."""

    quantity: Quantity
    sign: Sign
    now: str
    shares: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class SystemPage:
    """The page."""

    now: datetime
    time_zone: str
    span: Span
    spans: Sequence[Span] = tuple(Span)
    tiles: Sequence[Tile]
    checks: Sequence[CheckLine]
    traffic: Sequence[tuple[Plot, Drawn | None]]
    constancy: Sequence[tuple[Plot, Drawn | None]]
    outlets: Sequence[OutletLine]
    disks: Sequence[tuple[str, float, str]]
    models: Sequence[ModelAtWork]
    model_since: datetime | None
    inputs: Sequence[QuantityLine]
    remarks: Sequence[tuple[str, str, str]] = field(default_factory=tuple)
    words: str


def system_page(figures: Figures, verdicts: Mapping[str, Verdict], *, tells_all: bool) -> SystemPage:
    """What the template shows; details that may name accounts, addresses or settings only where `tells_all`."""
    return SystemPage(
        now=figures.now,
        time_zone=f"{figures.now.astimezone():%Z}",
        span=figures.traffic.span,
        tiles=_tiles(figures),
        checks=[
            *(_check(name, verdict, tells_all=tells_all) for name, verdict in verdicts.items()),
            *(_trouble(tick, tells_all=tells_all) for tick in figures.ticks if tick.trouble is not None),
        ],
        traffic=[(plot, drawn(plot)) for plot in traffic_plots(figures.traffic)],
        constancy=[(plot, drawn(plot)) for plot in constancy_plots(figures.constancy)],
        outlets=[_outlet(outlet, figures.now, tells_all=tells_all) for outlet in figures.outlets],
        disks=[(machine, used, says.percent(used)) for machine, used in sorted(figures.disks.items())],
        models=figures.models,
        model_since=figures.model_since,
        inputs=[_quantity(quantity) for quantity in figures.constancy.inputs],
        remarks=[_remark(share) for share in figures.constancy.remarks],
        words=_words(figures),
    )


def _tiles(figures: Figures) -> list[Tile]:
    jobs, traffic, words = figures.census.jobs, figures.traffic, figures.traffic.span.words
    waiting = jobs[JobKind.ANALYSE, JobState.QUEUED]
    dead = sum(jobs[kind, JobState.DEAD].count for kind in JobKind)
    oldest = "none waits" if waiting.since is None else f"the oldest {says.ago(waiting.since, figures.now)}"
    p95 = traffic.latency_of_span_s[95]
    median = traffic.latency_of_span_s[50]
    return [
        Tile(label="Waiting to be read", value=_bounded(waiting.count), note=oldest),
        Tile(label="Being read", value=says.count(jobs[JobKind.ANALYSE, JobState.LEASED].count)),
        Tile(
            label=f"Reported in {words}",
            value=says.count(traffic.totals["studies_reported"]),
            note=f"of {says.count(traffic.totals['studies_received'])} received",
        ),
        Tile(
            label=f"Time to report, p95 of {words}",
            value="–" if p95 is None else says.seconds(p95),
            note="" if median is None else f"median {says.seconds(median)}",
        ),
        Tile(
            label="Given up",
            value=_bounded(dead),
            note="jobs that wait for a person" if dead else "no job is dead",
            tone="failed" if dead else "",
        ),
        Tile(
            label="Newest image", value=says.ago(figures.census.last_image_at, figures.now).replace("never", "none yet")
        ),
    ]


def _check(name: str, verdict: Verdict, *, tells_all: bool) -> CheckLine:
    well, ill = _CHECKS.get(name, (f"{name} is well.", f"{name} is not well."))
    sign = Sign(tone="routine", symbol="✓", word="ok") if verdict.ok else Sign(tone="failed", symbol="✕", word="not ok")
    return CheckLine(sign=sign, sentence=well if verdict.ok else ill, detail=verdict.detail if tells_all else "")


def _trouble(tick: TickState, *, tells_all: bool) -> CheckLine:
    trouble = tick.trouble
    if trouble is None:
        raise ValueError("a tick without trouble has no line")
    where = f" on {tick.machine}" if tick.machine else ""
    return CheckLine(
        sign=Sign(tone="indeterminate", symbol="!", word="trouble"),
        sentence=f"{tick.name.replace('_', ' ').capitalize()}{where}: {trouble.reason.meaning}.",
        detail=trouble.detail if tells_all else "",
    )


def _outlet(outlet: Outlet, now: datetime, *, tells_all: bool) -> OutletLine:
    if outlet.failures:
        sign = Sign(tone="failed", symbol="✕", word=f"failed {outlet.failures} times in a row")
        if outlet.failures == 1:
            sign = Sign(tone="indeterminate", symbol="!", word="failed once")
    elif outlet.last_success_at is None:
        sign = Sign(tone="unread", symbol="–", word="nothing taken yet")
    else:
        sign = Sign(tone="routine", symbol="✓", word="takes reports")
    total = sum(outlet.proofs.values())
    proofs = ", ".join(f"{_PROOFS[proof]} {says.percent(n / total)}" for proof, n in sorted(outlet.proofs.items()))
    return OutletLine(
        outlet=outlet,
        sign=sign,
        last=says.ago(outlet.last_success_at, now),
        proofs=proofs or "–",
        owed=_bounded(outlet.owed),
        dead=_bounded(outlet.dead),
        why=outlet.reason.meaning if outlet.reason else "",
        detail=outlet.detail if tells_all else "",
    )


def _quantity(quantity: Quantity) -> QuantityLine:
    tone, symbol, word = _LEVELS[quantity.level]
    return QuantityLine(
        quantity=quantity,
        sign=Sign(tone=tone, symbol=symbol, word=word),
        now="–" if quantity.now is None else says.index(quantity.now),
        shares=[(share.name, *_said(share)) for share in quantity.shares[:_MOST_SHARES]],
    )


def _remark(share: Share) -> tuple[str, str, str]:
    try:
        name = Remark(share.name).meaning
    except ValueError:
        name = share.name
    return (name, *_said(share))


def _said(share: Share) -> tuple[str, str]:
    return "–" if share.at_first is None else says.percent(share.at_first), says.percent(share.lately)


def _words(figures: Figures) -> str:
    constancy = figures.constancy
    spoken = sum(constancy.words.values())
    if not spoken:
        return "No reader has said in these 90 days whether a finding is right: there is no PPV or NPV to show."
    share = f" of {says.count(constancy.read)} scans" if constancy.read else ""
    return (
        f"{_named('PPV', constancy.ppv)} {_named('NPV', constancy.npv)} Readers spoke of {says.count(spoken)}{share}"
        f" in 90 days ({', '.join(f'{level} {says.count(n)}' for level, n in constancy.words.items())}). They choose"
        " of which: what they say of these may be better or worse than what they would say of all."
    )


def _named(name: str, agreement: Agreement) -> str:
    now = agreement.now
    if now is None:
        return f"{name}: no words in the last 28 days."
    low, high = says.percent(now.low), says.percent(now.high)
    return f"{name} {says.percent(now.share)} (95 %: {low} to {high}; {now.hits} of {now.of} in 28 days)."


def _bounded(count: int) -> str:
    return f"{AT_MOST:,} or more" if count >= AT_MOST else says.count(count)
