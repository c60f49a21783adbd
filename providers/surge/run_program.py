"""What the supervisor starts: reads argv and environment from a 0600 file, and becomes that program.

Neither the supervisor's configuration nor its environment holds a secret that way, and no quoting
rule of its configuration file can change an argument. Standard library only: it starts in 20 ms.
"""

import json
import os
import sys
from pathlib import Path

__all__ = ["main"]


def main(path: str) -> None:
    program = json.loads(Path(path).read_text(encoding="utf-8"))
    os.chdir(program["directory"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SUPERVISOR_")}
    environment.pop("SURGE_SUPERVISOR", None)
    environment.update(program["environment"])
    try:
        os.execvpe(program["command"][0], program["command"], environment)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {program['command'][0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1])
