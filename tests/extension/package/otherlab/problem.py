"""An auxiliary loss: two answers to one question should agree."""

from moml.problem import AroundProblem


class Consistent(AroundProblem):
    """Adds the squared difference of "large" and what "digit" says about it to the penalty."""

    def __init__(self, problem, *, weight=0.1):
        super().__init__(problem)
        self.weight, self.disagreement = weight, None

    def losses(self, batch):
        found = self.problem.losses(batch)
        predictions = self.module(batch.inputs)
        large = predictions["digit"].softmax(1)[:, 5:].sum(1)
        self.disagreement = (large - predictions["large"].softmax(1)[:, 1]).square().mean()
        return found

    def penalty(self):
        own = self.problem.penalty()
        added = self.weight * self.disagreement
        return added if own is None else own + added
