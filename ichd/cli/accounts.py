"""secret."""

import getpass
import sys
from typing import Annotated

import typer

from ichd.domain.errors import UserError

#: NIST SP 800-63B asks for eight; a door to images may ask for more.
_SHORTEST_PASSWORD = 10


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(secret)


def secret(
    token: Annotated[bool, typer.Option("--token", help="Make a bearer token, instead of asking a password.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, one line.")] = False,
) -> None:
    """Make the secret of a [[web.account]]: a hash, from which nobody gets the password back."""
    from ichd.web.access.secret import hash_password, new_token

    if token and stdin:
        raise UserError("--token makes the token itself; leave --stdin out")
    if token:
        made, hashed = new_token()
        typer.echo("The token, shown this once; give it to the program that is to send or look:", err=True)
        typer.echo(made)
    else:
        hashed = hash_password(_password(from_stdin=stdin))
    typer.echo("For ichd.toml, below [[web.account]] and its name:", err=True)
    typer.echo(f'secret = "{hashed}"')


def _password(*, from_stdin: bool) -> str:
    """A password that was typed twice, or came in a pipe.

    Raises:
        UserError: it is too short, or the two differ.
    """
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    else:
        given = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != given:
            raise UserError("the two passwords differ; try again")
    if len(given) < _SHORTEST_PASSWORD:
        raise UserError(f"a password has at least {_SHORTEST_PASSWORD} characters; take a longer one")
    return given
