"""What all suites that read published data sets have in common."""

import pytest
import torch

import tasks
from moml.__main__ import main
from moml.data import FewShotSuite, Source
from moml.data.structure import tensors_of
from tests.trees import TREES, write

SUITES = sorted(TREES)
MULTI_TASK = [name for name in SUITES if not issubclass(getattr(tasks, name), FewShotSuite)]
FEW_SHOT = [name for name in SUITES if name not in MULTI_TASK]
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return {name: write(name, tmp_path_factory.mktemp(name)) for name in SUITES}


def build(trees, name, **options):
    root, small = trees[name]
    return getattr(tasks, name)(root, **{**small, **options})


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(tensors_of(a), tensors_of(b), strict=True))


@pytest.mark.parametrize("name", SUITES)
def test_what_is_missing_is_said_in_one_sentence(name, tmp_path):
    suite = getattr(tasks, name)
    with pytest.raises(ValueError, match=r"found no folder '.*nowhere'\. Nothing is downloaded"):
        suite.discover(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"`root` should hold .*, found '.*' without .*layout"):
        suite(tmp_path)


@pytest.mark.parametrize("name", SUITES)
def test_discover_names_the_layout(name, trees):
    found = getattr(tasks, name).discover(trees[name][0])
    assert found.folder.is_relative_to(trees[name][0])
    assert str(found).startswith(found.layout)


@pytest.mark.parametrize("name", MULTI_TASK)
def test_labels_pass_the_checks_of_their_losses_and_networks_fit(name, trees):
    suite = build(trees, name)
    assert suite.defaults.steps > 0
    encoder = suite.encoder()
    heads = suite.heads(encoder.out_features)
    for split in SPLITS:
        batch = suite.loader(split, batch_size=2).batch(0)
        for task, spec in suite.tasks.items():
            target = batch.targets[task]
            assert spec.loss.check(target) is None
            inputs = batch.inputs[task] if batch.multi_input else batch.inputs
            prediction = heads[task](encoder(inputs))
            assert spec.loss(prediction, target).isfinite()
            metrics = spec.metrics()
            assert spec.main in metrics
            for metric in metrics.values():
                metric.update(prediction.detach(), target)


@pytest.mark.parametrize("name", MULTI_TASK)
def test_batches_and_views_are_functions_of_seed_and_number(name, trees):
    first, again = (build(trees, name).loader("train", batch_size=2) for _ in range(2))
    assert equal(first.batch(3), again.batch(3))
    assert not equal(first.batch(0), first.batch(1))
    for split in ("val", "test"):
        loader = build(trees, name).loader(split, batch_size=2)
        assert equal(loader.batch(0), loader.batch(0))


@pytest.mark.parametrize("name", MULTI_TASK)
def test_no_sample_is_in_two_splits(name, trees):
    def rows(split):
        sources = build(trees, name).sources(split)
        whole = [sources] if isinstance(sources, Source) else list(sources.values())
        return [x.flatten() for s in whole for x in s.batch(torch.arange(len(s))).inputs]

    parts = {split: rows(split) for split in SPLITS}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not any(torch.equal(x, y) for x in parts[a] for y in parts[b])


LARGE = ("Office31", "OfficeHome")  # their networks have ten million parameters and more


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in LARGE else []) for n in MULTI_TASK],
)
def test_two_steps_of_training(name, trees, tmp_path):
    root, small = trees[name]
    options = [w for k, v in small.items() for w in (f"--suite.{k}", str(v))]
    arguments = ["--suite", name, "--suite.root", str(root), *options, "--batch_size", "8"]
    folder = tmp_path / "run"
    assert main(["train", *arguments, "--steps", "2", "--run_dir", str(folder)]) == 0
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("name", FEW_SHOT)
def test_episodes_are_functions_of_seed_and_number(name, trees):
    for split in SPLITS:
        first, again = (build(trees, name).episodes(split, count=3) for _ in range(2))
        assert equal(first.batch(1), again.batch(1))
        episodes = build(trees, name).episodes(split, meta_batch_size=1, count=3)
        assert not equal(episodes.batch(0), episodes.batch(1))


@pytest.mark.parametrize("name", FEW_SHOT)
def test_two_steps_of_meta_training(name, trees, tmp_path):
    root, small = trees[name]
    options = [w for k, v in small.items() for w in (f"--suite.{k}", str(v))]
    sizes = {
        "steps": 2, "meta_batch_size": 2, "val_episodes": 2, "test_episodes": 2,
        "inner_steps": 1, "eval_inner_steps": 1,
    }  # fmt: skip
    options += [w for k, v in sizes.items() for w in (f"--{k}", str(v))]
    arguments = ["--suite", name, "--suite.root", str(root), *options]
    folder = tmp_path / "run"
    assert main(["meta", *arguments, "--run_dir", str(folder)]) == 0
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("name", FEW_SHOT)
def test_episodes_that_need_more_than_there_is(name, trees):
    with pytest.raises(ValueError, match="`shots` should be at least 1, found 0"):
        build(trees, name, shots=0)
    with pytest.raises(ValueError, match="`ways` should be at most"):
        build(trees, name, ways=1000).source("train")
    with pytest.raises(ValueError, match=r"`shots` \+ `queries` should be at most 3"):
        build(trees, name, shots=2).source("train")


@pytest.mark.parametrize("name", [n for n in MULTI_TASK if getattr(tasks, n).references])
def test_published_references_name_tasks_and_metrics_of_the_suite(name, trees):
    import yaml

    suite = build(trees, name)
    for file in suite.references.values():
        content = yaml.safe_load(file.read_text())
        assert content["source"]
        assert content["protocol"]
        assert content["test"].keys() == suite.tasks.keys()
        for task, values in content["test"].items():
            known = suite.tasks[task].metrics()
            assert suite.tasks[task].main in values
            assert values.keys() <= known.keys()


def test_a_suite_without_its_folder(capsys):
    assert main(["train", "--suite", MULTI_TASK[0]]) == 2
    assert "`suite.root` should be given, with --suite.root" in capsys.readouterr().err


@pytest.mark.parametrize("name", SUITES)
def test_data_shows_what_is_read(name, trees, capsys):
    root, small = trees[name]
    options = [w for k, v in small.items() for w in (f"--suite.{k}", str(v))]
    assert main(["data", "--suite", name, "--suite.root", str(root), *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: {getattr(tasks, name).discover(root)}")
    assert out.count("\n  ") >= 6
    assert "not finite" not in out


def test_data_of_suites_that_bring_their_own(capsys):
    assert main(["data", "--suite", "TwoDigits"]) == 0
    out = capsys.readouterr().out
    assert "made here" in out
    assert "samples: 20000\n  checked: 8 of 20000" in out
    assert "  inputs: 1x10x10 float32 0..1\n  left: targets one number" in out


def test_data_that_are_not_there(tmp_path, capsys):
    assert main(["data", "--suite", "CelebA", "--suite.root", str(tmp_path)]) == 2
    assert "moml data: `root` should hold CelebA, found" in capsys.readouterr().err
    assert main(["data", "--suite", "omniglob"]) == 2
    assert "found 'omniglob'. Did you mean 'Omniglot'?" in capsys.readouterr().err
