"""Office-Home: which object is it, in art, as clip art, in a shop or in the real world?

H. Venkateswara, J. Eusebio, S. Chakraborty, S. Panchanathan, "Deep hashing network for unsupervised
domain adaptation", CVPR 2017.
"""

from __future__ import annotations

from moml.data import Defaults
from tasks._office import Office


class OfficeHome(Office):
    """65 kinds of everyday objects in four domains, a task with pictures of its own for each.

    Layouts: list files ``DOMAIN_{train,val,test}.txt`` of lines ``path class`` (those of LibMTL:
    1,435, 2,596, 2,635 and 2,586 pictures for training), or a folder per class, of which three
    fifths are for training. Inputs are ``(3, size, size)``, with ImageNet's mean and deviation as
    pretrained networks expect them. Accuracy: higher is better.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    title, lists, classes = "Office-Home", "office-home", 65
    patterns = {  # noqa: RUF012 - as in the base class
        "Art": "Art", "Clipart": "Clipart", "Product": "Product", "Real_World": "Real*World",
    }  # fmt: skip
    defaults = Defaults(steps=8_200, batch_size=64, learning_rate=1e-4, schedule="constant",
                        eval_every=205, learning_rates=(3e-5, 1e-4, 3e-4))  # fmt: skip
