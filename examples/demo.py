"""The main job on real medical images: train, log every error, correct, prove, check, report.

BreastMNIST is used if its file is at hand or can be downloaded, else a synthetic set; which one is
said. Run it with ``make demo``, or ``python examples/demo.py [FOLDER]``.
"""

from __future__ import annotations

import sys
import time

from asi_verify.cli import main
from asi_verify.data import load_dataset
from asi_verify.errors import DataError


def dataset() -> str:
    """The name of the data set to work on."""
    try:
        load_dataset("breastmnist", progressbar=True)
    except DataError as reason:
        print(
            f"BreastMNIST is not to be had ({reason});\nusing the phantom set, which is made here"
        )
        return "phantom"
    print("using BreastMNIST: 546 training images of breast ultrasound (CC BY 4.0)")
    return "breastmnist"


def demo(out: str) -> int:
    """Run the main job at radius 1/255 and check it from its files; returns the exit code."""
    print("correcting a small CNN until each training image is proved at radius 1/255")
    start = time.monotonic()
    done = main(["run", dataset(), "--radius", "1/255", "--seed", "0", "--out", out])
    print("checking every certificate again from the files alone:")
    done = max(done, main(["check", out]))
    print(f"{time.monotonic() - start:.0f} seconds in all; open {out}/report.html")
    return done


if __name__ == "__main__":
    sys.exit(demo(sys.argv[1] if len(sys.argv) > 1 else "out/demo"))
