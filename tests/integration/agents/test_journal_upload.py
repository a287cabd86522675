"""systemd-journal-upload, unmodified, sends a journal that systemd-journal-remote has made."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.doors import Doors
from tests.servers import needs
from tests.snippets import snippet

SYSTEMD = Path("/lib/systemd")
ENTRIES = 500


def export(word: str) -> bytes:
    """Give entries as journals are exported; one has a field with a line end inside."""
    now_us, found = time.time_ns() // 1000 - ENTRIES * 1000, []
    for number in range(ENTRIES):
        at = f"__REALTIME_TIMESTAMP={now_us + number * 1000}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        at += "_BOOT_ID=0123456789abcdef0123456789abcdef\n_MACHINE_ID=fedcba9876543210fedcba9876543210\n"
        text = b"MESSAGE\n" + (len(word) + 8).to_bytes(8, "little") + f"{word}\nfirst.".encode() + b"!\n"
        message = text if number == 0 else f"MESSAGE={word} {number}\n".encode()
        fields = b"PRIORITY=3\nSYSLOG_IDENTIFIER=payments\n_HOSTNAME=box\n"
        found.append(at.encode() + message + fields)
    return b"\n".join(found) + b"\n"


@needs((SYSTEMD / "systemd-journal-upload").exists(), "journal-upload")
def test_a_journal_is_uploaded_and_a_second_upload_goes_on_where_the_first_ended(doors: Doors, tmp_path: Path) -> None:
    journal, state = tmp_path / "system.journal", tmp_path / "state"
    command = [str(SYSTEMD / "systemd-journal-remote"), f"--output={journal}", "-"]
    subprocess.run(command, input=export("journalword"), check=True, capture_output=True, timeout=60)
    url = snippet("journald.md", "[Upload]", {"http://127.0.0.1:8000": doors.url}).partition("URL=")[2].strip()
    upload = [str(SYSTEMD / "systemd-journal-upload"), f"--url={url}", f"--save-state={state}"]
    upload += [f"--directory={tmp_path}", "--follow=no"]
    subprocess.run(upload, check=True, capture_output=True, timeout=120)
    rows = doors.found("journalword", ENTRIES)
    subprocess.run(upload, check=True, capture_output=True, timeout=120)
    # It sends the entry at which it stood once more: its id is the same, by which a system's writer drops it.
    again = [row for row in doors.rows() if "journalword" in row["message"]]
    assert {row["event_id"] for row in again} == {row["event_id"] for row in rows}
    assert len(again) <= ENTRIES + 1
    assert {(row["level"], row["service"], row["host"]) for row in rows} == {("ERROR", "payments", "box")}
    assert "journalword\nfirst.!" in {row["message"] for row in rows}
    assert len({row["event_id"] for row in rows}) == ENTRIES
    assert state.exists()
