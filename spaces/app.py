"""The studio as a Hugging Face Space: `sam2long studio` on the port that a Space serves.

Variables of the Space: SAM2LONG_CHECKPOINT, a file or an id of the hub ("demo": the small model that comes with the
package, which knows synthetic sprites); SAM2LONG_SESSIONS, the folder that work is kept in (persistent: /data/...).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

CHECKPOINT = "facebook/sam2.1-hiera-tiny"


def arguments(environment: Mapping[str, str]) -> list[str]:
    """What `sam2long` is called with."""
    checkpoint = environment.get("SAM2LONG_CHECKPOINT", CHECKPOINT)
    sessions = environment.get("SAM2LONG_SESSIONS", "sessions")
    port = environment.get("GRADIO_SERVER_PORT", "7860")
    served = ["studio", "--host", "0.0.0.0", "--port", port, "--no-browser", "--session", sessions]
    return served if checkpoint == "demo" else [*served, "--checkpoint", checkpoint]


if __name__ == "__main__":
    from sam2long.cli import main

    sys.exit(main(arguments(os.environ)))
