"""Pages measured in a real browser, at any width."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any


def measured_in_frame(browser: Any, page: Path, width: int, scheme: str, script: str) -> dict:
    """What a script of ours finds in a copy of a page, in a frame: windows are never narrower than 500 pixels.

    The script writes JSON to ``data-measured`` of the document around the frame.
    """
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    text = html.escape(text.replace("</body>", script + "</body>"))
    frame = page.with_name(f"frame-{width}-{scheme}-{page.name}")
    style = "<style>:root { color-scheme: light dark } iframe { border: 0 }</style>"
    frame.write_text(f'{style}<iframe width="{width}" height="3000" srcdoc="{text}"></iframe>', encoding="utf-8")
    found = re.search(r'data-measured="([^"]*)"', browser(frame, 1500, scheme, "--dump-dom").stdout)
    assert found, "the measuring script did not run"
    return dict(json.loads(html.unescape(found.group(1))))
