"""Which presentation contexts are accepted, and whether the peer is let in at all."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.dimse.associate import (
    APPLICATION_CONTEXT,
    AnsweredContext,
    AssociateRequest,
    ProposedContext,
    RoleSelection,
)
from ichd.intake.peers import AllowedPeer, Rejection, rejection_of
from ichd.intake.syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES

VERIFICATION = "1.2.840.10008.1.1"

#: Results of the negotiation of a presentation context (PS3.8 table 9-18).
_ACCEPTED = 0
_ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
_TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, kw_only=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """Who is let in."""

    ae_title: str
    allowed_peers: tuple[AllowedPeer, ...]
    require_called_ae_title: bool


def offered_contexts(service_classes: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Transfer syntaxes by SOP class, the preferred ones first."""
    plain = (EXPLICIT_LITTLE.uid, IMPLICIT_LITTLE.uid)
    return {
        VERIFICATION: plain,
        **dict.fromkeys(service_classes, plain),
        **dict.fromkeys(ACCEPTED_SOP_CLASSES, tuple(TRANSFER_SYNTAXES)),
    }


def answers(request: AssociateRequest, offered: Mapping[str, tuple[str, ...]]) -> list[AnsweredContext]:
    """The answer to each proposed context; of several transfer syntaxes the one that we prefer."""
    return [_answer(context, offered) for context in request.contexts]


def accepted(request: AssociateRequest, answered: Iterable[AnsweredContext]) -> dict[int, Context]:
    """The accepted contexts by their ID."""
    proposed = {context.context_id: context.abstract_syntax for context in request.contexts}
    return {
        answer.context_id: Context(abstract_syntax=proposed[answer.context_id], transfer_syntax=answer.transfer_syntax)
        for answer in answered
        if answer.result == _ACCEPTED
    }


def roles_of(
    request: AssociateRequest, contexts: Mapping[int, Context], provided: Collection[str]
) -> tuple[RoleSelection, ...]:
    """The roles to confirm (PS3.7 D.3.3.4): a peer that proposes to be the provider of one of `provided` may be it.

    What is not answered has its default role: who asked for the association uses the service.
    """
    taken = {context.abstract_syntax for context in contexts.values()}
    return tuple(role for role in request.roles if role.sop_class_uid in taken and role.sop_class_uid in provided)


def objection(request: AssociateRequest, address: str, welcome: Welcome) -> Rejection | None:
    """Why the peer is not let in, or None where it is."""
    # Bit 0 is version 1; others may be set beside it by what is newer than we are (PS3.8 table 9-11).
    if not request.protocol_version & 1:
        return Rejection.PROTOCOL_VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED
    if welcome.require_called_ae_title and request.called_ae_title != welcome.ae_title.strip():
        return Rejection.CALLED_AE_TITLE_NOT_RECOGNIZED
    return rejection_of(request.calling_ae_title, address, welcome.allowed_peers)


def _answer(context: ProposedContext, offered: Mapping[str, tuple[str, ...]]) -> AnsweredContext:
    syntaxes = offered.get(context.abstract_syntax)
    if syntaxes is None:
        result, syntax = _ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT_LITTLE.uid
    else:
        proposed = frozenset(context.transfer_syntaxes)
        chosen = next((uid for uid in syntaxes if uid in proposed), None)
        result = _TRANSFER_SYNTAXES_NOT_SUPPORTED if chosen is None else _ACCEPTED
        syntax = chosen or IMPLICIT_LITTLE.uid
    return AnsweredContext(context_id=context.context_id, result=result, transfer_syntax=syntax)
