"""`python -m surge.cli`."""

import gc

from surge.cli import app

# The states of a fleet are hundreds of thousands of objects that all stay: by default they are walked again
# and again while they are read, for half of the time that it takes.
gc.set_threshold(50_000)

try:
    app(prog_name="surge")
finally:
    # Nor need they be taken apart at the end, module by module: half a second.
    gc.freeze()
