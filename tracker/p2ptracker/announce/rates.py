"""How often one caller may come: a token bucket for each, in a bounded table (pure core)."""

from __future__ import annotations

import msgspec

__all__ = ["Rates", "RatesConfig"]


class RatesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``burst`` at once, then ``per_s`` for each second; of at most ``callers_max`` at a time."""

    per_s: float
    burst: int
    callers_max: int


class Rates:
    """One bucket per caller.  A caller that is not in the table has a full one."""

    def __init__(self, config: RatesConfig) -> None:
        self._config = config
        self._levels: dict[str, tuple[float, float]] = {}  # tokens, and when; by last visit

    def __repr__(self) -> str:
        return f"<Rates of {len(self._levels)} callers>"

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, caller: str, now: float) -> float:
        """Take one token of *caller*.

        Args:
            caller: By whatever name it is counted.
            now: Monotonic seconds.

        Returns:
            0 when there was one; else the seconds until there is, and nothing was taken.
        """
        config = self._config
        tokens, seen_at = self._levels.pop(caller, (float(config.burst), now))
        tokens = min(config.burst, tokens + (now - seen_at) * config.per_s)
        if len(self._levels) >= config.callers_max:
            # The one that was quiet longest; a second or two, and its bucket is full anyway.
            del self._levels[next(iter(self._levels))]
        enough = tokens >= 1.0
        self._levels[caller] = (tokens - enough, now)
        return 0.0 if enough else (1.0 - tokens) / config.per_s
