"""`python -m surge.cli`."""

import gc

# Modules and the states of a fleet are hundreds of thousands of objects that all stay: by default they are
# walked again and again while they are read, for half of the time that it takes.
gc.set_threshold(50_000)

from surge.cli.app import app  # noqa: E402 -- they are many

try:
    app(prog_name="surge")
finally:
    # Nor need they be taken apart at the end, module by module: half a second.
    gc.freeze()
