"""``p2pctl enroll``: let hosts in, see how they stand, and put them out."""

from __future__ import annotations

from pathlib import Path

import click

from p2pctl.documents import RevokeReport
from p2pctl.durations import DURATION
from p2pctl.fleet_dir import FleetDir
from p2pctl.inventory_file import read_inventory
from p2pctl.options import fleet_option, output_option
from p2pctl.output import Output, note, print_json
from p2pctl.render.enrolment import view_enrolment, view_tokens
from p2pdeploy.errors import ConfigError, RefusedError
from p2pdeploy.ids import FaultDomain, HostName, cell_id, check_label
from p2pdeploy.messages.api import HostView
from p2pdeploy.messages.enrolment_desk import (
    TOKEN_TTL_S,
    TOKEN_TTL_S_MAX,
    RevokeRequest,
    TokenRequest,
    TokenView,
)
from p2pdeploy.topology import Host

__all__ = ["enroll"]

_GOSSIP_PORT, _SWARM_PORT, _HOST_PORT = 7946, 6881, 7947
_HOSTS_PER_REQUEST = 500  # 125 KiB, half of what the API takes at once
_ttl_option = click.option(
    "--ttl",
    "ttl_s",
    type=DURATION,
    default=TOKEN_TTL_S,
    show_default="1h",
    help="How long the token may be used; at most 24h.",
)


@click.group("enroll")
def enroll() -> None:
    """Let hosts into the fleet, and put them out."""


@enroll.command("token")
@click.option("--host", "name", required=True, metavar="NAME", help="The host that will join.")
@click.option("--address", help="Its IP address; for a host that is new in the inventory.")
@click.option("--env", "environment", help="Its environment.")
@click.option("--mf", "machine_function", help="Its machine function.")
@click.option("--fd", "fault_domain", help="Its fault domain.")
@click.option("--cluster", help="Its cluster within the environment; c0 when not given.")
@click.option("--on-lan", is_flag=True, help="No address in the token: it is announced on the LAN.")
@_ttl_option
@output_option
@fleet_option
def token(
    name: str,
    address: str | None,
    environment: str | None,
    machine_function: str | None,
    fault_domain: str | None,
    cluster: str | None,
    on_lan: bool,
    ttl_s: float,
    output: Output,
    fleet: FleetDir,
) -> None:
    """Make a join token: one host may use it, once, with 'p2pdaemon join TOKEN'.

    A host that is new is taken into the inventory, and then needs --address, --env, --mf and
    --fd.  What is said of one that is known must be as the inventory has it.
    """
    check_label(name, "host name")
    said = {
        "address": address,
        "environment": environment,
        "machine_function": machine_function,
        "fault_domain": fault_domain,
        "cluster": cluster,
    }
    with fleet.connect() as api:
        known = [host for host in api.hosts(filters=(f"name={name}",)) if host.name == name]
        if known:
            _require_as_said(known[0], said)
            request = TokenRequest(hosts=(HostName(name),), ttl_s=_checked(ttl_s), on_lan=on_lan)
        else:
            request = TokenRequest(
                new=(_new_host(name, said),), ttl_s=_checked(ttl_s), on_lan=on_lan
            )
        made = api.join_tokens(request)
    _show(made, output)


@enroll.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--by-certificate",
    is_flag=True,
    help="No tokens: each host may join once with its certificate of the company's CA.",
)
@_ttl_option
@output_option
@fleet_option
def import_hosts(
    file: Path, by_certificate: bool, ttl_s: float, output: Output, fleet: FleetDir
) -> None:
    """Take the hosts of FILE (JSON or CSV) into the inventory, and let each join once.

    Each gets a token; or none, with --by-certificate. Hosts that are known stay as they are.

    The columns of a CSV file are name, address, environment, machine_function, fault_domain and,
    if you like, cluster and the ports.
    """
    hosts = read_inventory(file)
    made: list[TokenView] = []
    with fleet.connect() as api:
        for first in range(0, len(hosts), _HOSTS_PER_REQUEST):
            batch = tuple(hosts[first : first + _HOSTS_PER_REQUEST])
            request = TokenRequest(new=batch, ttl_s=_checked(ttl_s), by_certificate=by_certificate)
            made += api.join_tokens(request)
    if by_certificate and not output.is_json:
        note(f"{len(made)} hosts may join by their certificates, once each")
        return
    _show(made, output)


@enroll.command("status")
@output_option
@fleet_option
def status(output: Output, fleet: FleetDir) -> None:
    """Show how every host stands, and who tried a token that was not theirs to use.

    ENROLMENT rises by one with each join, and lower numbers are believed no more; a host that
    joined once has 2, since 1 stands for having never joined.
    """
    with fleet.connect() as api:
        found = api.enrolment()
    output.show(found, view_enrolment)


@enroll.command("revoke")
@click.argument("host")
@click.option("--reason", default="", help="Shown by 'enroll status'.")
@output_option
@fleet_option
def revoke(host: str, reason: str, output: Output, fleet: FleetDir) -> None:
    """Put HOST out of the fleet until it is enrolled anew; within a minute nobody talks to it.

    For people and jobs there is 'auth revoke'.
    """
    with fleet.connect() as api:
        api.revoke(RevokeRequest(host=host, reason=reason))
    if output.is_json:
        print_json(RevokeReport(host=HostName(host), reason=reason))
    note(f"{host} is revoked; the control plane refuses it now")


def _checked(ttl_s: float) -> float:
    if not 0 < ttl_s <= TOKEN_TTL_S_MAX:
        raise click.UsageError("--ttl is above zero and at most 24h")
    return ttl_s


def _require_as_said(known: HostView, said: dict[str, str | None]) -> None:
    cluster = known.cell.rpartition(".")[2]
    for field, value in said.items():
        has = cluster if field == "cluster" else str(getattr(known, field))
        if value is not None and value != has:
            raise RefusedError(
                f"the inventory has {field} {has!r}, not {value!r}",
                where=known.name,
                hint="the inventory decides; change it there if it is wrong",
                code="host-differs",
            )


def _new_host(name: str, said: dict[str, str | None]) -> Host:
    lacking = [field for field in said if said[field] is None and field != "cluster"]
    if lacking:
        raise ConfigError(
            f"{name!r} is new, and its {lacking[0].replace('_', ' ')} is not said",
            hint="name --address, --env, --mf and --fd",
            code="no-host",
        )
    words = {field: value or "" for field, value in said.items()}
    return Host(
        name=HostName(name),
        address=words["address"],
        environment=words["environment"],
        machine_function=words["machine_function"],
        cell=cell_id(words["environment"], words["machine_function"], words["cluster"] or "c0"),
        fault_domain=FaultDomain(words["fault_domain"]),
        gossip_port=_GOSSIP_PORT,
        swarm_port=_SWARM_PORT,
        host_port=_HOST_PORT,
    )


def _show(made: list[TokenView], output: Output) -> None:
    output.show(made, view_tokens)
