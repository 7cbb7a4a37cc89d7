import pytest
import torch
from torch import nn
from torch.nn import functional

from moml.attack import PGD, Linf, Victim, cross_entropy
from tasks import TwoDigits


def network(num_classes=10):
    """Small, with batch normalisation and dropout: what an attack could disturb."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(16 * 3 * 3, num_classes),
    )


def digits(split, count, classes=10):
    """Overlaid digits and the left one's class, modulo a number of classes."""
    source = TwoDigits().sources(split)
    batch = source.batch(torch.arange(count))
    return batch.inputs, batch.targets["left"] % classes


def trained(classes=10, attack=None, epochs=3):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, labels = digits("train", 4000, classes)
    model = network(classes)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for rows in (r for _ in range(epochs) for r in torch.randperm(len(x)).split(100)):
        inputs = x[rows]
        if attack is not None:
            goal = Victim(model).objective(labels[rows], loss=cross_entropy)
            inputs = attack.perturb(goal, inputs)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels[rows]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def weak():
    return trained()


@pytest.fixture(scope="session")
def robust():
    return trained(attack=PGD(Linf(0.1), steps=4), epochs=5)


@pytest.fixture(scope="session")
def samples():
    return digits("test", 200)


@pytest.fixture(scope="session")
def weak_of():
    """Victims of 2 or 3 classes."""
    return {classes: trained(classes, epochs=2) for classes in (2, 3)}
