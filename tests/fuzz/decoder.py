"""One decoder as the fuzzer sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from p2pdeploy.codec import decode, encode
from p2pdeploy.errors import P2PDeployError, ProtocolError
from tests.fuzz.mutations import Form
from tests.fuzz.samples import samples_of


class Decoder(msgspec.Struct, frozen=True, kw_only=True):
    """``read`` takes any bytes; the only things that it may raise are ``refuses``.

    ``honest`` are inputs from real life, the same in every run; without any, they are made from
    the type ``kind``.  ``memory_bytes_max`` is what reading one bomb of at most 1 MiB may cost at
    its peak.
    """

    name: str
    read: Callable[[bytes], object]
    honest: tuple[bytes, ...] = ()
    kind: Any = None
    form: Form = "msgpack"
    refuses: tuple[type[Exception], ...] = (ProtocolError,)
    memory_bytes_max: int = 16 * 1024 * 1024

    @property
    def samples(self) -> tuple[bytes, ...]:
        """What is mutated."""
        return self.honest or samples_of(self.kind, in_json=self.form == "json")


def of_message(kind: Any, *, bytes_max: int, name: str = "") -> Decoder:
    """``codec.decode`` of one message type, or of one union.

    What is let in must also be sayable: whoever stores or relays it writes it again.
    """

    def read(data: bytes) -> None:
        message = decode(data, kind, bytes_max=bytes_max)
        again = encode(message)
        assert encode(decode(again, kind, bytes_max=2 * bytes_max)) == again

    return Decoder(name=name or kind.__name__, read=read, kind=kind)


def of_json(
    name: str,
    kind: Any,
    read: Callable[[bytes], object],
    *,
    refuses: tuple[type[Exception], ...] = (P2PDeployError,),
) -> Decoder:
    """A reader of JSON whose samples are values of *kind*."""
    return Decoder(name=name, read=read, kind=kind, form="json", refuses=refuses)
