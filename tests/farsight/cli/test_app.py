"""Bad arguments: one line on stderr and exit code 2."""

from pathlib import Path

import pytest

from farsight.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dance"], "No such command 'dance'"),
        (["status", "--etcd", "nonsense"], "etcd: expected host:port, not 'nonsense'"),
        (["status", "--without", "router"], "'router' is not one of"),
        (["top", "--interval-s", "0"], "greater than or equal to 0.1"),
        (["route", "--text", "hi"], "Missing option '--model'"),
        (["route", "--model", "m"], "exactly one of --text, --tokens and --chat-file"),
        (["route", "--model", "m", "--text", "a", "--tokens", "1"], "exactly one of"),
        (["route", "--model", "m", "--tokens", "1,x"], "--tokens: expected ids"),
        (["route", "--model", "m", "--tokens", "4294967296"], "--tokens: expected ids"),
        (["route", "--model", "m", "--chat-file", "/nowhere"], "does not exist"),
        (["route", "--model", "m", "--slo-ttft-ms", "soon", "--text", "a"], "a valid number"),
        (["index", "dance"], "No such command 'dance'"),
        (["index", "diff", "a b"], "ENDPOINT: expected"),
        (["index", "diff", "--nats", "nonsense"], "--nats: expected nats://host:port"),
        (["index", "dump"], "Missing argument 'ENDPOINT'"),
    ],
)
def test_bad_arguments(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """The line names what is wrong."""
    exit_code = run(arguments)

    out, err = capsys.readouterr()
    assert (exit_code, out) == (2, "")
    assert err.startswith("farsight: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("body", ["{", "3", '{"message": []}'])
def test_bad_chat_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, body: str) -> None:
    """A chat file that is no chat is refused before anybody is asked."""
    chat = tmp_path / "chat.json"
    chat.write_text(body)

    exit_code = run(["route", "--model", "m", "--chat-file", str(chat)])

    assert exit_code == 2
    assert "--chat-file: expected" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help is shown."""
    exit_code = run([])

    shown = capsys.readouterr().out
    assert exit_code == 0
    assert all(command in shown for command in ("status", "route", "top", "index"))
