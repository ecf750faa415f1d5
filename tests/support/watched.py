"""Run ``cnnviz rerun`` on files in a process of its own that sees all it opens, imports, runs and sends.

Called as ``python -m tests.support.watched FILE.json``: a list of argument lists; the answers go to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
TELLING = (
    "import",
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "os.kill",
)
CHANGING = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "shutil.",
)


class Watch:
    """What the process did since it was last asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            file, _, flags = arguments
            if isinstance(file, (str, bytes, os.PathLike)):
                kind = "write" if flags & WRITING else "read"
                self.seen.append((kind, os.path.abspath(os.fsdecode(file))))  # noqa: PTH100 - links stay links
        elif event == "exec":
            self.seen.append((event, str(getattr(arguments[0], "co_filename", ""))))
        elif event.startswith((*TELLING, *CHANGING)):
            self.seen.append((event, str(arguments[0]) if arguments else ""))


def main() -> None:
    from click.testing import CliRunner
    from cnnviz.cli.app import main as command

    asked = json.loads(Path(sys.argv[1]).read_text())
    runner, watch, answers = CliRunner(), Watch(), []
    runner.invoke(command, asked[0])  # what is loaded once is loaded here
    sys.addaudithook(watch)
    for arguments in asked[1:]:
        watch.seen = []
        start = time.process_time()
        found = runner.invoke(command, arguments, prog_name="cnnviz")
        taken = time.process_time() - start
        did = list(dict.fromkeys(watch.seen))
        answers.append({"code": found.exit_code, "said": found.stderr, "did": did, "seconds": taken})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
