"""The ray-caster against analytic scenes, and the suite built on it."""

from itertools import combinations

import numpy as np
import pytest
import torch

from tasks import Rooms
from tasks._raycast import (
    BOX,
    CEILING,
    CYLINDER,
    FLOOR,
    SPHERE,
    WALL,
    Scene,
    Solid,
    camera_rays,
    render,
)
from tasks._scenes import camera_rotation, random_scene
from tasks.rooms import _rendered

SPLITS = ("train", "val", "test")
SIZE = (33, 49)  # odd, so that one ray runs along the optical axis
CENTRE = (16, 24)


def solid(kind, *, centre=(0.0, 1.0, 4.0), extent=(0.5, 0.5, 0.5), yaw=0.0):
    return Solid(kind, np.array(centre), np.array(extent), yaw, np.array([0.1, 0.2, 0.3]))


def room(*solids, yaw=0.0, pitch=0.0, light=(0.0, 2.0, 1.0)):
    """4 m wide, 2.5 m high, 6 m long; the camera in the middle of the near end, 1 m up."""
    return Scene(
        low=np.array([-2.0, 0.0, 0.0]),
        high=np.array([2.0, 2.5, 6.0]),
        colours=np.linspace(0.2, 0.9, 18).reshape(6, 3),
        solids=solids,
        light=np.array(light),
        ambient=0.4,
        eye=np.array([0.0, 1.0, 0.5]),
        rotation=camera_rotation(yaw, pitch),
        slope=0.6,
    )


def test_far_wall_has_one_depth_and_faces_the_camera():
    view = render(room(), SIZE)
    wall = (view.classes == WALL) & (view.normals[2] < -0.5)
    assert wall[CENTRE]
    np.testing.assert_allclose(view.depth[wall], 5.5, rtol=1e-12)
    np.testing.assert_allclose(view.normals[:, wall], [[0], [0], [-1]] * np.ones(wall.sum()))


def test_floor_is_below_ceiling_above_and_both_at_the_depth_of_similar_triangles():
    view = render(room(), SIZE)
    rays = camera_rays(SIZE, 0.6).reshape(*SIZE, 3)
    floor, ceiling = view.classes == FLOOR, view.classes == CEILING
    assert floor[-1, 24] and ceiling[0, 24]
    np.testing.assert_allclose(view.depth[floor], 1 / rays[floor][:, 1], rtol=1e-9)
    np.testing.assert_allclose(view.depth[ceiling], -1.5 / rays[ceiling][:, 1], rtol=1e-9)
    np.testing.assert_allclose(view.normals[:, floor], [[0], [-1], [0]] * np.ones(floor.sum()))


def test_right_wall_is_on_the_right():
    view = render(room(yaw=np.deg2rad(40)), SIZE)
    right = view.classes[CENTRE] == WALL
    assert right
    # World normal (-1, 0, 0); turned right by 40 degrees it points left and towards the camera.
    expected = [-np.cos(np.deg2rad(40)), 0, -np.sin(np.deg2rad(40))]
    np.testing.assert_allclose(view.normals[:, 16, 24], expected, atol=1e-12)
    assert view.depth[CENTRE] == pytest.approx(2 / np.sin(np.deg2rad(40)))


def test_looking_down_meets_the_floor():
    view = render(room(pitch=np.deg2rad(30)), SIZE)
    assert view.classes[CENTRE] == FLOOR
    assert view.depth[CENTRE] == pytest.approx(2.0)  # 1 m up, sin 30 = 1/2
    np.testing.assert_allclose(view.normals[:, 16, 24], [0, -np.sqrt(3) / 2, -0.5], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "yaw", "depth"),
    [(SPHERE, 0.0, 3.0), (CYLINDER, 0.0, 3.0), (BOX, 0.0, 3.0), (BOX, np.pi / 4, 3.5 - 2**-0.5)],
)
def test_depth_of_a_solid_along_the_optical_axis(kind, yaw, depth):
    view = render(room(solid(kind, yaw=yaw)), SIZE)
    assert view.classes[CENTRE] == kind
    assert view.depth[CENTRE] == pytest.approx(depth, abs=1e-9)
    if yaw == 0:
        np.testing.assert_allclose(view.normals[:, 16, 24], [0, 0, -1], atol=1e-12)


def test_top_of_a_cylinder_is_a_disc_facing_up():
    cylinder = solid(CYLINDER, centre=(0.0, 0.25, 2.5), extent=(0.5, 0.25, 0.5))
    view = render(room(cylinder, pitch=np.arctan(0.5 / 2)), SIZE)  # at the middle of the top
    assert view.classes[CENTRE] == CYLINDER
    assert view.depth[CENTRE] == pytest.approx(np.hypot(0.5, 2))
    world = room(pitch=np.arctan(0.25)).rotation @ view.normals[:, 16, 24]
    np.testing.assert_allclose(world, [0, 1, 0], atol=1e-12)


def test_nearest_solid_hides_what_is_behind():
    near, far = solid(SPHERE, centre=(0.0, 1.0, 3.0)), solid(BOX, centre=(0.0, 1.0, 5.0))
    for solids in [(near, far), (far, near)]:
        assert render(room(*solids), SIZE).classes[CENTRE] == SPHERE


