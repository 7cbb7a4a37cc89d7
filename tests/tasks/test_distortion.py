import pytest
import torch

from tasks._distortion import Distortion


def blob(row, column, side=28):
    image = torch.zeros(1, 1, side, side)
    image[..., row - 1 : row + 2, column - 1 : column + 2] = 1
    return image


def centre(image):
    places = torch.arange(image.shape[-1], dtype=torch.float)
    mass = image[0, 0]
    return torch.stack([(mass.sum(1) * places).sum(), (mass.sum(0) * places).sum()]) / mass.sum()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_happens_at_zero():
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(Distortion()(images, generator()), images, atol=1e-5, rtol=0)
    strong = Distortion(angle=9, scale=0.3, shear=0.3, shift=4, warp=2, noise=1).times(0)
    assert strong == Distortion()


@pytest.mark.parametrize(
    ("distortion", "furthest"),
    [
        (Distortion(shift=3), 3 * 2**0.5),
        (Distortion(angle=20), 8 * 0.349),
        (Distortion(scale=0.2), 8 * 0.25),
        (Distortion(shear=0.2), 8 * 0.2),
    ],
)
def test_ink_moves_as_far_as_allowed_and_no_further(distortion, furthest):
    start = blob(20, 20)  # about 6 pixels below and right of the centre
    moves = torch.stack(
        [(centre(distortion(start, generator(i))) - centre(start)).norm() for i in range(200)]
    )
    assert moves.max() <= 1.2 * furthest
    assert moves.max() > 0.5 * furthest


def test_a_shift_moves_everything_alike():
    view = Distortion(shift=3)(blob(8, 8) + blob(18, 20), generator(2))
    moved = [Distortion(shift=3)(one, generator(2)) for one in (blob(8, 8), blob(18, 20))]
    torch.testing.assert_close(view, sum(moved))
    first, second = (centre(one) for one in moved)
    torch.testing.assert_close(second - first, torch.tensor([10.0, 12.0]), atol=1e-3, rtol=0)


def test_a_warp_moves_things_differently_by_its_standard_deviation():
    start, warp = blob(13, 13), Distortion(warp=1.0)
    moves = torch.stack([centre(warp(start, generator(i))) - centre(start) for i in range(300)])
    assert moves.std().item() == pytest.approx(1.0, abs=0.25)


def test_noise_has_its_standard_deviation_and_images_keep_to_their_range():
    grey = torch.full((4, 1, 28, 28), 0.5)
    assert Distortion(noise=0.1)(grey, generator()).std().item() == pytest.approx(0.1, abs=0.01)
    wild = Distortion(noise=3.0)(grey, generator())
    assert (wild.min(), wild.max()) == (0, 1)


def test_each_image_gets_a_view_of_its_own_from_the_generator_alone():
    same = blob(10, 10).repeat(2, 1, 1, 1)
    every = Distortion(angle=10, scale=0.1, shear=0.1, shift=2, warp=0.5, noise=0.1)
    torch.manual_seed(0)
    one = every(same, generator())
    torch.manual_seed(1)
    assert torch.equal(one, every(same, generator()))
    assert not torch.equal(one[0], one[1])
