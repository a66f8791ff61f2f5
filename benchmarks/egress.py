"""What the origin sends while a fleet on loopback fetches one release, in multiples of it."""

from __future__ import annotations

import argparse
import sys

from local_fleet import make_payload, running_lab, scratch_folder
from result import ResultWriter

LIMIT = 1.1


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--hosts", type=int, default=12)
    asked = arguments.parse_args()
    results = ResultWriter()
    with scratch_folder() as folder:
        make_payload(folder / "tree", asked.mib << 20)
        with running_lab(folder, hosts=asked.hosts, fault_domains=3) as lab:
            published = lab.p2pctl("publish", "hello", "1.0.0", str(folder / "tree"))
            seconds = lab.roll_out("hello", "1.0.0", "20m")
            size_bytes = int(str(published["size_bytes"]))
            sent_bytes = lab.egress_bytes("hello", "1.0.0")
            results.add(
                "origin-egress",
                sent_bytes / size_bytes,
                LIMIT,
                "x",
                hosts=asked.hosts,
                mib=asked.mib,
                rollout_s=round(seconds, 1),
            )
    return results.exit_code


if __name__ == "__main__":
    sys.exit(main())