def test_a_shadow_lies_behind_the_solid_as_seen_from_the_light():
    sphere = solid(SPHERE, centre=(0.0, 1.0, 3.0), extent=(0.3,) * 3)
    light = (0.0, 2.0, 3.0)  # straight above
    bare = render(room(pitch=0.4, light=light), SIZE)
    view = render(room(sphere, pitch=0.4, light=light), SIZE)
    rays = camera_rays(SIZE, 0.6) @ room(pitch=0.4).rotation.T
    points = (np.array([0.0, 1.0, 0.5]) + view.depth.reshape(-1, 1) * rays).reshape(*SIZE, 3)
    floor = view.classes == FLOOR
    # Tangent cone of the light 1 m above the centre: half angle arcsin 0.3, 2 m above the floor.
    radius = 2 * 0.3 / np.sqrt(1 - 0.09)
    inside = np.hypot(points[..., 0], points[..., 2] - 3) < radius
    darker = (view.image < bare.image - 1e-9).all(0)
    assert (floor & inside).sum() > 20
    np.testing.assert_array_equal(darker[floor], inside[floor])


@pytest.mark.parametrize("seed", range(8))
def test_random_scenes_are_consistent(seed):
    size = (64, 96)
    scene = random_scene(np.random.default_rng(seed))
    view = render(scene, size)
    rays = camera_rays(size, scene.slope).reshape(*size, 3)
    normals = view.normals.transpose(1, 2, 0)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-9)
    assert ((normals * rays).sum(-1) < 0).all()  # every visible surface faces the camera
    assert (view.depth > 0.1).all() and (view.depth < 12).all()
    assert view.image.min() >= 0 and view.image.max() <= 1
    agreement = alignment_with_depth(view, rays)
    assert agreement.size > 3000
    # Flat surfaces agree to rounding; round ones to the curvature within a pixel.
    flat = np.isin(agreement_classes(view), (FLOOR, CEILING))
    assert agreement[flat].min() > 1 - 1e-9
    assert np.quantile(agreement, 0.02) > 0.99


def inner(view):
    """Pixels whose 3x3 neighbourhood is one smooth surface: one class, similar normals."""
    smooth = np.ones_like(view.classes[1:-1, 1:-1], dtype=bool)
    h, w = view.classes.shape
    for i in range(3):
        for j in range(3):
            part = slice(i, h - 2 + i), slice(j, w - 2 + j)
            smooth &= view.classes[part] == view.classes[1:-1, 1:-1]
            cosine = (view.normals[:, *part] * view.normals[:, 1:-1, 1:-1]).sum(0)
            smooth &= cosine > 0.9
            smooth &= np.abs(view.depth[part] - view.depth[1:-1, 1:-1]) < 0.5
    return smooth


def agreement_classes(view):
    return view.classes[1:-1, 1:-1][inner(view)]


def alignment_with_depth(view, rays):
    """Cosine between the normals and those that central differences of depth give."""
    points = view.depth[..., None] * rays
    across = points[1:-1, 2:] - points[1:-1, :-2]
    downward = points[2:, 1:-1] - points[:-2, 1:-1]
    found = np.cross(downward, across)
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    cosine = (found * view.normals[:, 1:-1, 1:-1].transpose(1, 2, 0)).sum(-1)
    return cosine[inner(view)]


def test_solids_stand_apart_inside_the_room():
    for seed in range(50):
        scene = random_scene(np.random.default_rng(seed))
        assert scene.solids
        for one in scene.solids:
            reach = np.hypot(one.extent[0], one.extent[2]) if one.kind == BOX else one.extent[0]
            assert one.centre[1] == pytest.approx(one.extent[1])  # on the floor
            assert (one.centre[[0, 2]] - reach >= scene.low[[0, 2]] - 1e-9).all()
            assert (one.centre[[0, 2]] + reach <= scene.high[[0, 2]] + 1e-9).all()
            assert np.hypot(*(one.centre - scene.eye)[[0, 2]]) > reach  # the camera is outside
        for one, other in combinations(scene.solids, 2):
            apart = np.hypot(*(one.centre - other.centre)[[0, 2]])
            assert apart > one.extent[0] + other.extent[0]


def everything(source):
    return source.batch(torch.arange(len(source)))


def test_every_image_is_a_scene_of_its_own_and_splits_do_not_share_any():
    suite = Rooms(size=(16, 24), train=30, val=10, test=20)
    batches = [everything(suite.sources(split)) for split in SPLITS]
    depth = torch.cat([batch.targets["depth"].flatten(1) for batch in batches])
    assert len(depth.unique(dim=0)) == 2 * 30 + 10 + 20  # training scenes also come mirrored
    assert [len(batch.inputs) for batch in batches] == [12 * 30, 10, 20]


