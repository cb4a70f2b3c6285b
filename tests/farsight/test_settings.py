"""Where settings come from, and what happens to bad ones."""

import os
from pathlib import Path

import pytest
from pydantic import Field

from farsight.settings import ServiceSettings, load


class ExampleSettings(ServiceSettings):
    """A service with a setting of its own."""

    batch_rows: int = Field(7, ge=1, description="rows")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("FARSIGHT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file that sets three things."""
    path = tmp_path / "farsight.yaml"
    path.write_text("etcd: file:1\nlog_level: error\nbatch_rows: 1\n")
    return path


def test_defaults_need_nothing() -> None:
    """Every setting has a default, and the replica's name one that is unique on this host."""
    settings = load(ExampleSettings, [])

    assert settings.batch_rows == 7
    assert settings.replica_id.endswith(f"-{os.getpid()}")


def test_flags_beat_environment_beats_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source gives what those above it leave open."""
    monkeypatch.setenv("FARSIGHT_BATCH_ROWS", "2")
    monkeypatch.setenv("FARSIGHT_LOG_LEVEL", "warning")

    settings = load(ExampleSettings, ["--config", str(config), "--batch-rows=3"])

    assert (settings.etcd, settings.log_level, settings.batch_rows) == ("file:1", "warning", 3)


@pytest.mark.parametrize("by", ["flag", "joined flag", "environment"])
def test_the_file_is_named_in_three_ways(
    config: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config FILE`, `--config=FILE`, FARSIGHT_CONFIG."""
    if by == "environment":
        monkeypatch.setenv("FARSIGHT_CONFIG", str(config))
    argv = {"flag": ["--config", str(config)], "joined flag": [f"--config={config}"]}.get(by, [])

    assert load(ExampleSettings, argv).batch_rows == 1


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said when the process ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        load(ExampleSettings, argv)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_all_problems_are_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From file, environment and flags at once; unknown names are problems too."""
    config.write_text("nonsense: 1\ndrain_s: -1\nlisten: '127.0.0.1:http'\n")
    monkeypatch.setenv("FARSIGHT_LEASE_TTL_S", "soon")

    said = refusal([f"--config={config}", "--nats=http://nats:4222", "--log-format=json"], capsys)

    for name in ("nonsense", "drain_s", "listen", "lease_ttl_s", "nats"):
        assert f"settings: {name}: " in said


@pytest.mark.parametrize(
    "argv", [["--no-such-flag=1"], ["stray"], ["--batch-rows"], ["--log-format=xml"]]
)
def test_bad_flags_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown flags, stray words, missing and impossible values."""
    assert argv[0].split("=")[0].strip("-").replace("-", "") in (
        refusal(argv, capsys).replace("_", "").replace("-", "")
    )


@pytest.mark.parametrize(
    "content", [b"- a\n- b\n", b"just words", b"{: [", b"\xff\xfe\x00", b"1: 2\n"]
)
def test_a_file_that_is_no_mapping_is_refused(
    config: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file, no traceback."""
    config.write_bytes(content)

    assert f"settings: --config: {config}: " in refusal([f"--config={config}"], capsys)


def test_a_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a directory in its place."""
    for path in (tmp_path / "nowhere", tmp_path):
        assert str(path) in refusal([f"--config={path}"], capsys)


def test_an_empty_file_sets_nothing(config: Path) -> None:
    """Every default stays."""
    config.write_text("")

    assert load(ExampleSettings, [f"--config={config}"]).batch_rows == 7
