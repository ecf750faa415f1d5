"""One process or two: the same bytes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED = ("evaluate", "--model", "shapes-resnet", "--methods", "gradcam", "--metrics", "srg,mass", "--budget", "2")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_under_torchrun_the_values_and_the_table_are_the_same_bytes(tmp_path):
    found = []
    for count in (1, 2):
        runner = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--master-port", str(free_port())]
        folder, table = tmp_path / str(count), tmp_path / f"{count}.json"
        asked = [*ASKED, "--block", "2", "--folder", str(folder), "shapes:9", "-o", str(table)]
        command = [sys.executable, *(runner if count > 1 else []), "-m", "cnnviz", *asked]
        done = subprocess.run(command, check=False, cwd=ROOT, timeout=300, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        parts = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
        assert len(parts) == 5
        found.append((parts, (folder / "study.json").read_bytes(), table.read_bytes()))
    assert found[0] == found[1]
