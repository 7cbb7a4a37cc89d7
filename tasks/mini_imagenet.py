"""miniImageNet: which of five kinds of things is it, having seen one or five pictures of each?

O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra, "Matching networks for one shot
learning", NeurIPS 2016; the split of S. Ravi, H. Larochelle, ICLR 2017.
"""

from __future__ import annotations

from torch import Tensor

from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._few_shot_pictures import FewShotPictures
from tasks._mini_imagenet_files import LAYOUTS, read_split


class MiniImageNet(FewShotPictures):
    """A hundred of ImageNet's classes, 600 pictures each, 64 of them for training: episodes.

    Layouts: ``mini-imagenet-cache-{train,val,test}.pkl`` (also ``-validation``), read without
    executing them; ``images/*.jpg`` with ``{train,val,test}.csv``; or a folder per class in
    ``{train,val,test}``. Inputs are ``(3, 84, 84)`` in [0, 1]. Accuracy: higher is better,
    ``1 / ways`` by chance.

    Raises:
        ValueError: If data are missing or damaged, or an episode needs more than there is.
    """

    title, layouts, side, width = "miniImageNet", LAYOUTS, 84, 32

    def read(self, split: Split) -> tuple[Samples, Tensor]:
        """Pictures of a split, and the number of each one's class."""
        return read_split(self.found, split, self.side)
