"""A client process for tests: lends every slot it has, says so, and waits to be killed."""

from __future__ import annotations

import sys
import time

from saccade.engine.client import HostClient
from saccade.types import HostName, ModelName


def main(run_dir: str, slots: int) -> None:
    """Lend all slots to model `m` of host `main`; end when standard input ends."""
    client = HostClient(
        run_dir,
        host=HostName("main"),
        model=ModelName("m"),
        name="victim",
        slots=slots,
        frame_bytes=0,
    )
    client.connect()
    while not client.is_ready:
        for _arrival in client.on_readable():
            pass
    for seq in range(slots):
        assert client.ring is not None
        slot = client.ring.take()
        assert slot is not None
        client.ring.input(slot, client.input.height, client.input.width)[:] = 99
        assert client.submit(slot, seq=seq, admitted=slots, deadline_s=time.monotonic() + 60)
    sys.stdout.write("lent\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
