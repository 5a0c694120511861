"""What schema this version needs, said without loading Alembic."""

import subprocess
import sys

from alembic.script import ScriptDirectory

from ichd.store.engine import _migrations_folder, newest_schema


def test_it_is_the_one_that_alembic_would_migrate_to() -> None:
    assert newest_schema() == ScriptDirectory(str(_migrations_folder())).get_current_head()


def test_a_daemon_that_starts_does_not_load_alembic() -> None:
    """It takes as long to load as half of what a listener needs."""
    program = "import sys, ichd.cli.main, ichd.app.listener, ichd.app.serve; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
