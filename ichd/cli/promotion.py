"""model list, model promote, model rollback."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ichd.cli.invocation import settings_of
from ichd.cli.output import AsJson, console, print_json, progress, table
from ichd.domain.errors import IchdError, UserError
from ichd.telemetry import configure_logging

if TYPE_CHECKING:
    from ichd.app.promotion import Change, Shelved
    from ichd.settings import Settings

Candidate = Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a shipped bundle, or a bundle folder.")]


def register(group: typer.Typer) -> None:
    """Add the commands of this module to `ichd model`."""
    group.command("list")(list_models)
    group.command("promote")(promote_model)
    group.command("rollback")(roll_back_model)


def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """The model in force, the one before it, and those that may be promoted."""
    from ichd.app.promoted import in_force, trouble_with
    from ichd.app.promotion import shelved
    from ichd.vision.bundle import list_bundles

    settings = settings_of(context)
    try:
        lines, found = shelved(settings.model), in_force(settings.model)
        source, trouble = found.source, trouble_with(settings.model, found)
    except IchdError as error:
        typer.echo(f"ichd: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        shipped, present = set(list_bundles()), lines[0].identity
        print_json(
            [
                _shape(line, source, shipped=line.folder in shipped, promotable=line.identity not in (None, present))
                for line in lines
            ]
        )
        return
    rows = (
        (
            line.state,
            line.identity.name if line.identity else line.folder.name,
            line.identity.version if line.identity else "?",
            line.identity.weights_sha256[:12] if line.identity else "",
            str(line.folder) if line.identity else line.problem,
            line.identity.statement if line.identity else "",
        )
        for line in lines
    )
    console().print(table(None, ("", "name", "version", "weights", "folder", "statement"), rows))
    typer.echo(f"\nin force: {source}")
    if trouble is not None:
        typer.echo(f"not well: {trouble}")


def promote_model(
    context: typer.Context,
    bundle: Candidate,
    reference: Annotated[
        str,
        typer.Option(
            "--reference", metavar="DIR|phantoms", help="What both models are measured on; else model.reference."
        ),
    ] = "",
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, max=1.0, help="How much worse the candidate's figures may be.")
    ] = 0.01,
    without_gate: Annotated[
        str | None, typer.Option("--without-gate", metavar="REASON", help="Measure nothing; the reason is recorded.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a bundle in force, if it is not worse than the present one; the daemon takes it up without a restart."""
    from ichd.app.candidate import examine_candidate, try_candidate
    from ichd.app.clock import utc_now
    from ichd.app.promoted import read_pointer
    from ichd.app.promotion import promote
    from ichd.app.trail import user_name
    from ichd.vision.bundle import find_bundle

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    candidate = find_bundle(bundle)
    if without_gate is not None:
        if not without_gate.strip():
            raise UserError("--without-gate wants the reason, which is recorded")
        if reference:
            raise UserError("--without-gate and --reference exclude each other; leave one out")
        try_candidate(settings.model, candidate)
        expected, gate = _pointer_or_none(settings), {"reason": without_gate.strip()}
    else:
        expected = read_pointer(settings.model)
        with progress() as bar:
            task = bar.add_task("the gate", total=None)
            examination = examine_candidate(
                settings.model,
                candidate,
                reference=reference,
                margin=margin,
                on_progress=lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
            )
        gate = examination.to_record()
        if not as_json:
            _show_gate(gate)
        if not examination.result.passed:
            if as_json:
                print_json({"promoted": False, "gate": gate})
            else:
                typer.echo(f"\nnot promoted: {' and '.join(gate['objections'])}, more than the margin of {margin:g}")
            raise typer.Exit(1)
    change = promote(
        settings.model,
        candidate,
        how="gate" if without_gate is None else "without_gate",
        gate=gate,
        expected=expected,
        by=user_name(),
        now=utc_now(),
    )
    _tell(settings, change, gate, as_json=as_json)


def roll_back_model(context: typer.Context, as_json: AsJson = False) -> None:
    """Put the model in force that was so before; done twice, it is undone."""
    from ichd.app.clock import utc_now
    from ichd.app.promotion import roll_back
    from ichd.app.trail import user_name

    settings = settings_of(context)
    configure_logging("warning", settings.log.format)
    change = roll_back(settings.model, by=user_name(), now=utc_now())
    _tell(settings, change, {}, as_json=as_json)


def _pointer_or_none(settings: "Settings") -> Any:
    """A damaged pointer is what a promotion without a gate may mend."""
    from ichd.app.promoted import read_pointer

    try:
        return read_pointer(settings.model)
    except UserError:
        return None


def _tell(settings: "Settings", change: "Change", gate: dict[str, Any], *, as_json: bool) -> None:
    from ichd.app.audit import record_model_change
    from ichd.app.promotion import verdict

    untold = record_model_change(
        settings, did=change.did, model=change.model, before=change.before, gate=verdict(gate) if gate else "not asked"
    )
    folder = Path(settings.model.promoted) / change.pointer.bundle
    if as_json:
        print_json(
            {
                "promoted": change.did == "promoted",
                "did": change.did,
                "name": change.model.name,
                "version": change.model.version,
                "weights_sha256": change.model.weights_sha256,
                "bundle_sha256": change.model.bundle_sha256,
                "folder": str(folder),
                "before": {"name": change.before.name, "version": change.before.version},
                "gate": gate,
                "in_audit_trail": untold is None,
            }
        )
        return
    typer.echo(f"\n{change.did} {change.model.name} {change.model.version}, {folder}")
    typer.echo(f"  before it: {change.before.name} {change.before.version}; `ichd model rollback` goes back to it")
    typer.echo("  running workers take it up before their next study; `ichd doctor` says if one can't")
    if untold is not None:
        typer.echo(f"  not in the audit trail: {untold}", err=True)


def _show_gate(gate: dict[str, Any]) -> None:
    before, after = gate["current"], gate["candidate"]
    auc, loss = gate["auc_difference"], gate["log_loss_difference"]

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    def interval(difference: dict[str, float]) -> str:
        return f"{difference['value']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f})"

    rows = [
        ("AUC any, scans", number(before["auc_any_scan"]), number(after["auc_any_scan"]), interval(auc), "judged"),
        (
            f"weighted log loss, {gate['log_loss_by']}s",
            number(before["weighted_log_loss"]),
            number(after["weighted_log_loss"]),
            interval(loss),
            "judged",
        ),
        ("AUC any, slices", number(before["auc_any_slice"]), number(after["auc_any_slice"]), "", ""),
        *(
            (f"AUC {name}, scans", number(value), number(after["auc_scan"][name]), "", "")
            for name, value in before["auc_scan"].items()
            if name != "any"
        ),
    ]
    title = (
        f"{gate['reference']}: {gate['scans']} scans of {gate['patients']} patients, {gate['scans_with_bleed']} bleed"
    )
    console().print(table(title, ("", "in force", "candidate", "difference (95 %)", ""), rows))
    for remark in gate["remarks"]:
        typer.echo(f"  mind: {remark}")


def _shape(line: "Shelved", source: str, *, shipped: bool, promotable: bool) -> dict[str, Any]:
    identity = line.identity
    return {
        "name": identity.name if identity else None,
        "version": identity.version if identity else None,
        "weights_sha256": identity.weights_sha256 if identity else None,
        "statement": identity.statement if identity else None,
        "demonstration": identity.demonstration if identity else None,
        "folder": str(line.folder),
        "state": line.state,
        "source": source if line.state == "in force" else None,
        "shipped": shipped,
        "promotable": promotable,
        "problem": line.problem or None,
    }
