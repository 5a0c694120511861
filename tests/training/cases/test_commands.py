"""`ichd data` and `ichd export` as a person meets them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.errors import UserError
from training.cases.index import read_index


def ichd(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_layout_is_written_and_indexed(tmp_path: Path) -> None:
    ichd("data", "synthesise", tmp_path / "rsna", "--studies", 2, "--rows", 64, "--slices", 3, 4)
    said = ichd("data", "index", "--rsna", tmp_path / "rsna", "--out", tmp_path / "rsna.parquet", "--seed", 3)
    for line in ("Found", "Left out", "pixel data too short", "Prevalence", "Pixel encodings", "seed 3"):
        assert line in said
    index = read_index(tmp_path / "rsna.parquet")
    assert index.facts["split"]["seed"] == 3
    assert not list(tmp_path.glob("*.partial"))


def test_json_is_one_object(layout: Path, tmp_path: Path) -> None:
    said = json.loads(ichd("data", "index", "--rsna", layout, "--out", tmp_path / "i.parquet", "--json"))
    assert said["index"] == str(tmp_path / "i.parquet")
    assert said["counts"]["images"] == len(read_index(tmp_path / "i.parquet").used)
    assert said["labels"]["repeated_rows"] == 24


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "one of --rsna, --folder and --daemon"),
        (("--rsna", "a", "--folder", "b"), "one of --rsna, --folder and --daemon"),
        (("--folder", "a"), "--folder needs --labels"),
        (("--daemon", "a", "--labels", "b"), "brings its labels along"),
        (("--daemon", "a", "--stage1-test", "b"), "belong to --rsna"),
        (("--rsna", "a", "--shared-patients", "maybe"), "use one of keep, drop"),
        (("--rsna", "a", "--valid", "0.6", "--test", "0.6"), "nothing to learn from"),
    ],
)
def test_options_that_do_not_go_together_are_named(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        CliRunner().invoke(app, ["data", "index", "--out", str(tmp_path / "i"), *options], catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_an_index_that_can_not_be_written_leaves_nothing(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="make room or name another place"):
        ichd("data", "index", "--rsna", layout, "--out", tmp_path / "file" / "i.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


#: No file may grow beyond 4 KiB: what a full disk is to a program.
_FULL_DISK = """
import resource, signal, sys
from ichd.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv[0] = "ichd"
main()
"""


def test_a_full_disk_is_named_and_leaves_nothing(layout: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FULL_DISK, "data", "index", "--rsna", str(layout), "--out", str(tmp_path / "i")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "can't be written (File too large); make room" in done.stderr
    assert not list(tmp_path.iterdir())
