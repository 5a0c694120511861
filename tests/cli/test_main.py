"""The command line itself: options anywhere, errors as one sentence, exit codes."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from ichd.cli.main import hoist

#: The checkout's own cache of converted models: to convert one takes longer than most of what is tested.
SHARED_CACHE = {"ICHD_MODEL__CACHE": str(Path(__file__).parents[2] / "var" / "engine-cache")}


def ichd(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "ichd", *arguments],
        check=False,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        (["status", "--config", "a.toml"], ["--config", "a.toml", "status"]),
        (["status", "--config=a.toml", "--json"], ["--config=a.toml", "status", "--json"]),
        (["predict", "x", "--debug"], ["--debug", "predict", "x"]),
        (["predict", "--", "--debug"], ["predict", "--", "--debug"]),
        (["status", "--config"], ["--config", "status"]),
        ([], []),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], ordered: list[str]) -> None:
    assert hoist(given) == ordered


def test_help_names_every_command(tmp_path: Path) -> None:
    done = ichd("--help", cwd=tmp_path)
    assert done.returncode == 0
    daemon = ("serve", "listen", "worker", "web", "migrate", "status", "retry", "reprocess", "backup", "restore")
    tools = ("predict", "send", "phantom", "report", "demo", "doctor", "train", "model")
    for command in daemon + tools:
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (("status", "--config", "absent.toml"), 2, "absent.toml is not there"),
        (("predict", "absent"), 2, "absent does not exist"),
        (("report", "absent.dcm"), 2, "absent.dcm does not exist"),
        (("send", ".", "--to", "nowhere"), 2, "AET@HOST:PORT"),
        (("send", ".", "--to", "A_TITLE_THAT_IS_TOO_LONG@127.0.0.1:104"), 2, "at most 16 characters"),
        (("phantom", "out", "--bleed", "nosebleed"), 2, "subdural"),
        (("phantom", "a-file"), 2, "a-file is a file; name a folder"),
        (("demo", "--out", "a-file"), 2, "a-file is a file; name a folder"),
        (("demo", "--bleed", "nosebleed"), 2, "subdural"),
        (("phantom", "a-file/below"), 1, "a-file/below"),
        (("report", "a-file"), 2, "a-file is not a DICOM file"),
        (("report", "bad-vr.dcm"), 2, "bad-vr.dcm is damaged DICOM"),
        (("status",), 2, "ichd migrate"),
        (("model", "verify", "absent"), 2, "absent"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_mend(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, sentence: str
) -> None:
    (tmp_path / "a-file").write_text("text")
    (tmp_path / "bad-vr.dcm").write_bytes(with_a_vr_that_is_none())
    done = ichd(*arguments, cwd=tmp_path)
    assert done.returncode == exit_code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def with_a_vr_that_is_none() -> bytes:
    """A DICOM file, Explicit VR Little Endian, whose Modality has a VR that PS3.5 6.2 doesn't know."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.88.34")
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.Modality = "SR"
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue().replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00QQ")


#: A command that fails in a way that nobody named.
DEFECT = """
import sys
import ichd.settings
def broken(*_):
    raise RuntimeError("Doe^Jane")
ichd.cli.invocation.load_settings = broken
from ichd.cli.main import main
sys.argv[1:] = ["status", *sys.argv[1:]]
main()
"""


def test_a_defect_is_a_sentence_that_quotes_nothing(tmp_path: Path) -> None:
    plain, debug = (
        subprocess.run(
            [sys.executable, "-c", "import ichd.cli.invocation" + DEFECT, *options],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        for options in ([], ["--debug"])
    )

    assert (plain.returncode, debug.returncode) == (1, 1)
    assert plain.stderr == "ichd: a defect of ichd: RuntimeError; run again with --debug and report what it shows\n"
    assert "Traceback" in debug.stderr


def test_a_defect_of_a_daemon_stands_in_its_log(tmp_path: Path) -> None:
    program = """
import sys
import ichd.app.listener
def broken(*_):
    raise RuntimeError("Doe^Jane")
ichd.app.listener.run_listener = broken
from ichd.cli.main import main
sys.argv[1:] = ["listen"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    logged = json.loads(done.stderr.splitlines()[0])
    assert (logged["event"], logged["role"]) == ("role_crashed", "listen")
    assert "in broken" in logged["exception"]
    assert "Doe^Jane" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = ichd("predict", "absent", "--debug", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_an_unknown_setting_is_an_error_of_every_command(tmp_path: Path) -> None:
    done = ichd("status", cwd=tmp_path, env={"ICHD_DICOM__PROT": "1"})
    assert done.returncode == 2
    assert "ICHD_DICOM__PORT" in done.stderr


@pytest.mark.parametrize("arguments", [("status",), ("retry", "1.2.3"), ("reprocess", "1.2.3"), ("doctor",)])
def test_looking_creates_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = ichd(*arguments, cwd=tmp_path)
    assert "there is no database at var/ichd.db yet; run `ichd migrate`" in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_developer_may_have_test_data_in_the_environment(tmp_path: Path) -> None:
    done = ichd("status", cwd=tmp_path, env={"ICHD_TEST_DATA": "/somewhere"})
    assert "no database" in done.stderr


def test_migrate_then_an_empty_status(tmp_path: Path) -> None:
    assert ichd("migrate", cwd=tmp_path).returncode == 0
    assert (tmp_path / "var/ichd.db").exists()
    done = ichd("status", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["studies"] == []


def test_a_phantom_does_not_mix_with_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/001.dcm").touch()
    done = ichd("phantom", "out", "--slices", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "name another folder" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["001.dcm"]
