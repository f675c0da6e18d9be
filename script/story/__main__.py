"""`python -m script.story --headless --out DIR`: play the story and leave pictures, paper, keys and summary in DIR."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/demo", description="The main job of Kaisatsu, on this machine.")
    parser.add_argument(
        "--headless", action="store_true", help="play the story on a display of its own, without windows here"
    )
    parser.add_argument("--out", type=Path, help="where pictures, paper, keys.json and summary.json go")
    arguments = parser.parse_args()
    if arguments.headless or arguments.out or not os.environ.get("DISPLAY"):
        from script.story.play import Story

        out = (arguments.out or Path(tempfile.mkdtemp(prefix="kaisatsu-demo-"))).resolve()
        out.mkdir(parents=True, exist_ok=True)
        sys.stderr.write(f"demo: the story, played on a display of its own; what it leaves is in {out}\n")
        started = time.monotonic()
        ok = Story(out).play()
        verdict = "every step as expected" if ok else "NOT as expected, see summary.json and venue/logs"
        sys.stderr.write(f"demo: {verdict}, in {time.monotonic() - started:.0f} s; {out}\n")
        return 0 if ok else 1
    from script.story.interactive import open_to_play

    return open_to_play()


if __name__ == "__main__":
    raise SystemExit(main())
