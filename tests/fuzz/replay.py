"""Feed one decoder one input again, with its traceback.

.venv/bin/python -m tests.fuzz.replay 'open_envelope' 4711        # input number 4711
.venv/bin/python -m tests.fuzz.replay 'open_envelope' --hex 93c0  # these bytes
.venv/bin/python -m tests.fuzz.replay 'open_envelope' --bomb 'map-of-4-billion'
"""

from __future__ import annotations

import argparse

from tests.fuzz.bombs import bombs_for
from tests.fuzz.running import DECODERS, fed, input_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("decoder", choices=list(DECODERS), metavar="DECODER")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("seed", type=int, nargs="?")
    what.add_argument("--hex", type=bytes.fromhex)
    what.add_argument("--bomb")
    asked = parser.parse_args()
    decoder = DECODERS[asked.decoder]
    if asked.bomb is not None:
        data = dict(bombs_for(decoder.samples, decoder.form))[asked.bomb]
    else:
        data = asked.hex if asked.hex is not None else input_of(decoder, asked.seed)
    print(f"{len(data)} bytes: {data[:2_048].hex()}")
    print("accepted" if fed(decoder, data) else "refused")


if __name__ == "__main__":
    main()
