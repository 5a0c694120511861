"""Two accounts and their secrets."""

from ichd.web.access.secret import hash_password, new_token

PASSWORD = "correct höresé battery"  # noqa: S105 - of a test
TOKEN, TOKEN_HASH = new_token()
PASSWORD_HASH = hash_password(PASSWORD)
SECRETS = {"viewer": PASSWORD_HASH, "sender": TOKEN_HASH}
