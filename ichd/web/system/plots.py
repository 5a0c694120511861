"""Which plots there are, and what each says of itself."""

from collections.abc import Iterator, Mapping

from ichd.domain.drift import ALERT_FROM, WATCH_FROM
from ichd.web.plot import Line, Mark, Plot
from ichd.web.system import says
from ichd.web.system.constancy import Agreement, Constancy
from ichd.web.system.traffic import PERCENTILES, Course, Traffic

#: More lines in one plot can't be told from each other.
_MOST_LINES = 6
_NO_HOUR = "Nothing was counted in this time yet. A worker counts each hour once it is over."
_NO_DAY = "Nothing was counted yet. A worker counts each day from its hours."


def traffic_plots(traffic: Traffic) -> Iterator[Plot]:
    """Of the span that was chosen."""
    begins, step = traffic.steps.begins, traffic.steps.step
    yield Plot(
        key="queue",
        title="Queue depth",
        note="The most at once in each step: waiting or under way. A look a minute.",
        empty=_NO_HOUR,
        begins=begins,
        step=step,
        lines=[
            Line(name="studies to read", values=traffic.queue_peak["analyse"], tone="line-1"),
            Line(name="reports to deliver", values=traffic.queue_peak["publish"], tone="line-2"),
        ],
        say=says.count,
        at_least=4,
    )
    yield Plot(
        key="throughput",
        title="Studies an hour, by outcome",
        note="",
        empty=_NO_HOUR,
        begins=begins,
        step=step,
        lines=[
            Line(name="reported", values=traffic.per_hour["studies_reported"], tone="line-2", stacked=True),
            Line(name="not analysed", values=traffic.per_hour["studies_not_analysed"], tone="line-6", stacked=True),
            Line(name="failed", values=traffic.per_hour["studies_failed"], tone="line-4", stacked=True),
        ],
        say=says.count,
        at_least=4,
    )
    yield Plot(
        key="latency",
        title="Last image to report",
        note="Of reported studies, by the time at which they ended.",
        empty="No study was reported in this time.",
        begins=begins,
        step=step,
        lines=[
            Line(name=f"p{percent}", values=traffic.latency_s[percent], tone=f"line-{number}")
            for number, percent in enumerate(PERCENTILES, 1)
        ],
        say=says.seconds,
        base=60,
        at_least=4,
    )
    yield Plot(
        key="wait",
        title="Longest wait in the queue",
        note="Of what had not begun yet, the oldest.",
        empty=_NO_HOUR,
        begins=begins,
        step=step,
        lines=[
            Line(name="studies to read", values=traffic.longest_wait_s["analyse"], tone="line-1"),
            Line(name="reports to deliver", values=traffic.longest_wait_s["publish"], tone="line-2"),
        ],
        say=says.seconds,
        base=60,
        at_least=10,
    )
    yield Plot(
        key="delivered",
        title="Reports delivered, by destination",
        note="",
        empty="No destination took a report in this time.",
        begins=begins,
        step=step,
        lines=_lines(traffic.delivered, stacked=True),
        say=says.count,
        at_least=4,
    )
    yield Plot(
        key="disk",
        title="Disk of the spool, used",
        note="Images are refused from spool.high_watermark on.",
        empty="No machine has looked at its disk in this time.",
        begins=begins,
        step=step,
        lines=_lines(traffic.disk_used),
        say=says.percent,
        top=1.0,
    )


def constancy_plots(constancy: Constancy) -> Iterator[Plot]:
    """Of ninety days."""
    begins, step = constancy.days.begins, constancy.days.step
    yield Plot(
        key="triage",
        title="Triage, share of the day's scans",
        note="The rest is routine.",
        empty=_NO_DAY,
        begins=begins,
        step=step,
        lines=[
            Line(name=level, values=constancy.triage[level], tone=level, stacked=True)
            for level in ("urgent", "indeterminate")
        ],
        say=says.percent,
        at_least=0.2,
    )
    deciles = constancy.deciles
    yield Plot(
        key="scores",
        title="Probability of any haemorrhage",
        note="So many percent of a day's scans lie below a line. Most heads are healthy: the upper lines move first.",
        empty=_NO_DAY,
        begins=begins,
        step=step,
        lines=[
            Line(name=f"{percent} %", values=deciles[percent], tone=f"line-{number}")
            for number, percent in enumerate((90, 70, 50, 30, 10), 1)
        ],
        say=says.index,
        top=1.0,
    )
    yield Plot(
        key="drift",
        title="Drift of the input",
        note="Population stability index of the last 7 days against the first 28, less what chance gives; up to 1.",
        empty="Not to be told yet: it takes 28 days with 200 scans, and then 50 scans in a week.",
        begins=begins,
        step=step,
        lines=[
            Line(name=quantity.name, values=quantity.drift, tone=f"line-{number}")
            for number, quantity in enumerate(constancy.inputs, 1)
        ],
        say=says.index,
        top=1.0,
        marks=[
            Mark(value=WATCH_FROM, name=f"look, from {WATCH_FROM}", tone="indeterminate"),
            Mark(value=ALERT_FROM, name=f"alert, from {ALERT_FROM}", tone="urgent"),
        ],
    )
    yield Plot(
        key="self-test",
        title="Self-test: change of a probability",
        note="The live model reads a stored phantom; an alert from tick.self_test_tolerance (0.02) on.",
        empty="No self-test has run in this time.",
        begins=begins,
        step=step,
        lines=_lines(constancy.self_test),
        say=says.small,
        at_least=0.002,
    )
    yield _agreement(constancy, constancy.ppv, "ppv", "PPV: urgent findings that readers found right")
    yield _agreement(constancy, constancy.npv, "npv", "NPV: routine findings that readers found right")


def _agreement(constancy: Constancy, agreement: Agreement, key: str, title: str) -> Plot:
    course = agreement.course
    return Plot(
        key=key,
        title=title,
        note="Over the 28 days up to each; the area is Wilson's 95 % interval.",
        empty="No reader has spoken of such a finding in these 90 days.",
        begins=constancy.days.begins,
        step=constancy.days.step,
        lines=[
            Line(
                name="found right",
                values=[None if each is None else each.share for each in course],
                band=[None if each is None else (each.low, each.high) for each in course],
                tone="line-1" if key == "ppv" else "line-2",
            )
        ],
        say=says.percent,
        top=1.0,
    )


def _lines(courses: Mapping[str, Course], *, stacked: bool = False) -> list[Line]:
    """Those with the most in them; the others are in the API."""
    kept = sorted(courses, key=lambda name: -sum(value or 0 for value in courses[name]))[:_MOST_LINES]
    return [
        Line(name=name, values=courses[name], tone=f"line-{number}", stacked=stacked)
        for number, name in enumerate(sorted(kept), 1)
    ]
