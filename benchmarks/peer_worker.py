"""What both sides of benchmarks/against_pytorch.py are to it: processes that train when a line of JSON tells them to."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

CHECK_STEPS = 3


def serve(make_side: Callable[[dict[str, Any]], Any]) -> None:
    """Answers each line {"do": a method of the side, "with": its arguments}, the first of them "start", until stdin ends.

    What libraries print goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            side = make_side(*command["with"])
            answer = side.about()
        else:
            answer = getattr(side, command["do"])(*command["with"])
        print(json.dumps(answer), file=answers, flush=True)
