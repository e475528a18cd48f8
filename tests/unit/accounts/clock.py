"""Time that a test moves."""


class HandClock:
    def __init__(self) -> None:
        self.now_s = 1_795_392_000.0  # 2026-11-23

    def wall_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_us(self) -> int:
        return int((self.now_s - 1_000_000_000) * 1_000_000)
