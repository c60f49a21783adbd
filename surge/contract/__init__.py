"""The worker contract, and a check that runs it against any worker, of any language.

The worker gets a scratch queue through a relay that reads every AMQP frame on its way: what it sees
is what the worker did, not what it says.
"""

from surge.contract.check import Subject, check
from surge.contract.clauses import CLAUSES, Clause, Verdict
from surge.contract.scratch import ScratchError
from surge.contract.stage import Options

__all__ = ["CLAUSES", "Clause", "Options", "ScratchError", "Subject", "Verdict", "check"]
