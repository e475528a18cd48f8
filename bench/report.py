"""The table that a run prints: one line per figure, nginx beside the gateway, and the goal."""

from dataclasses import dataclass, field

_HEAD = ("", "nginx", "tokenmarket", "ratio", "goal", "")


@dataclass
class Line:
    """One figure. ``best`` and ``most`` bound the ratio if ``of_ratio``, else the value itself."""

    name: str
    unit: str
    nginx: float | None
    gateway: float | None
    best: float | None = None
    most: float | None = None
    of_ratio: bool = False
    digits: int = 1

    @property
    def ratio(self) -> float | None:
        """How many times nginx; None where one of both is unknown or nothing."""
        return self.gateway / self.nginx if self.nginx and self.gateway is not None else None

    @property
    def verdict(self) -> str:
        """Whether the goal is met; unknown is not met."""
        if self.best is None and self.most is None:
            return ""
        value = self.ratio if self.of_ratio else self.gateway
        if value is None:
            return "unknown"
        if self.most is not None and value > self.most:
            return "OVER"
        return "ok" if self.best is None or value <= self.best else "within the limit"

    def cells(self) -> tuple[str, ...]:
        times = " x nginx" if self.of_ratio else f" {self.unit}"
        parts: list[str] = []
        if self.best is not None:
            parts.append(f"{self.best:g}")
        if self.most is not None:
            parts.append(f"<= {self.most:g}")
        goal = ", ".join(parts) + times if parts else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} x"
        return (
            f"{self.name} ({self.unit})" if self.unit else self.name,
            self._number(self.nginx),
            self._number(self.gateway),
            ratio,
            goal,
            self.verdict,
        )

    def _number(self, value: float | None) -> str:
        return "-" if value is None else f"{value:,.{self.digits}f}"


@dataclass
class Report:
    """All lines of a run, and remarks below them."""

    lines: list[Line] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def text(self) -> str:
        rows = [_HEAD, *(line.cells() for line in self.lines)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
        drawn = [_row(row, widths) for row in rows]
        drawn.insert(1, "-" * len(drawn[0]))
        return "\n".join([*drawn, "", *self.remarks])

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "figures": [
                {
                    "name": line.name,
                    "unit": line.unit,
                    "nginx": line.nginx,
                    "tokenmarket": line.gateway,
                    "ratio": line.ratio,
                    "verdict": line.verdict,
                }
                for line in self.lines
            ],
            "remarks": self.remarks,
        }


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    left = (0, 4, 5)  # columns of words; the others are numbers
    return "  ".join(
        cell.ljust(width) if at in left else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
