"""Mistakes on the command line that the parser has words of its own for."""

import pytest

from moml.__main__ import main

SMALL = ["train", "--suite", "tests.small_suite.Small"]


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--suite"], "`suite` should have a value after it, found none."),
        ([*SMALL, "left"], "Every value should follow its option, found 'left' by itself."),
        (["train", "--suite", "null"], "`suite` should be given: one of "),
        (["train", "--suite", "moml.Suite"], "found moml.Suite, which is abstract."),
        ([*SMALL, "--weighting", "tests.small_suite.Small"], "`weighting` should be a Weighting"),
        ([*SMALL, "--architecture", "torch.nn.ReLU"], "`architecture` should be an Architecture"),
        ([*SMALL, "--weighting", "tests.small_suite.No"], "has no attribute 'No'.\n"),
        ([*SMALL, "--optimizer", "[Adam, SGD]"], "should be the name of one class"),
        ([*SMALL, "--param_groups", "encoder"], "{encoder: {lr: 0.001}}, found 'encoder'."),
        ([*SMALL, "--seed", str(10**30)], "`seed` should be between -2^62 and 2^62"),
        (["train", "--weighting.help", "MGDAA"], "found 'MGDAA'. Did you mean 'MGDA'?"),
        (["compare", *SMALL[1:], "--seeds", "[a]"], "`seeds` should be a list of integers"),
        (["compare", *SMALL[1:], "--tune", "some"], "among all, baseline, none, found 'some'."),
        (["evaluate"], "`run` should be given, found nothing."),
        (["evaluate", "a", "--split", "tst"], "found 'tst'. Did you mean 'test'?"),
        (["report", "a", "--ouput", "b"], "There is no option `ouput`. Did you mean 'output'?"),
        (["robustness", "a", "--eps", "1", "--norm", "L3"], "`norm` should be among Linf, L2, L1"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments, message, capsys):
    assert message in refused(capsys, *arguments)


def test_a_misspelt_option_in_a_recipe_gets_the_nearest_name(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("suite: tests.small_suite.Small\nstesp: 10\n")
    error = refused(capsys, "train", "--config", str(tmp_path / "mine.yaml"))
    assert "There is no option `stesp`. Did you mean 'steps'?" in error


def test_a_weighting_of_a_recipe_is_taken_back_by_null(tmp_path):
    (tmp_path / "mine.yaml").write_text("suite: tests.small_suite.Small\nweighting: MGDA\n")
    options = ["--config", str(tmp_path / "mine.yaml"), "--weighting", "null", "--steps", "2"]
    assert main(["train", *options, "--run_dir", str(tmp_path / "run")]) == 0
    assert "moml.weighting.EW" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps"], "`steps` should have a value after it, found none."),
        (["--steps", "ten"], "`steps` should be an integer, found 'ten'."),
        (["more"], "Every value should follow its option, found 'more' by itself."),
    ],
)
def test_what_stands_after_resume_is_not_passed_over(options, message, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*SMALL, "--steps", "2", "--run_dir", str(run)]) == 0
    assert message in refused(capsys, "train", "--resume", str(run), *options)


def test_help_of_a_class_shows_its_options(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--weighting.help", "CAGrad"])
    assert ended.value.code == 0
    assert "--weighting.c " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "meta", "search", "attack"])
def test_help_is_a_page_and_names_where_classes_are_listed(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    page = capsys.readouterr().out
    assert len(page.splitlines()) < 200
    assert "known subclasses" not in page
    assert "required, type: Callable" not in " ".join(page.split())
    assert "Names of classes: `moml list`" in page
