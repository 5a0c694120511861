"""What the clockwork found, for `ichd doctor` and `/readyz`."""

from datetime import datetime, timedelta

from sqlalchemy import Engine

from ichd.domain.errors import UserError
from ichd.domain.reason import Reason
from ichd.store.ticks import TickState, tick_states

#: Later than any tick that a living worker has: it is thirty seconds late at most, and a held one six.
OVERDUE_AFTER = timedelta(minutes=10)


def describe_self_test(engine: Engine) -> str:
    """When the live models read the stored phantom last, or which of them drifted.

    Raises:
        Transient: the database does not answer.
    """
    tests = [state for state in tick_states(engine) if state.name == "self_test"]
    drifted = [_troubled(state) for state in tests if _is_drifted(state)]
    if drifted:
        return "; ".join(drifted)
    ran = [state.ran_at for state in tests if state.ran_at is not None]
    return f"last {min(ran):%Y-%m-%d %H:%M} UTC, as ever" if ran else "not yet"


def check_self_test(engine: Engine) -> str:
    """The same for a person.

    Raises:
        UserError: a model drifted.
        Transient: the database does not answer.
    """
    found = describe_self_test(engine)
    if any(_is_drifted(state) for state in tick_states(engine)):
        raise UserError(f"{found}; {Reason.SELF_TEST_DRIFTED.meaning}")
    return found


def check_commission(engine: Engine) -> str:
    """When a phantom took the live route last, and what came of it.

    Raises:
        UserError: it did not come back as it must.
        Transient: the database does not answer.
    """
    state = next((each for each in tick_states(engine) if each.name == "commission"), None)
    if state is None or state.ran_at is None:
        return "not yet"
    if state.trouble is not None:
        raise UserError(f"{_troubled(state)}; {state.trouble.reason.meaning}")
    return f"last {state.ran_at:%Y-%m-%d %H:%M} UTC, passed"


def check_ticks(engine: Engine, *, now: datetime) -> str:
    """Whether what happens by the clock does happen, and finds nothing wrong.

    Raises:
        UserError: something is overdue, or in trouble; the message names the mend.
        Transient: the database does not answer.
    """
    states = tick_states(engine)
    troubled = [_troubled(state) for state in states if state.trouble is not None and not _has_own_line(state)]
    overdue = [_named(state) for state in states if state.due_at < now - OVERDUE_AFTER]
    if overdue:
        troubled.append(f"nobody runs {', '.join(overdue)}: start `ichd worker`, or `ichd serve`")
    if troubled:
        raise UserError("; ".join(troubled))
    return f"{len(states)}, none overdue" if states else "none yet; a worker begins with them"


def _is_drifted(state: TickState) -> bool:
    return state.trouble is not None and state.trouble.reason is Reason.SELF_TEST_DRIFTED


def _has_own_line(state: TickState) -> bool:
    return _is_drifted(state) or state.name == "commission"


def _troubled(state: TickState) -> str:
    trouble = state.trouble
    if trouble is None:
        return ""
    since = f" since {state.troubled_since:%Y-%m-%d %H:%M} UTC" if state.troubled_since else ""
    return f"{_named(state)}: {trouble.reason.value}{since}" + (f" ({trouble.detail})" if trouble.detail else "")


def _named(state: TickState) -> str:
    return f"{state.name} on {state.machine}" if state.machine else state.name
