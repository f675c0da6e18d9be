"""Where the hub may listen: nothing that a device believes without a signature goes over a line that others reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.command import main
from hub.errors import HubError
from hub.serving import check_listen


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "hub.example", ""])
def test_beyond_loopback_there_is_tls_unless_somebody_says_no(host: str) -> None:
    assert check_listen(host, tls_cert=None, tls_key=None)
    assert not check_listen(host, tls_cert=None, tls_key=None, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_on_loopback_there_is_none_unless_somebody_says_so(host: str) -> None:
    assert not check_listen(host, tls_cert=None, tls_key=None)
    assert check_listen(host, tls_cert=None, tls_key=None, force_tls=True)
    with pytest.raises(HubError, match="--insecure goes without"):
        check_listen(host, tls_cert=None, tls_key=None, force_tls=True, insecure=True)


def test_tls_files_are_looked_at_first(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for cert, key, said in (
        (None, junk, "needs --tls-cert"),
        (tmp_path / "gone.pem", junk, "no such file"),
        (junk, junk, "not a certificate"),
    ):
        with pytest.raises(HubError, match=said):
            check_listen("0.0.0.0", tls_cert=cert, tls_key=key, insecure=False)


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--database", f"sqlite:///{tmp_path / 'hub.db'}"]
    for wrong, said in (
        (["--listen", "127.0.0.1:0", "--tls", "--insecure"], "--insecure"),
        (["--listen", "127.0.0.1:0", "--workers", "2"], "PostgreSQL"),
        (["--listen", "127.0.0.1:0", "--workers", "0"], "1 to 32"),
    ):
        status = main(["serve", *database, *wrong])
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert said in err
    assert not (tmp_path / "hub.db").exists()