def test_copies_are_the_scene_in_a_mirror_and_with_exchanged_channels():
    source = Rooms(size=(32, 48), train=5).sources("train")
    scene = source.scenes.batch(torch.arange(5))
    orders = set()
    for copy in range(12):
        batch = source.batch(torch.arange(5) + 5 * copy)
        images, depth = batch.inputs, batch.targets["depth"]
        normals, classes = batch.targets["normals"], batch.targets["segmentation"]
        if not torch.equal(depth, scene.targets["depth"]):
            images, depth, classes = images.flip(-1), depth.flip(-1), classes.flip(-1)
            normals = normals.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
            orders.add("mirrored")
        assert torch.equal(depth, scene.targets["depth"])
        assert torch.equal(classes, scene.targets["segmentation"])
        assert torch.equal(normals, scene.targets["normals"])
        sums = images[0].sum((1, 2)), scene.inputs[0].sum((1, 2))
        order = [int((sums[1] - x).abs().argmin()) for x in sums[0]]
        orders.add(tuple(order))
        assert torch.equal(images, scene.inputs[:, order])
    assert len(orders) == 6 + 1
    assert torch.equal(source.batch(torch.arange(5)).inputs, scene.inputs)


def test_asking_for_copies_leaves_the_scenes_as_they_were():
    source = Rooms(size=(16, 24), train=3, seed=5).sources("train")
    before = everything(source.scenes)
    everything(source)
    after = everything(source.scenes)
    assert torch.equal(before.inputs, after.inputs)
    assert torch.equal(before.targets["normals"], after.targets["normals"])


def test_data_depend_on_the_seed_alone_and_not_on_how_many_scenes_follow():
    def make(**options):
        return Rooms(size=(16, 24), **options).sources("train").batch(torch.arange(3))

    few, many, other = make(train=3), make(train=6), make(train=3, seed=1)
    for task, target in few.targets.items():
        assert torch.equal(target, many.targets[task])
        assert not torch.equal(target, other.targets[task])
    assert torch.equal(few.inputs, many.inputs)
    again = _rendered.__wrapped__("train", 3, (16, 24), 0)  # past the cache
    assert torch.equal(few.inputs, again.inputs)


def test_a_split_is_rendered_once():
    one, again = (Rooms(size=(16, 24), val=3).sources("val") for _ in range(2))
    assert one is again


def test_targets_pass_their_checks_and_networks_fit():
    suite = Rooms(size=(32, 48), train=4, val=2, test=2)
    batch = suite.loader("train").batch(0)
    encoder = suite.encoder()
    features = encoder(batch.inputs)
    assert batch.inputs.shape == (8, 3, 32, 48)
    for task, spec in suite.tasks.items():
        target = batch.targets[task]
        assert spec.loss.check(target) is None
        prediction = suite.head(task, encoder.out_features)(features)
        assert prediction.shape[2:] == (32, 48)
        assert spec.loss(prediction, target).isfinite()
        metrics = spec.metrics()
        assert spec.main in metrics
        for metric in metrics.values():
            metric.update(prediction, target)
            assert metric.compute().isfinite()


def test_normals_that_are_off_by_little_still_count():
    loss = Rooms().tasks["normals"].loss
    truth = torch.tensor([0.0, 0.0, -1.0])[None, :, None, None]
    off = [
        torch.tensor([np.sin(a), 0, -np.cos(a)]).float()[None, :, None, None] for a in (0.1, 0.2)
    ]
    few, many = (float(loss(prediction, truth)) for prediction in off)
    assert many / few == pytest.approx(2, rel=0.1)  # with the angle, not with its square
    assert float(loss(truth, truth)) == 0  # zeros in a normal are defined, too


def test_metrics_of_the_truth_are_perfect():
    suite = Rooms(size=(32, 48), train=4, val=2, test=2)
    batch = suite.loader("test").batch(0)
    logits = torch.nn.functional.one_hot(batch.targets["segmentation"], 6).movedim(-1, 1).float()
    truth = {**batch.targets, "segmentation": logits}
    for task, spec in suite.tasks.items():
        for name, metric in spec.metrics().items():
            metric.update(truth[task], batch.targets[task])
            best = 1.0 if metric.higher_is_better else 0.0
            assert metric.compute().item() == pytest.approx(best, abs=0.03), (task, name)


def test_mean_intersection_over_union_is_accumulated_and_ignores_minus_one():
    metrics = Rooms().tasks["segmentation"].metrics()
    logits = torch.eye(6)[[0, 0, 1, 2]].T[None, :, None]  # predicted 0 0 1 2
    batches = [torch.tensor([[[0, 1, 1, -1]]]), torch.tensor([[[0, 0, 1, 1]]])]
    for target in batches:
        for metric in metrics.values():
            metric.update(logits, target)
    # Class 0: 3 of 4; class 1: 2 of 4; class 2: predicted once, never there; others absent.
    assert metrics["mIoU"].compute().item() == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)
    assert metrics["pixel_accuracy"].compute().item() == pytest.approx(5 / 7)
    assert all(metric.higher_is_better for metric in metrics.values())


@pytest.mark.parametrize("size", [(31, 48), (8, 8), (32,)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="`size` should be two even numbers"):
        Rooms(size=size)


def test_empty_split():
    with pytest.raises(ValueError, match="`val` should be at least 1, found 0"):
        Rooms(val=0)
