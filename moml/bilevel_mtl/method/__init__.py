"""Methods that are more than a weighting: a problem, an oracle, a weighting, an updater, a stream.

A method is one file with one class that composes them; the loop, the job and the command line
run it without knowing it.
"""

from moml.bilevel_mtl.method._base import Composition, Method, Setting
from moml.bilevel_mtl.method.auto_lambda import AutoLambda
from moml.bilevel_mtl.method.bilevel_sharing import BilevelSharing
from moml.bilevel_mtl.method.forum import FORUM
from moml.bilevel_mtl.method.moml import MOML

__all__ = ["FORUM", "MOML", "AutoLambda", "BilevelSharing", "Composition", "Method", "Setting"]
