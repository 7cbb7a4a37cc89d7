"""The best of a few random corners of the ball."""

import torch

from moml.attack import Attack


class RandomCorners(Attack):
    """Signs drawn at random, ten times; what raises the loss most is kept."""

    def perturb_within(self, goal, region):
        best = region.x
        highest = torch.full((len(best),), -torch.inf, dtype=best.dtype)
        for _ in range(10):
            signs = torch.randn(region.x.shape, generator=self.generator).sign()
            tried = region.direction(signs, region.x)
            tried = region.inside(region.x + region.ball.eps * tried)
            losses = goal(tried).detach().reshape(len(best), -1).sum(1)
            better = losses > highest
            shape = (-1,) + (1,) * (region.x.dim() - 1)
            best = torch.where(better.view(shape), tried, best)
            highest = torch.where(better, losses, highest)
        return best.detach()
