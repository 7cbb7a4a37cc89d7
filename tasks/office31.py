"""Office-31: which object is it, in a shop's picture, a camera's or a webcam's?

K. Saenko, B. Kulis, M. Fritz, T. Darrell, "Adapting visual category models to new domains", ECCV
2010.
"""

from __future__ import annotations

from moml.data import Defaults
from tasks._office import Office


class Office31(Office):
    """31 kinds of office objects in three domains, a task with pictures of its own for each.

    Layouts: list files ``{amazon,dslr,webcam}_{train,val,test}.txt`` of lines ``path class`` (those
    of LibMTL: 1,680, 287 and 466 pictures for training), or a folder per class, of which three
    fifths are for training. Inputs are ``(3, size, size)``, with ImageNet's mean and deviation as
    pretrained networks expect them. Accuracy: higher is better.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    title, lists, classes = "Office-31", "office-31", 31
    patterns = {"amazon": "amazon", "dslr": "dslr", "webcam": "webcam"}  # noqa: RUF012 - as in the base class
    defaults = Defaults(steps=5_200, batch_size=64, learning_rate=1e-4, schedule="constant",
                        eval_every=130, learning_rates=(3e-5, 1e-4, 3e-4))  # fmt: skip
