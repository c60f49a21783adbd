"""A worker of several queues: its set's bell says that there is work, and this says where to take it.

The queues of the members have no consumers. Each message that is published to one of them rings: a copy
goes to the set's bell, the one queue that the set's workers consume. Whoever holds a ring may take one
message, of whichever member. So a worker never holds more messages than it has slots, what waits is in
sight of every idle worker, and a busy member cannot keep the others waiting (docs/adr/0009).
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from worker.job import Job
from worker.session import Session

__all__ = ["PATROL_S", "Pool", "Taken"]

# An idle worker looks for messages without a ring: of before their filter was a member.
PATROL_S = 5.0
# The ring and its message are two queues' affair: the message may be seen a moment later.
LOOKS_S = (0.0, 0.02, 0.08, 0.4)


class Taken(NamedTuple):
    job: Job
    tag: int


class Pool:
    """members: the queue of each filter, by its name. Used by one worker, whatever its sessions.

    All calls raise LostError.
    """

    def __init__(self, members: Mapping[str, str]) -> None:
        self._members = members
        self._served = dict.fromkeys(sorted(members), 0)

    async def take(self, session: Session) -> Taken | None:
        """Take one message for a ring; None when there is none: somebody took it without one."""
        for wait_s in LOOKS_S:
            await asyncio.sleep(wait_s)
            if taken := await self.look(session):
                return taken
        return None

    async def look(self, session: Session) -> Taken | None:
        """Take a message of the member that was served least lately, of those that have one."""
        for name in sorted(await self.waits(session), key=self._served.__getitem__):
            if got := await session.get(self._members[name]):
                self._served[name] = 1 + max(self._served.values())
                method, properties, body = got
                return Taken(Job.of(method, properties, body, name), int(method.delivery_tag or 0))
        return None

    async def waits(self, session: Session) -> list[str]:
        """The members with messages that wait."""
        return [name for name in self._served if await session.ready(self._members[name]) > 0]
