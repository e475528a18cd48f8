"""The gateway with a counter of bytecodes in its main thread; ``opcodes.py`` starts it.

SIGUSR1 begins the count, a second one ends it and writes it to the file that OPCODES_FILE names:
a line for each function, ``bytecodes calls path:line name``.
"""

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tokenmarket.cli import main

_opcodes: Counter[CodeType] = Counter()
_calls: Counter[CodeType] = Counter()


def _called(frame: FrameType, _event: str, _argument: Any) -> Any:
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    _calls[frame.f_code] += 1
    return _ran


def _ran(frame: FrameType, event: str, _argument: Any) -> Any:
    if event == "opcode":
        _opcodes[frame.f_code] += 1
    return _ran


def _turn(_number: int, _frame: object) -> None:
    if sys.gettrace() is None:
        sys.settrace(_called)
        return
    sys.settrace(None)
    lines = [
        f"{count} {_calls[code]} {code.co_filename}:{code.co_firstlineno} {code.co_qualname}\n"
        for code, count in _opcodes.most_common()
    ]
    made = Path(os.environ["OPCODES_FILE"])
    made.with_suffix(".part").write_text("".join(lines), encoding="utf-8")
    made.with_suffix(".part").rename(made)


if __name__ == "__main__":
    if "serve" in sys.argv:
        signal.signal(signal.SIGUSR1, _turn)
    sys.exit(main())
