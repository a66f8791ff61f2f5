"""How near to the physical limit a release reaches every host of a shaped network.

Prints one line for each client, ours first.  Times count from the moment the rollout was accepted
(ours) or the clients were started (others) to the moment a host has every byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from lab.clients import CLIENTS, why_not
from lab.faults import FAULTS
from lab.measure import OURS, Work, measure_fault, measure_other, measure_ours
from lab.network import Network
from lab.plan import Plan, plan_lab
from lab.rows import Row, compared, heading, median_row, shown
from lab.world import enter_world
from local_fleet import gone_afterwards, make_payload, scratch_folder

COUNT_MAX = 100_000  # of MiB, 100 GB; everything else has closer bounds of its own
RATE_MBIT_MIN = 0.1  # takes longer than anybody waits
RATE_MBIT_MAX = 100_000.0  # more than the memory of any machine moves
WAN_HOSTS = 2  # a cell's cable carries this many hosts' rate, when nothing else is said


def main() -> int:
    asked = _arguments()
    plan = _plan(asked)
    for fault in asked.fault:
        if why := FAULTS[fault].why_not(plan):
            raise SystemExit(f"swarm.py: --fault {fault}: {why}")
    enter_world()
    if why := why_not(asked.vs):
        raise SystemExit(f"swarm.py: --vs: {why}")
    if line := heading(asked.output):
        print(line)
    rows: dict[str, list[Row]] = {}
    with scratch_folder() as folder:
        network = Network(plan)
        network.make()
        payload = make_payload(folder / "tree", asked.mib << 20)
        for run in range(asked.runs):
            with gone_afterwards(folder / f"run{run}") as place:
                work = Work.begin(network, place, payload, asked.mib)
                for name, row in _measure(work, asked.vs, asked.fault):
                    _say(row | ({"run": run + 1} if asked.runs > 1 else {}), asked.output)
                    rows.setdefault(name, []).append(row)
    if asked.runs > 1:
        for measured in rows.values():
            _say(median_row(measured) | {"median_of": asked.runs}, asked.output)
    return 0


def _measure(work: Work, others: list[str], faults: list[str]) -> Iterator[tuple[str, Row]]:
    """One run: each line as it comes, under the name of its client or its fault."""
    undisturbed = measure_ours(work)
    yield OURS, undisturbed
    for client in others:
        yield client, measure_other(work, client)
    for fault in faults:
        yield fault, compared(measure_fault(work, fault), undisturbed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=_count, default=16, help="in all (default: 16)")
    parser.add_argument("--mbit", type=_rate, default=20.0, help="of each host, in 10^6 bit/s")
    parser.add_argument("--mib", type=_count, default=64, help="of random data")
    parser.add_argument("--cells", type=_count, default=1)
    parser.add_argument("--wan-mbit", type=_rate, help="of each cell (default: two hosts' rate)")
    parser.add_argument("--racks", type=_count, default=1, help="in each cell, a fault domain each")
    parser.add_argument("--uplink-mbit", type=_rate, help="of each rack (default: not shaped)")
    for option, known, what in (
        ("--vs", CLIENTS, "other clients, one after the other"),
        ("--fault", FAULTS, "the same once more for each"),
    ):
        text = f"{what}: {', '.join(known)}"
        names = partial(_names, known)
        parser.add_argument(option, type=names, default=[], metavar="NAME,...", help=text)
    parser.add_argument("--runs", type=_count, default=1, help="each measures its goodput anew")
    parser.add_argument("-o", "--output", choices=("json", "table"), default="json")
    return parser.parse_args()


def _plan(asked: argparse.Namespace) -> Plan:
    wan_mbit = asked.wan_mbit
    if wan_mbit is None and asked.cells > 1:
        wan_mbit = WAN_HOSTS * asked.mbit
    try:
        return plan_lab(
            hosts=asked.hosts,
            mbit=asked.mbit,
            cells=asked.cells,
            wan_mbit=wan_mbit,
            racks=asked.racks,
            uplink_mbit=asked.uplink_mbit,
        )
    except ValueError as error:
        raise SystemExit(f"swarm.py: {error}") from error


def _count(text: str) -> int:
    return int(_between(1, COUNT_MAX, int, text))


def _rate(text: str) -> float:
    return _between(RATE_MBIT_MIN, RATE_MBIT_MAX, float, text)


def _between(least: float, most: float, kind: Callable[[str], float], text: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:  # also what is no number
        raise argparse.ArgumentTypeError(f"{text!r} is not between {least:g} and {most:g}")
    return number


def _names(known: Mapping[str, object], text: str) -> list[str]:
    named = list(dict.fromkeys(text.split(",")))
    for name in named:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return named


def _say(row: Row, form: str) -> None:
    print(shown(row, "table" if form == "table" else "json"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
