"""What a shell completes is what the commands take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from detections.commands.command import run
from mailvigil.cli import COMMANDS

ASK_BASH = """
set -eu
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$(($# - 2))
$(complete -p mailvigil | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that bash reads."""
    ran = run("completion", "bash")
    assert (ran.code, ran.err) == (0, "")
    path = tmp_path_factory.mktemp("completion") / "mailvigil"
    path.write_text(ran.out, encoding="utf-8")
    return path


def completed(script: Path, *words: str, cwd: Path) -> set[str]:
    """Return what bash offers for the last of *words*."""
    bash = shutil.which("bash")
    assert bash, "bash is what is asked"
    command = [bash, "--norc", "-c", ASK_BASH, "bash", str(script), "mailvigil", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {line.strip() for line in done.stdout.splitlines()}


@pytest.mark.posix
def test_bash_completes_commands_and_options(script: Path, tmp_path: Path) -> None:
    assert completed(script, "", cwd=tmp_path) >= set(COMMANDS)
    assert completed(script, "hu", cwd=tmp_path) == {"hunt"}
    assert completed(script, "hunt", "--base", cwd=tmp_path) == {"--baseline"}
    assert completed(script, "hunt", "--format", "", cwd=tmp_path) == {"table", "json", "csv"}
    assert completed(script, "rules", "com", cwd=tmp_path) == {"compile"}


@pytest.mark.posix
def test_bash_completes_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "export.csv").touch()
    (tmp_path / "known.jsonl").touch()

    assert "export.csv" in completed(script, "hunt", "exp", cwd=tmp_path)
    assert "known.jsonl" in completed(script, "hunt", "--baseline", "kno", cwd=tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_shell_gets_a_script_that_it_can_read(shell: str, tmp_path: Path) -> None:
    ran = run("completion", shell)

    assert (ran.code, ran.err) == (0, "")
    assert all(command in ran.out for command in COMMANDS)
    program = shutil.which(shell)
    if program:
        file = tmp_path / "script"
        file.write_text(ran.out, encoding="utf-8")
        done = subprocess.run([program, "-n", file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
