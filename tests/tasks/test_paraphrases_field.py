"""PAWS-X: lines, headers, and scripts without blanks."""

import pytest
import torch

from moml.backbone import SentencePair, TextCNN, hash_tokens
from tasks import PAWSX
from tasks._paraphrases import read_pairs, spaced
from tests.trees import SENTENCES, pawsx, pawsx_xtreme


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pawsx(tmp_path_factory.mktemp("pawsx"))


def test_headers_are_skipped_where_there_are_any(root, tmp_path):
    for suite in (PAWSX(root), PAWSX(pawsx_xtreme(tmp_path))):
        for split, count in (("train", 6), ("val", 3), ("test", 3)):
            for language, source in suite.sources(split).items():
                assert len(source) == count
                pairs = read_pairs(suite.found, language, split)
                assert pairs[0][0].startswith(SENTENCES[language][0])
                assert pairs[0][1] == SENTENCES[language][1]
                labels = source.batch(torch.arange(count)).targets[language]
                assert labels.tolist() == [i % 2 for i in range(count)]


def test_characters_are_tokens_where_words_have_no_blanks(root):
    assert spaced("猫坐在 mat 상자").split() == ["猫", "坐", "在", "mat", "상", "자"]
    tokens = PAWSX(root, length=40).sources("test")["zh"].batch(torch.tensor([0])).inputs[0]
    first, second = (set(row[row > 0].tolist()) for row in tokens)
    assert len(first & second) >= 5  # the same characters in another order
    expected = hash_tokens([spaced(f"{SENTENCES['zh'][0]} test_2k 0")], length=40)[0]
    assert torch.equal(tokens[0], expected)


def test_each_sentence_has_a_row_of_its_own_and_may_be_cut(root):
    batch = PAWSX(root, length=3).loader("train", batch_size=4).batch(0)
    assert {x.shape for x in batch.inputs.values()} == {(4, 2, 3)}


def test_some_languages(root):
    assert list(PAWSX(root, languages=["de", "en"]).tasks) == ["de", "en"]
    with pytest.raises(ValueError, match=r"without ko/\*train.tsv"):
        PAWSX(root / "x-final", languages=["en", "ko"])
    with pytest.raises(ValueError, match=r"among en, zh, .*, found \['it'\]"):
        PAWSX(root, languages=["it"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9\tone sentence\t1", "Line 2 of '.*dev_2k.tsv' should be two sentences and 0 or 1"),
        ("9\tone\tother\t2", "found '9.tone.tother.t2'"),
        ("", "should hold at least one pair"),
    ],
)
def test_damaged_lines(line, message, tmp_path):
    root = pawsx(tmp_path)
    (root / "x-final/de/dev_2k.tsv").write_text(f"id\ts\ts\tlabel\n{line}\n")
    with pytest.raises(ValueError, match=message):
        PAWSX(root).sources("val")


def test_a_pair_is_compared_both_ways():
    encoder = TextCNN(100, embedding=4, channels=2)
    network = SentencePair(encoder)
    pairs = torch.randint(1, 100, (5, 2, 6), generator=torch.Generator().manual_seed(0))
    u, v = encoder(pairs[:, 0]), encoder(pairs[:, 1])
    torch.testing.assert_close(network(pairs), torch.cat([u, v, (u - v).abs(), u * v], 1))
    assert network.out_features == network(pairs).shape[1]
